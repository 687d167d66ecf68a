#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_volume_info
short_description: List the volumes of a KVM host
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Returns the volumes of the target that filters select, in EC2's shape.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
options:
  volume_ids:
    description: The volumes to list, by id; one that is not there fails the task.
    type: list
    elements: str
  filters:
    description:
      - What selects the volumes, as a dictionary of EC2's filter names and values. All names must match, of several
        values of a name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(attachment.delete-on-termination), V(attachment.device), V(attachment.instance-id),
        V(attachment.status), V(create-time), V(size), V(snapshot-id), V(status), V(tag-key), V(tag:KEY) and
        V(volume-id). Any other is an error.
    type: dict
seealso:
  - module: pocket.cloud.ec2like_volume
"""

EXAMPLES = r"""
- name: Find the volumes that are attached to nothing
  pocket.cloud.ec2like_volume_info:
    filters:
      status: available
  register: unused

- name: Show them
  ansible.builtin.debug:
    msg: "{{ unused.volume_ids }}"
"""

RETURN = r"""
volumes:
  description: The volumes, the oldest first, each as RV(pocket.cloud.ec2like_volume#module:volume) describes it.
  returned: success
  type: list
  elements: dict
volume_ids:
  description: The ids of RV(volumes).
  returned: success
  type: list
  elements: str
error_code:
  description: EC2's code for the error, where EC2 has one.
  returned: failure
  type: str
  sample: InvalidVolume.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.storage_info import VolumeInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE,
        "volume_ids": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), VolumeInfoTask)


if __name__ == "__main__":
    main()
