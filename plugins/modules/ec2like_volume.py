#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes: disks that live by themselves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_volume
short_description: Create, attach, detach, grow and delete volumes of a KVM host
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - A volume is a disk that lives by itself, is attached to one instance at a time, and keeps its content.
  - Attaching, detaching and growing happen at once where the instance runs, and hold for its next starts.
  - What a volume is attached to is told by libvirt alone.
  - A task that was killed leaves nothing that lasts. The next one puts its remains away and reports that as a change.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
requirements:
  - qemu-img on the target (Debian's C(qemu-utils)).
options:
  volume_id:
    description:
      - The volume that is meant, V(vol-) and 17 hexadecimal digits.
      - One of O(volume_id) and O(name) is needed, or both of O(instance) and O(device_name). These mean the volume that
        is attached there, and where none is, the one that was made for that place.
    type: str
    aliases: [id]
  name:
    description:
      - The tag C(Name) of the volume that is meant. One is made where no volume has it.
      - With O(volume_id) it is the name that the volume gets.
    type: str
  tags:
    description: Tags that the volume gets, with those that it has unless O(purge_tags) is true.
    type: dict
  purge_tags:
    description: Remove the tags that O(tags) does not have, where it is given. C(Name) stays.
    type: bool
    default: false
  size_gib:
    description:
      - Size in GiB, 1 to 65536. Required for a new volume unless O(snapshot_id) is given, whose size is the default.
      - A larger size than the volume has makes it grow. The guest then sees a larger disk; its file system is its own.
      - A smaller size is refused with C(InvalidParameterValue).
    type: int
    aliases: [volume_size]
  disk_format:
    description:
      - Format of the file of a new volume, V(qcow2) where it is not stated. It cannot be changed later.
      - Neither takes more room than what was written to it.
    type: str
    choices: [qcow2, raw]
  snapshot_id:
    description:
      - The snapshot whose content a new volume begins with. The volume is a copy of its own.
    type: str
    aliases: [snapshot]
  instance:
    description:
      - Id of the instance that the volume is to be attached to. Empty (V("")) detaches it.
      - A volume that is attached elsewhere is refused with C(VolumeInUse).
    type: str
    aliases: [instance_id]
  device_name:
    description:
      - V(/dev/sdf), V(/dev/xvdf), V(/dev/vdf) and V(vdf) mean the same device. The first free one from V(vdf) on where
        it is not stated.
      - A guest may name its disks otherwise. It finds the volume as C(/dev/disk/by-id/virtio-) and RV(volume.serial).
    type: str
  delete_on_termination:
    description: Whether the volume goes with the instance that it is attached to. It does not where nothing is stated.
    type: bool
  wait_timeout:
    description: How many seconds a running guest has to let a volume go that is to be detached.
    type: int
    default: 60
  state:
    description:
      - V(present) makes sure that the volume is there as stated.
      - V(absent) deletes it. Refused with C(VolumeInUse) while it is attached.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: pocket.cloud.ec2like_volume_info
  - module: pocket.cloud.ec2like_instance
"""

EXAMPLES = r"""
- name: Give an instance a volume
  pocket.cloud.ec2like_volume:
    name: web-data
    size_gib: 20
    instance: i-0f3a9c2b7d1e45608
    device_name: /dev/sdf
  register: data

- name: Let it grow
  pocket.cloud.ec2like_volume:
    volume_id: "{{ data.volume_id }}"
    size_gib: 40

- name: Detach it
  pocket.cloud.ec2like_volume:
    name: web-data
    instance: ""

- name: Delete it
  pocket.cloud.ec2like_volume:
    name: web-data
    state: absent
"""

RETURN = r"""
volume_id:
  description: The volume's id. None where there is none, and in check mode for one that would be made.
  returned: success
  type: str
  sample: vol-0f3a9c2b7d1e45608
volume:
  description:
    - The volume. In check mode, as it would be; what only a real run can tell is none.
    - None where there was no volume to delete.
  returned: success
  type: dict
  contains:
    volume_id:
      description: The id, V(vol-) and 17 hexadecimal digits.
      returned: always
      type: str
      sample: vol-0f3a9c2b7d1e45608
    state:
      description: V(creating), V(available), V(in-use), V(deleted), or V(error) where its file is gone.
      returned: always
      type: str
      sample: in-use
    size_gib:
      description: Size in GiB.
      returned: always
      type: int
      sample: 20
    disk_format:
      description: V(qcow2) or V(raw).
      returned: always
      type: str
      sample: qcow2
    snapshot_id:
      description: The snapshot that it was made from, none where it was made empty.
      returned: always
      type: str
      sample: snap-0f3a9c2b7d1e45608
    tags:
      description: Its tags.
      returned: always
      type: dict
      sample: {Name: web-data}
    attachments:
      description: What it is attached to, one at most, each with C(instance_id), C(device_name) and
        C(delete_on_termination).
      returned: always
      type: list
      elements: dict
    create_time:
      description: When it was made, ISO 8601 in UTC.
      returned: always
      type: str
      sample: '2026-01-31T12:00:00Z'
    serial:
      description: The serial number that the guest sees, which is the id without its hyphen.
      returned: always
      type: str
      sample: vol0f3a9c2b7d1e45608
    path:
      description: Its file in the store.
      returned: always
      type: str
      sample: /var/lib/pocket-cloud/volumes/vol-0f3a9c2b7d1e45608.qcow2
error_code:
  description: EC2's code for the error, where EC2 has one.
  returned: failure
  type: str
  sample: VolumeInUse
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE, EC2LIKE_VOLUME
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.volume_task import VolumeTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    run(Ec2likeModule(argument_spec={**EC2LIKE, **EC2LIKE_VOLUME}, supports_check_mode=True), VolumeTask)


if __name__ == "__main__":
    main()
