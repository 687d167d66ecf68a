#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, change and remove the networks that instances are in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_network
short_description: Manage the networks of EC2-like instances on a KVM host
version_added: 0.1.0
description:
  - Manages a libvirt network with a bridge of its own and a DHCP server that gives each instance the address that was
    reserved for it, or a network on a bridge of the host's (O(mode=bridge)).
  - An instance's addresses are planned before it boots and stay its own. Where there is no DHCP server of libvirt's,
    the instance's seed tells it its address, gateway and name servers, which cloud-init then configures.
  - Settings that are not stated stay as they are; the defaults named below are those of a new network.
  - What libvirt can change in a running network is changed there. O(bridge), O(cidr), O(mode), O(gateway), O(dns) and
    O(ipv6_cidr) take a restart of the network, which is refused while running machines use it; of O(mode=bridge), only
    O(bridge) and O(mode) do. Another O(cidr), O(ipv6_cidr) or O(dhcp) is refused while any machine uses the network.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  name:
    description: The name of the network, 1 to 50 letters, digits, C(_), C(-) and C(.).
    type: str
    default: pocket
  state:
    description:
      - V(present) defines the network, starts it if it is not active, and attaches its O(uplink).
      - V(absent) stops and removes it; refused while any machine, running or not, has an interface in it.
    type: str
    choices: [present, absent]
    default: present
  bridge:
    description:
      - The bridge that the network makes, at most 15 characters. Of a new network, its O(name) and a C(0).
      - With O(mode=bridge), the bridge of the host's that instances are attached to; it must be there.
    type: str
  cidr:
    description:
      - The IPv4 subnet, with a prefix length of 8 to 29. Of a new network, V(10.80.0.0/24).
      - Written with an address other than the subnet's own, such as V(192.168.7.2/24), that is the bridge's address;
        else it is the subnet's first. It is the instances' gateway and name server if nothing else is said.
      - Required with O(mode=bridge), where it says what subnet the machines on the bridge are in.
    type: str
  ipv6_cidr:
    description:
      - The IPv6 subnet, with a prefix length of 64 to 120, in which each new instance gets an address, too. Of a new
        network there is none; the empty string takes it away.
      - Written with an address other than the subnet's own, that is the bridge's address; else it is the subnet's
        first. The bridge is the instances' IPv6 router; with O(mode=nat) the host's address hides them.
      - The address is reserved in the DHCPv6 server by the instance's name and by the DUID that is made of its MAC
        address, and told by the seed, since most guests ask by another DUID. Cannot be combined with O(uplink).
      - Refused where the host would lose IPv6 routes of its own, which routers announce, because it becomes a router
        itself; the sysctl C(accept_ra) of such an interface has to be 2. P(pocket.cloud.kvm_host#role) sees to it.
    type: str
  gateway:
    description:
      - The IPv4 gateway that instances are told of. Of a new network, the bridge's address, with O(mode=bridge) none;
        the empty string goes back to that.
    type: str
  dns:
    description:
      - The name servers that instances are told of. Of a new network, the bridge's address, with O(mode=bridge) none;
        an empty list goes back to that.
    type: list
    elements: str
  dhcp:
    description:
      - Whether the network's DHCP server gives instances their IPv4 addresses. Of a new network, V(true).
      - With V(false), and always with O(mode=bridge), the seed tells them.
    type: bool
  mode:
    description:
      - What becomes of packets that leave the bridge. V(nat) hides the instances behind the host's address, V(route)
        forwards with libvirt's firewall rules, V(open) forwards without any. Of a new network, V(nat).
      - V(bridge) takes a bridge that the host's own network configuration makes. libvirt serves nothing there; O(cidr)
        and O(address_range) say which addresses instances may be given.
    type: str
    choices: [nat, route, open, bridge]
  address_range:
    description:
      - The addresses that instances get, as C(START-END). Of a new network, any of the subnet.
      - The empty string takes the limit off. Required with O(mode=bridge).
    type: str
  dhcp_range:
    description:
      - Addresses for machines that are no instances, as C(START-END); any machine that asks gets one. Of a new
        network there are none, and the DHCP server answers instances alone.
      - The empty string takes the range away. Cannot be combined with O(uplink).
    type: str
  uplink:
    description:
      - An interface of the host that becomes a port of the bridge, so that instances are in the network behind it. A
        hook of libvirt's attaches it whenever the network starts.
      - libvirtd looks for hooks only when it starts, so restart it once after the first one on a host, of which the
        module warns; until then, the module alone attaches the uplink.
      - It must carry no address, for it would lose it, and with it perhaps the connection one came in on. Of a new
        network there is none; the empty string sets it free again.
    type: str
  autostart:
    description: Whether libvirt starts the network when it starts itself. Of a new network, V(true).
    type: bool
  adopt:
    description: Whether a network that this collection did not make may be changed or removed.
    type: bool
    default: false
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
requirements:
  - ip on the target (Debian's C(iproute2)).
  - dnsmasq and iptables on the target, for networks with another O(mode) than V(bridge) (Debian's C(dnsmasq-base) and
    C(iptables)).
notes:
  - Addresses of instances are reserved in the network's definition. Its running DHCP server reads them from files in a
    directory beside libvirt's own, C(/var/lib/libvirt/dnsmasq/*.pocket), by options of dnsmasq's in the definition; for
    when libvirt itself changes the reservations of a running network, it takes all of its firewall rules away for a
    moment.
seealso:
  - module: pocket.cloud.ec2like_instance
"""

EXAMPLES = r"""
- name: The network that instances are in if nothing else is said
  pocket.cloud.ec2like_network:

- name: Instances as machines of the office network behind eth1
  pocket.cloud.ec2like_network:
    name: office
    cidr: 192.168.7.2/24
    mode: open
    uplink: eth1
    address_range: 192.168.7.100-192.168.7.199

- name: Instances on a bridge that the host has, with addresses that the office's DHCP server does not give
  pocket.cloud.ec2like_network:
    name: lan
    mode: bridge
    bridge: br0
    cidr: 192.168.7.0/24
    address_range: 192.168.7.200-192.168.7.249
    gateway: 192.168.7.1
    dns: [192.168.7.1, 9.9.9.9]

- name: IPv6, too
  pocket.cloud.ec2like_network:
    name: pocket
    ipv6_cidr: fd00:80::/64

- name: Give addresses to other guests, too
  pocket.cloud.ec2like_network:
    name: pocket
    dhcp_range: 10.80.0.200-10.80.0.250

- name: Remove a network
  pocket.cloud.ec2like_network:
    name: office
    state: absent
"""

RETURN = r"""
network:
  description: The network as it is now, in check mode as it was; none where there is none.
  returned: success
  type: dict
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
      description: The bridge's address in it; none with RV(network.mode=bridge).
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
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: DependencyViolation
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_task import NetworkTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE,
        "name": {"type": "str", "default": "pocket"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "bridge": {"type": "str"},
        "cidr": {"type": "str"},
        "ipv6_cidr": {"type": "str"},
        "gateway": {"type": "str"},
        "dns": {"type": "list", "elements": "str"},
        "dhcp": {"type": "bool"},
        "mode": {"type": "str", "choices": ["nat", "route", "open", "bridge"]},
        "address_range": {"type": "str"},
        "dhcp_range": {"type": "str"},
        "uplink": {"type": "str"},
        "autostart": {"type": "bool"},
        "adopt": {"type": "bool", "default": False},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), NetworkTask)


if __name__ == "__main__":
    main()
