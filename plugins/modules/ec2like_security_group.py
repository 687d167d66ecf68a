#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, change and remove security groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_security_group
short_description: Manage the security groups of EC2-like instances on a KVM host
version_added: 0.1.0
description:
  - A security group says who may talk to the instances that have it. M(pocket.cloud.ec2like_instance) gives it to them.
  - Rules allow, and what no rule of any of an instance's groups allows is denied. Answers to what was allowed pass, and
    so do DHCP, ARP, IPv6 neighbour discovery, and ICMP errors of allowed connections. Router advertisements reach
    instances, but none that has a group can send them.
  - The rules are enforced by a network filter of libvirt for each group. A change applies to running instances when the
    task returns; connections that are no longer allowed are cut.
  - Settings that are not stated stay as they are; the defaults named below are those of a new group.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  name:
    description:
      - The name of the group, 1 to 255 printable ASCII characters, not beginning with C(sg-). It stays for life.
      - This or O(group_id) is required.
    type: str
  group_id:
    description: The id of a group that exists.
    type: str
  state:
    description:
      - V(present) makes the group or changes it.
      - V(absent) removes it; refused with C(DependencyViolation) while an instance has it or a rule of another group
        names it.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: A description of 1 to 255 printable ASCII characters. Of a new group, its O(name).
    type: str
  rules:
    description: Who may connect to the instances. A new group lets nobody in.
    type: list
    elements: dict
    suboptions: &rule
      proto:
        description: V(tcp), V(udp), V(icmp), V(icmpv6), or V(all) (or V(-1)) for any protocol.
        type: str
        default: tcp
      from_port:
        description:
          - The first port; V(-1), here and as O(rules[].to_port), is all.
          - Of ICMP, the type; all when left out.
        type: int
      to_port:
        description:
          - The last port.
          - Of ICMP, the code; all when left out.
        type: int
      ports:
        description: Ports and ranges such as V(8000-8099), in place of a first and a last one.
        type: list
        elements: str
      cidr_ip:
        description: IPv4 networks on the other side.
        type: list
        elements: str
      cidr_ipv6:
        description: IPv6 networks on the other side.
        type: list
        elements: str
      group_id:
        description: Groups, by id, whose members are on the other side, with all addresses they have.
        type: list
        elements: str
      group_name:
        description: Such groups, by name. It may be this group itself.
        type: list
        elements: str
      rule_desc:
        description: A description of the rule, up to 255 printable ASCII characters.
        type: str
  rules_egress:
    description: Whom the instances may connect to. A new group lets them connect to everybody.
    type: list
    elements: dict
    suboptions: *rule
  purge_rules:
    description: Whether to remove rules that O(rules) does not list, where it is given.
    type: bool
    default: true
  purge_rules_egress:
    description: Whether to remove rules that O(rules_egress) does not list, where it is given.
    type: bool
    default: true
  tags:
    description:
      - Tags of the group. A key has 1 to 128 characters and does not begin with C(aws:), a value has up to 256.
    type: dict
  purge_tags:
    description: Whether to remove tags that O(tags) does not list, where it is given.
    type: bool
    default: false
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
requirements:
  - iptables, ip6tables and ebtables on the target (Debian's C(iptables)).
seealso:
  - module: pocket.cloud.ec2like_instance
  - module: pocket.cloud.ec2like_security_group_info
notes:
  - Between instances, and between instances and machines behind a network's uplink, packets that are not allowed are
    dropped before they reach the guest. Of packets that the host itself sends or routes to a guest, the filters
    see the answers alone, so no connection comes about, but a single datagram gets in.
  - The host itself is one of those who need a rule, to wait for a port for instance.
  - UDP services behind IPVS on the same host, in groups with O(rules_egress), need C(net.ipv4.vs.conntrack).
"""

EXAMPLES = r"""
- name: Web servers, which everybody may see and the operators may log in to
  pocket.cloud.ec2like_security_group:
    name: web
    description: Web servers
    rules:
      - ports: [80, 443]
        cidr_ip: [0.0.0.0/0]
        cidr_ipv6: ["::/0"]
      - ports: [22]
        cidr_ip: [192.0.2.0/24]
        rule_desc: operators
      - proto: icmp
        from_port: 8
        cidr_ip: [0.0.0.0/0]

- name: Databases, which only web servers may use, and which talk to nobody of their own accord
  pocket.cloud.ec2like_security_group:
    name: database
    rules:
      - ports: [5432]
        group_name: [web]
    rules_egress: []

- name: One more rule, beside those there are
  pocket.cloud.ec2like_security_group:
    name: database
    rules:
      - proto: all
        group_name: [database]
    purge_rules: false

- name: Remove a group
  pocket.cloud.ec2like_security_group:
    name: web
    state: absent
"""

RETURN = r"""
security_group:
  description: The group as it is now, in check mode as it was; none where there is none.
  returned: success
  type: dict
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

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.security_group_task import SecurityGroupTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run

TEXTS = {"type": "list", "elements": "str"}
RULE = {
    "proto": {"type": "str", "default": "tcp"},
    "from_port": {"type": "int"},
    "to_port": {"type": "int"},
    "ports": TEXTS,
    "cidr_ip": TEXTS,
    "cidr_ipv6": TEXTS,
    "group_id": TEXTS,
    "group_name": TEXTS,
    "rule_desc": {"type": "str"},
}


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE,
        "name": {"type": "str"},
        "group_id": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "description": {"type": "str"},
        "rules": {"type": "list", "elements": "dict", "options": RULE},
        "rules_egress": {"type": "list", "elements": "dict", "options": RULE},
        "purge_rules": {"type": "bool", "default": True},
        "purge_rules_egress": {"type": "bool", "default": True},
        "tags": {"type": "dict"},
        "purge_tags": {"type": "bool", "default": False},
    }
    needed = [("name", "group_id")]
    run(Ec2likeModule(argument_spec=spec, required_one_of=needed, supports_check_mode=True), SecurityGroupTask)


if __name__ == "__main__":
    main()
