# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether guests use the addresses that were planned for them, and who says so. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from .hypervisor import Hypervisor
from .interfaces import SEED, Interface
from .model import Instance
from .networks import Address, Lease

__all__ = ["confirm", "confirmed", "known_to_neighbours"]

Old = Mapping[str, int]


def confirmed(instances: Sequence[Instance], leases: Iterable[Lease], old: Old | None = None) -> list[Instance]:
    """Return `instances` with the source C(lease) where dnsmasq gave the address to the guest.

    :param old: MAC address -> expiry of leases that do not count, because they are from before the guest's start.
    """
    expiry = {(lease.mac_address, str(lease.address)): lease.expires for lease in leases}

    def leased(interface: Interface, address: str) -> bool:
        expires = expiry.get((interface.mac_address, address))
        return expires is not None and (old or {}).get(interface.mac_address) != expires

    return [_with_source(instance, leased, "lease", "lease") for instance in instances]


def known_to_neighbours(instances: Sequence[Instance], table: Mapping[Address, str]) -> list[Instance]:
    """Return `instances` with the source C(arp) or C(ndp) where the host's neighbour table knows the guest."""
    if not table:
        return list(instances)

    def known(interface: Interface, address: str) -> bool:
        return table.get(ipaddress.ip_address(address)) == interface.mac_address

    return [_with_source(instance, known, "arp", "ndp") for instance in instances]


def confirm(hypervisor: Hypervisor, instances: Sequence[Instance], old: Old, thoroughly: bool = True) -> list[Instance]:
    """Return `instances` with what has seen their addresses.

    :param thoroughly: whether guests whose address nobody knows are asked themselves, which takes a moment.
    """
    names = sorted({interface.network for instance in instances for interface in instance.interfaces})
    found = confirmed(instances, [lease for name in names for lease in hypervisor.leases(name)], old)
    # The neighbour table, too, may still know a guest from before its start.
    fresh = {address: mac for address, mac in hypervisor.neighbours().items() if mac not in old}
    found = known_to_neighbours(found, fresh)
    if not thoroughly:
        return found
    return _answering(hypervisor, [one if _is_confirmed(one) else _asked(hypervisor, one, old) for one in found])


def _is_confirmed(instance: Instance) -> bool:
    return all(one.confirmed_by or one.private_ip_address is None for one in instance.interfaces)


def _asked(hypervisor: Hypervisor, instance: Instance, old: Old) -> Instance:
    """Return `instance` with what libvirt learns of it: from its host's neighbour table, or from its guest agent."""
    if instance.mac_address not in old:
        instance = _with_source(instance, _among(hypervisor.arp_addresses(instance.instance_id)), "arp", "ndp")
    if _is_confirmed(instance):
        return instance
    return _with_source(instance, _among(hypervisor.agent_addresses(instance.instance_id)), "agent", "agent")


def _answering(hypervisor: Hypervisor, instances: Sequence[Instance]) -> list[Instance]:
    """Return `instances` with the source C(arp) where the guest answers a question for its address.

    Of those that DHCP gives it to, the lease tells soon enough.
    """
    asked: dict[str, set[ipaddress.IPv4Address]] = {}
    for instance in instances:
        for interface in instance.interfaces:
            address = interface.private_ip_address
            if address and interface.given_by == SEED and not interface.confirmed_by and instance.state == "running":
                asked.setdefault(interface.network, set()).add(ipaddress.IPv4Address(address))
    answers: dict[Address, str] = {}
    for network, addresses in asked.items():
        answers.update(hypervisor.who_has(network, addresses))
    return known_to_neighbours(instances, answers)


def _among(addresses: Collection[str]) -> Callable[[Interface, str], bool]:
    return lambda _interface, address: address in addresses


def _with_source(
    instance: Instance, known: Callable[[Interface, str], bool], source: str, ipv6_source: str
) -> Instance:
    """Return `instance` with the source of each address that has none so far and that is `known`."""
    if instance.state != "running":
        return instance
    interfaces = tuple(_seen(one, known, source, ipv6_source) for one in instance.interfaces)
    return instance if interfaces == instance.interfaces else replace(instance, interfaces=interfaces)


def _seen(interface: Interface, known: Callable[[Interface, str], bool], source: str, ipv6_source: str) -> Interface:
    if not interface.confirmed_by and _is(known, interface, interface.private_ip_address):
        interface = replace(interface, confirmed_by=source)
    if not interface.ipv6_confirmed_by and _is(known, interface, interface.ipv6_address):
        interface = replace(interface, ipv6_confirmed_by=ipv6_source)
    return interface


def _is(known: Callable[[Interface, str], bool], interface: Interface, address: str | None) -> bool:
    return address is not None and known(interface, address)
