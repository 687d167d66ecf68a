#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of volumes and root disks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_snapshot
short_description: Make and delete snapshots of volumes and root disks of a KVM host
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - A snapshot is a disk as it was at one moment, in a file that stands alone. Volumes are made of it with
    O(pocket.cloud.ec2like_volume#module:snapshot_id), as copies, so it can be deleted at any time.
  - The disk of a running instance is copied while its guest goes on. The snapshot has what was on the disk at the
    moment when it was begun, as after a power failure; with O(freeze) the file systems in it are clean.
  - The disk of a stopped instance is locked while it is copied. The instance cannot be started until that is done.
  - The task ends when the snapshot is complete. Meanwhile M(pocket.cloud.ec2like_snapshot_info) shows it as V(pending),
    with its progress where the instance runs.
  - A task that was killed leaves nothing that lasts. The next one puts its remains away and reports that as a change.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
requirements:
  - qemu-img on the target (Debian's C(qemu-utils)).
options:
  snapshot_id:
    description: The snapshot that is meant, V(snap-) and 17 hexadecimal digits.
    type: str
  name:
    description:
      - The tag C(Name) of the snapshot that is meant. One is made where no snapshot has it.
      - Where neither this nor O(snapshot_id) is given, each run makes another snapshot, as O(last_snapshot_min_age)
        allows.
    type: str
  volume_id:
    description: The volume of which a snapshot is made.
    type: str
  instance_id:
    description: The instance of whose disk a snapshot is made. Not together with O(volume_id).
    type: str
  device_name:
    description: Which disk of O(instance_id). Its root disk where nothing is stated.
    type: str
  freeze:
    description:
      - Have the guest write out its file systems and hold them at the moment when the snapshot is begun. The guest
        must run the QEMU guest agent.
      - Refused with C(IncorrectInstanceState) for a guest that is paused.
    type: bool
    default: false
  last_snapshot_min_age:
    description:
      - Make no other snapshot where the newest one of the same disk is not as many minutes old. For runs without
        O(name) and O(snapshot_id).
    type: int
    default: 0
  description:
    description: A text of at most 255 characters. It may be changed at any time.
    type: str
  tags:
    description: Tags that the snapshot gets, with those that it has unless O(purge_tags) is true.
    type: dict
    aliases: [snapshot_tags]
  purge_tags:
    description: Remove the tags that O(tags) does not have, where it is given. C(Name) stays.
    type: bool
    default: false
  state:
    description: V(present) makes sure that there is the snapshot, V(absent) deletes it.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: pocket.cloud.ec2like_snapshot_info
  - module: pocket.cloud.ec2like_volume
"""

EXAMPLES = r"""
- name: Make a snapshot of a volume
  pocket.cloud.ec2like_snapshot:
    name: web-data before the upgrade
    volume_id: vol-0f3a9c2b7d1e45608

- name: Make a snapshot of an instance's root disk with clean file systems
  pocket.cloud.ec2like_snapshot:
    name: web-1
    instance_id: i-0f3a9c2b7d1e45608
    freeze: true

- name: Delete a snapshot
  pocket.cloud.ec2like_snapshot:
    name: web-1
    state: absent
"""

RETURN = r"""
snapshot_id:
  description: The snapshot's id. None where there is none, and in check mode for one that would be made.
  returned: success
  type: str
  sample: snap-0f3a9c2b7d1e45608
snapshot:
  description:
    - The snapshot. In check mode, as it would be; what only a real run can tell is none.
    - None where there was no snapshot to delete.
  returned: success
  type: dict
  contains:
    snapshot_id:
      description: The id, V(snap-) and 17 hexadecimal digits.
      returned: always
      type: str
      sample: snap-0f3a9c2b7d1e45608
    state:
      description: V(pending), V(completed), V(error) when its file is gone, or V(deleted).
      returned: always
      type: str
      sample: completed
    progress:
      description: How far it is.
      returned: always
      type: str
      sample: 100%
    volume_id:
      description: The volume of which it is, none for a root disk.
      returned: always
      type: str
      sample: vol-0f3a9c2b7d1e45608
    instance_id:
      description: The instance that had the disk, none where nothing had it.
      returned: always
      type: str
      sample: i-0f3a9c2b7d1e45608
    volume_size:
      description: Size of the disk in GiB, rounded up.
      returned: always
      type: int
      sample: 20
    description:
      description: Its description.
      returned: always
      type: str
      sample: Before the upgrade
    tags:
      description: Its tags.
      returned: always
      type: dict
      sample: {Name: web-1}
    start_time:
      description: When it was begun, ISO 8601 in UTC.
      returned: always
      type: str
      sample: '2026-01-31T12:00:00Z'
    path:
      description: Its file in the store.
      returned: always
      type: str
      sample: /var/lib/pocket-cloud/snapshots/snap-0f3a9c2b7d1e45608.qcow2
error_code:
  description: EC2's code for the error, where EC2 has one.
  returned: failure
  type: str
  sample: InvalidVolume.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE, EC2LIKE_SNAPSHOT
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.snapshot_task import SnapshotTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    run(Ec2likeModule(argument_spec={**EC2LIKE, **EC2LIKE_SNAPSHOT}, supports_check_mode=True), SnapshotTask)


if __name__ == "__main__":
    main()
