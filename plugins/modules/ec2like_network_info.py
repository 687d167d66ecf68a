#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List networks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_network_info
short_description: List the networks of a KVM host, and how many instances they have room for
version_added: 0.1.0
description:
  - Returns libvirt's networks on the target, those that M(pocket.cloud.ec2like_network) made and others, with what
    C(DescribeSubnets) tells of a subnet.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  names:
    description: The networks to list, by name; one that is not there fails the task.
    type: list
    elements: str
  filters:
    description:
      - What selects the networks, as a dictionary of names and values. All names must match, of several values of a
        name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(bridge), V(cidr), V(ipv6-cidr), V(mode), V(name), V(state) and V(uplink). Any other is an error;
        networks have no tags.
    type: dict
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
seealso:
  - module: pocket.cloud.ec2like_network
"""

EXAMPLES = r"""
- name: List the networks that instances can be in
  pocket.cloud.ec2like_network_info:
    filters:
      state: available
  register: found

- name: Show how many more instances each has addresses for
  ansible.builtin.debug:
    msg: "{{ found.networks | items2dict('name', 'available_ip_address_count') }}"
"""

RETURN = r"""
networks:
  description: The networks, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: pocket
    bridge:
      description: Its bridge.
      type: str
      sample: pocket0
    cidr:
      description: Its IPv4 subnet.
      type: str
      sample: 10.80.0.0/24
    bridge_address:
      description: The bridge's address in it; none with the mode V(bridge).
      type: str
      sample: 10.80.0.1
    gateway:
      description: The IPv4 gateway that instances are told of; none where there is none.
      type: str
      sample: 10.80.0.1
    dns:
      description: The name servers that instances are told of.
      type: list
      elements: str
    ipv6_cidr:
      description: Its IPv6 subnet; none where there is none.
      type: str
      sample: fd00:80::/64
    ipv6_gateway:
      description: The bridge's IPv6 address; none where there is none.
      type: str
      sample: fd00:80::1
    dhcp:
      description: Whether its DHCP server gives instances their IPv4 addresses.
      type: bool
    mode:
      description: What becomes of packets that leave the bridge.
      type: str
      sample: nat
    dhcp_range:
      description: Addresses for machines that are no instances; none when there are none.
      type: str
    address_range:
      description: Addresses that instances get; none when it is any of the subnet.
      type: str
    uplink:
      description: The interface of the host that is attached to the bridge; none when there is none.
      type: str
    autostart:
      description: Whether it starts with libvirt.
      type: bool
    active:
      description: Whether it is started.
      type: bool
    reservations:
      description:
        - Each reserved address, as C(instance_id), C(mac_address) and C(private_ip_address) or C(ipv6_address).
      type: list
      elements: dict
    state:
      description: V(available) where it is started, else V(unavailable).
      type: str
      sample: available
    managed:
      description: Whether M(pocket.cloud.ec2like_network) made it.
      type: bool
    available_ip_address_count:
      description: How many more instances could be given an IPv4 address in it.
      type: int
      sample: 251
    instance_ids:
      description: The instances with an interface in it, the oldest first.
      type: list
      elements: str
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: InvalidSubnetID.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_info_task import NetworkInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE,
        "names": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), NetworkInfoTask)


if __name__ == "__main__":
    main()
