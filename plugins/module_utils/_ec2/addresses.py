# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses a new instance gets: planned before it boots, its own for life. Pure. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
from collections.abc import Container, Iterable, Iterator, Sequence

from .._errors import PocketError
from .interfaces import DHCP, SEED, Interface, mac_address
from .networks import Address, Network
from .request import Current, InterfaceRequest, Template

__all__ = ["active_network", "available", "check_stated", "free_addresses", "plan_interfaces", "taken"]

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address


def plan_interfaces(current: Current, template: Template, ids: Sequence[str]) -> list[tuple[Interface, ...]]:
    """Return the interfaces of new instances with these ids; raises PocketError where there are no addresses."""
    columns = []
    planned: set[Address] = set()
    for index, wanted in enumerate(template.interfaces):
        network = active_network(wanted.network, current)
        for name in ("private_ip_address", "ipv6_address"):
            if len(ids) > 1 and getattr(wanted, name) is not None:
                raise PocketError(
                    f"{wanted.parameter}{name}: {getattr(wanted, name)} cannot be given to {len(ids)} instances; "
                    "launch one at a time, or leave the address out",
                    code="InvalidParameterCombination",
                )
        used = planned | taken(current, network)
        ipv4 = _ipv4_addresses(current, network, wanted, used, len(ids))
        ipv6 = [_ipv6_address(current, network, wanted, used, one, index) for one in ids]
        planned.update(ipv4, (one for one in ipv6 if one))
        given_by = DHCP if network.dhcp and not network.bare else SEED
        columns.append(
            [
                Interface(network.name, mac_address(one, index), str(four), str(six) if six else None, given_by)
                for one, four, six in zip(ids, ipv4, ipv6)
            ]
        )
    return list(zip(*columns))


def active_network(name: str, current: Current) -> Network:
    """Return the network of that name, or raise where there is none or it is not active."""
    for network in current.networks:
        if network.name == name:
            if network.active:
                return network
            raise PocketError(
                f"network: {name!r} is not active; start it with ec2like_network, or with: virsh net-start {name}",
                code="IncorrectState",
            )
    known = ", ".join(network.name for network in current.networks) or "none"
    raise PocketError(
        f"network: there is no network {name!r} on this host (there are: {known}); make it with ec2like_network",
        code="InvalidSubnetID.NotFound",
    )


# What is stated


def check_stated(wanted: InterfaceRequest) -> None:
    """Raise InvalidParameterValue where an address that is stated is none, whatever network it is for."""
    if wanted.private_ip_address is not None:
        _ipv4(f"{wanted.parameter}private_ip_address", wanted.private_ip_address)
    if wanted.ipv6_address is not None:
        _ipv6(f"{wanted.parameter}ipv6_address", wanted.ipv6_address)


def _ipv4(parameter: str, text: str | None) -> IPv4:
    try:
        return IPv4(text or "")
    except ValueError as error:
        raise _bad(f"{parameter}: {text!r} is no IPv4 address") from error


def _ipv6(parameter: str, text: str | None) -> IPv6:
    if "%" in str(text):
        raise _bad(f"{parameter}: {text!r} names a link; give the address without '%' and what follows it")
    try:
        return IPv6(text or "")
    except ValueError as error:
        raise _bad(f"{parameter}: {text!r} is no IPv6 address") from error


# What is taken


def taken(current: Current, network: Network) -> set[Address]:
    """Return the addresses that somebody has, or may have: nobody else can be given them.

    dnsmasq does not give an address that another machine's lease still holds, whatever is reserved.
    """
    beside = {one.name for one in current.networks if one.bridge == network.bridge} | {network.name}
    told = [
        ipaddress.ip_address(address)
        for instance in current.instances
        for interface in instance.interfaces
        if interface.network in beside
        for address in (interface.private_ip_address, interface.ipv6_address)
        if address
    ]
    leased = [lease.address for lease in current.leases]
    return {*told, *leased, *current.answered, *_own(network), *(host.address for host in network.hosts)}


def _own(network: Network) -> set[Address]:
    """Return the addresses of the network itself."""
    own: list[Address | None] = [network.gateway, network.interface.ip if network.interface else None]
    own += [network.ipv6.ip if network.ipv6 else None, *network.dns]
    return {address for address in own if address is not None}


# IPv4


def _ipv4_addresses(
    current: Current, network: Network, wanted: InterfaceRequest, taken: set[Address], count: int
) -> list[IPv4]:
    if wanted.private_ip_address is not None:
        return [_stated_ipv4(current, network, wanted, taken)]
    recent = [
        IPv4(interface.private_ip_address)
        for instance in current.terminated
        for interface in instance.interfaces
        if interface.network == network.name and interface.private_ip_address
    ]
    found = list(itertools.islice(free_addresses(network, taken, recent), count))
    if len(found) < count:
        raise PocketError(
            f"network: {network.name!r} has {len(found)} free addresses, and {count} instances are to be launched; "
            "terminate some, wait for leases of terminated ones to expire, or name a larger network",
            code="InsufficientFreeAddressesInSubnet",
        )
    return found


