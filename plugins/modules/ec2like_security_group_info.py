#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List security groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_security_group_info
short_description: List the security groups of EC2-like instances
version_added: 0.1.0
description:
  - Returns the security groups that M(pocket.cloud.ec2like_security_group) made on the target, in EC2's shape.
  - Which instances have a group, M(pocket.cloud.ec2like_instance_info) tells with the filters C(instance.group-id) and
    C(instance.group-name).
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  group_ids:
    description: The groups to list, by id; one that is not there fails the task.
    type: list
    elements: str
  group_names:
    description: The groups to list, by name; one that is not there fails the task.
    type: list
    elements: str
  filters:
    description:
      - What selects the groups, as a dictionary of EC2's filter names and values. All names must match, of several
        values of a name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(description), V(group-id), V(group-name), V(ip-permission.cidr), V(ip-permission.group-id),
        V(ip-permission.ipv6-cidr), V(ip-permission.protocol), V(tag-key) and V(tag:KEY). Any other is an error.
    type: dict
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
seealso:
  - module: pocket.cloud.ec2like_security_group
"""

EXAMPLES = r"""
- name: List the groups that let everybody in
  pocket.cloud.ec2like_security_group_info:
    filters:
      ip-permission.cidr: 0.0.0.0/0
  register: open

- name: Show their names
  ansible.builtin.debug:
    msg: "{{ open.security_groups | map(attribute='group_name') }}"
"""

RETURN = r"""
security_groups:
  description: The groups, by name.
  returned: success
  type: list
  elements: dict
  contains:
    group_id:
      description: Its id, C(sg-) and 17 hexadecimal digits.
      type: str
      sample: sg-0f3a9c2b7d1e45608
    group_name:
      description: Its name.
      type: str
      sample: web
    description:
      description: Its description.
      type: str
      sample: Web servers
    ip_permissions:
      description:
        - What may come in, one entry for each protocol and range of ports, each with C(ip_protocol) (V(-1) is any),
          C(from_port), C(to_port), and the lists C(ip_ranges), C(ipv6_ranges) and C(user_id_group_pairs), whose entries
          have C(cidr_ip), C(cidr_ipv6) or C(group_id), and C(description).
      type: list
      elements: dict
    ip_permissions_egress:
      description: What may go out, in the same shape.
      type: list
      elements: dict
    tags:
      description: Its tags.
      type: dict
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: InvalidGroup.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_STORE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.security_group_task import SecurityGroupInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE_STORE,
        "group_ids": {"type": "list", "elements": "str"},
        "group_names": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), SecurityGroupInfoTask)


if __name__ == "__main__":
    main()
