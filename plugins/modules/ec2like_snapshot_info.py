#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List snapshots."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_snapshot_info
short_description: List the snapshots of a KVM host
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Returns the snapshots of the target that filters select, in EC2's shape.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
options:
  snapshot_ids:
    description: The snapshots to list, by id; one that is not there fails the task.
    type: list
    elements: str
  filters:
    description:
      - What selects the snapshots, as a dictionary of EC2's filter names and values. All names must match, of several
        values of a name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(description), V(instance-id), V(progress), V(snapshot-id), V(start-time), V(status), V(tag-key),
        V(tag:KEY), V(volume-id) and V(volume-size). Any other is an error.
    type: dict
seealso:
  - module: pocket.cloud.ec2like_snapshot
"""

EXAMPLES = r"""
- name: Find the snapshots that are being made
  pocket.cloud.ec2like_snapshot_info:
    filters:
      status: pending
  register: pending

- name: Show how far they are
  ansible.builtin.debug:
    msg: "{{ pending.snapshots | map(attribute='progress') }}"
"""

RETURN = r"""
snapshots:
  description: The snapshots, the oldest first, each as RV(pocket.cloud.ec2like_snapshot#module:snapshot) describes it.
  returned: success
  type: list
  elements: dict
snapshot_ids:
  description: The ids of RV(snapshots).
  returned: success
  type: list
  elements: str
error_code:
  description: EC2's code for the error, where EC2 has one.
  returned: failure
  type: str
  sample: InvalidSnapshot.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_STORE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.storage_info import SnapshotInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE_STORE,
        "snapshot_ids": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), SnapshotInfoTask)


if __name__ == "__main__":
    main()
