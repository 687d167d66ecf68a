#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that instances are launched from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_image
short_description: Register a disk image from which instances are launched
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Copies a bootable disk file, or what an instance has on its root disk, into the store of a KVM host and registers it
    under a name, or removes it.
  - The copy is read-only and shares its blocks with the original where the file system can do that.
    Instances get linked clones of it, so it never changes; another content is another image.
  - The id is V(ami-) and the first 17 hexadecimal digits of the content's SHA-256, so the same disk has the same id
    on every host.
  - The same content may be registered under several names. They share the id and the file, which goes with the last
    of them. EC2 would give each an id of its own.
  - A task that was killed leaves nothing that lasts. The next one puts its remains away and reports that as a change.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.uri
requirements:
  - qemu-img on the target (Debian's C(qemu-utils)).
  - For O(instance_id), libvirt and its Python library on the target (Debian's C(libvirt-daemon-system) and
    C(python3-libvirt)).
options:
  name:
    description:
      - The image's name, by which O(pocket.cloud.ec2like_instance#module:image_id) may call it.
      - As in EC2, 3 to 128 letters, digits, spaces and characters of V(()[]./-'@_). It must not begin with V(ami-).
      - A name that is registered already must have the same content, else the task fails with
        C(InvalidAMIName.Duplicate). To replace an image, register the new one under a new name, or remove the old one
        first.
    type: str
    required: true
  path:
    description:
      - Absolute path on the target of the disk file. One of O(path), O(url) and O(instance_id) is required for
        O(state=present).
      - The file must be a disk by itself. Symbolic links, files with a backing file or an external data file, and
        encrypted, compressed or other than qcow2 and raw disks are refused.
      - It is not read again as long as its path, size and modification time are those of the registration.
    type: path
  url:
    description:
      - URL (V(https), V(http) or V(file)) from which the target fetches the disk file. Certificates are verified.
      - Check mode fetches nothing. It tells the id, which O(checksum) determines, but not the size.
    type: str
  instance_id:
    description:
      - The instance of whose root disk the image is made, in one qcow2 file that stands alone.
      - A name that is registered already must be of the same instance, and is left as it is. The content is that of the
        first run.
      - libvirt is needed for this only, and to end the copying that such a task, when killed, has left to QEMU.
    type: str
  no_reboot:
    description:
      - Whether an instance that runs goes on while O(instance_id) is copied. The image then has what was on the disk at
        the moment when that began, as after a power failure, unless O(freeze) is stated.
      - Where it does not, its guest is shut down, and started again when the copy is made. Nothing else is launched or
        changed on the host in that time.
      - It is not stopped where it could not be started again, as when its network is not active or the file of one of
        its disks is gone. The task fails then.
      - One that a killed task has left stopped is copied as it is, whatever is stated here, and started again then. Of
        other instances that such tasks have left stopped, a warning names those that cannot be started.
    type: bool
    default: false
  freeze:
    description:
      - Whether the agent in the guest writes out and holds its file systems at the moment when the copy begins, so that
        they are as clean in the image as after a shutdown. For O(no_reboot=true), and guests that run QEMU's agent.
      - Refused with C(IncorrectInstanceState) for a guest that is paused.
    type: bool
    default: false
  stop_timeout:
    description: How many seconds the guest has to shut down. Then it is powered off.
    type: int
    default: 60
  checksum:
    description:
      - What the content must be, as V(sha256:) and 64 hexadecimal digits. Required with O(url).
      - Where the image is registered with this checksum already, the source is not looked at and need not exist.
    type: str
  disk_format:
    description:
      - The format that the file must have.
      - V(auto) takes a file with qcow2's header as V(qcow2), and one with a boot record or partition table as V(raw).
        Anything else is not a disk and is refused.
    type: str
    choices: [auto, qcow2, raw]
    default: auto
  description:
    description:
      - A text of at most 255 characters that is kept with the image. It may be changed at any time.
    type: str
  state:
    description:
      - V(present) makes sure that the image is registered and its file complete. A file that is missing from the store
        or has the wrong size is fetched anew.
      - V(absent) removes the image. Refused with C(DependencyViolation) while disks of instances are clones of it.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: pocket.cloud.ec2like_image_info
  - module: pocket.cloud.ec2like_instance
"""

EXAMPLES = r"""
- name: Register a disk file that is on the KVM host
  pocket.cloud.ec2like_image:
    name: web-server
    path: /srv/disks/web-server.qcow2
    description: Debian 12 with nginx

- name: Register a cloud image from a web server
  pocket.cloud.ec2like_image:
    name: debian-12
    url: https://images.example.com/debian-12-generic-amd64.qcow2
    checksum: sha256:5f1b3c9a7d2e4860a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718

- name: Make an image of an instance that goes on meanwhile
  pocket.cloud.ec2like_image:
    name: web-server-2
    instance_id: i-0f3a9c2b7d1e45608
    no_reboot: true
    freeze: true

- name: Remove an image
  pocket.cloud.ec2like_image:
    name: web-server
    state: absent
"""

RETURN = r"""
image_id:
  description:
    - The image's id. In check mode, the one that it would get, which of O(instance_id) is not known.
    - None where there was no image to remove.
  returned: success
  type: str
  sample: ami-5f1b3c9a7d2e4860a
image:
  description:
    - The image. In check mode, as it would be; what only a real run can tell is none.
    - None where there was no image to remove.
  returned: success
  type: dict
  contains:
    image_id:
      description: The id, V(ami-) and the first 17 hexadecimal digits of the content's SHA-256.
      returned: always
      type: str
      sample: ami-5f1b3c9a7d2e4860a
    name:
      description: The name.
      returned: always
      type: str
      sample: debian-12
    state:
      description: V(available), or V(deregistered) when it was removed.
      returned: always
      type: str
      sample: available
    creation_date:
      description: When it was registered, in UTC.
      returned: always
      type: str
      sample: '2026-01-31T12:00:00Z'
    description:
      description: Its description.
      returned: always
      type: str
      sample: Debian 12 with nginx
    disk_format:
      description: V(qcow2) or V(raw).
      returned: always
      type: str
      sample: qcow2
    size_gib:
      description: Size of the disk that an instance sees, in GiB, rounded up.
      returned: always
      type: int
      sample: 2
    checksum:
      description: SHA-256 of the content.
      returned: always
      type: str
      sample: sha256:5f1b3c9a7d2e4860a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718
    source:
      description: The path or URL that it was registered from, or the instance that it was made of.
      returned: always
      type: str
      sample: /srv/disks/web-server.qcow2
    path:
      description: Its file in the store.
      returned: always
      type: str
      sample: /var/lib/pocket-cloud/images/ami-5f1b3c9a7d2e4860a.qcow2
error_code:
  description: EC2's code for the error, where EC2 has one.
  returned: failure
  type: str
  sample: InvalidAMIName.Duplicate
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.image_capture import image_task
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE,
        "name": {"type": "str", "required": True},
        "path": {"type": "path"},
        "url": {"type": "str"},
        "instance_id": {"type": "str"},
        "no_reboot": {"type": "bool", "default": False},
        "freeze": {"type": "bool", "default": False},
        "stop_timeout": {"type": "int", "default": 60},
        "checksum": {"type": "str"},
        "disk_format": {"type": "str", "choices": ["auto", "qcow2", "raw"], "default": "auto"},
        "description": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), image_task)


if __name__ == "__main__":
    main()