def free_addresses(network: Network, taken: Container[Address], recent: Iterable[IPv4] = ()) -> Iterator[IPv4]:
    """Yield the addresses of `network` that nobody has, the lowest first.

    Those that terminated instances had come late, for others may still take their holder for the old one. Those that
    dnsmasq may give to any machine that asks come last: it could give one away before the instance asks.

    :param taken: addresses in use, the network's own among them.
    :param recent: addresses of terminated instances, the one terminated first before the others.
    """
    resting = {address: turn for turn, address in enumerate(recent)}
    late, last = [], []
    for address in _candidates(network):
        if address in taken:
            continue
        if network.dhcp_range and address in network.dhcp_range:
            last.append(address)
        elif address in resting:
            late.append(address)
        else:
            yield address
    yield from sorted(late, key=lambda address: resting[address])
    yield from last


def _candidates(network: Network) -> Iterator[IPv4]:
    interface = _interface(network)
    if network.address_range is None:
        yield from interface.network.hosts()
        return
    for number in range(int(network.address_range.start), int(network.address_range.end) + 1):
        yield IPv4(number)


def available(network: Network, taken: Iterable[Address]) -> int:
    """Return how many instances could be given an IPv4 address beside those that are `taken`."""
    if network.interface is None:
        return 0
    used = {*taken, *_own(network), *(host.address for host in network.hosts)}
    if network.address_range is None:
        first, last = int(network.interface.network.network_address) + 1, int(network.interface.network[-1]) - 1
    else:
        first, last = int(network.address_range.start), int(network.address_range.end)
    return last - first + 1 - sum(address.version == 4 and first <= int(address) <= last for address in used)


def _stated_ipv4(current: Current, network: Network, wanted: InterfaceRequest, taken: set[Address]) -> IPv4:
    parameter = f"{wanted.parameter}private_ip_address"
    interface = _interface(network)
    address = _ipv4(parameter, wanted.private_ip_address)
    subnet = interface.network
    if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
        raise _bad(f"{parameter}: {address} is no machine's address in {subnet}, the subnet of {network.name!r}")
    _check_free(current, network, parameter, address, taken)
    return address


def _interface(network: Network) -> ipaddress.IPv4Interface:
    if network.interface is None:
        raise PocketError(
            f"network: {network.name!r} has no IPv4 subnet of libvirt's, so no address can be planned in it; name a "
            "network that ec2like_network made, or let ec2like_network adopt it with a cidr and an address_range",
            code="InvalidSubnetID.NotFound",
        )
    return network.interface


def _check_free(
    current: Current, network: Network, parameter: str, address: Address, taken: Container[Address]
) -> None:
    if address in _own(network):
        raise _bad(f"{parameter}: {address} is the address of the network {network.name!r} itself; take another")
    if address in current.answered:
        raise PocketError(
            f"{parameter}: {address} is in use in the network {network.name!r}, where the machine "
            f"{current.answered[address]} answers for it; take another",
            code="InvalidIPAddress.InUse",
        )
    if address in taken:
        raise PocketError(
            f"{parameter}: {address} is reserved or leased in the network {network.name!r}; take another",
            code="InvalidIPAddress.InUse",
        )


# IPv6


def _ipv6_address(
    current: Current, network: Network, wanted: InterfaceRequest, taken: set[Address], instance_id: str, index: int
) -> IPv6 | None:
    if wanted.ipv6_address is not None:
        return _stated_ipv6(current, network, wanted, taken)
    if network.ipv6 is None:
        return None
    # Made of the id, as there are so many: no two instances ever have the same one after each other.
    subnet = network.ipv6.network
    for salt in itertools.count():
        digest = hashlib.sha256(f"{instance_id}/{index}/{salt}".encode()).digest()
        address = subnet[int.from_bytes(digest[:16], "big") % (subnet.num_addresses - 1) + 1]
        if address not in taken:
            return address
        if salt >= _SALTS:
            break
    raise PocketError(
        f"network: {network.name!r} has hardly any free IPv6 address in {subnet}; terminate instances, or name another",
        code="InsufficientFreeAddressesInSubnet",
    )


_SALTS = 4096


def _stated_ipv6(current: Current, network: Network, wanted: InterfaceRequest, taken: set[Address]) -> IPv6:
    parameter = f"{wanted.parameter}ipv6_address"
    if network.ipv6 is None:
        raise _bad(
            f"{parameter}: the network {network.name!r} has no IPv6 subnet; give it one with ec2like_network's "
            "ipv6_cidr, or leave the address out"
        )
    address = _ipv6(parameter, wanted.ipv6_address)
    subnet = network.ipv6.network
    if address not in subnet or address == subnet.network_address:
        raise _bad(f"{parameter}: {address} is no machine's address in {subnet}, the subnet of {network.name!r}")
    _check_free(current, network, parameter, address, taken)
    return address


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
