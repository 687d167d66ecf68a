# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which address a new instance gets: planned before it boots, and its own for life. Pure. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from .._errors import PocketError
from .networks import Network

__all__ = ["check_address", "free_addresses"]

Taken = Iterable[ipaddress.IPv4Address]


def free_addresses(network: Network, taken: Taken) -> Iterator[ipaddress.IPv4Address]:
    """Yield the addresses of `network` that nobody has, the lowest first.

    Those that dnsmasq may give to any machine that asks come last: it could give one away before the instance asks.

    :param taken: addresses in use beside the gateway's and the reserved ones, such as those leased at present.
    """
    interface = _interface(network)
    used = {interface.ip, *(host.address for host in network.hosts), *taken}
    late = []
    for address in _candidates(network, interface):
        if address in used:
            continue
        if network.dhcp_range and address in network.dhcp_range:
            late.append(address)
            continue
        yield address
    yield from late


def _candidates(network: Network, interface: ipaddress.IPv4Interface) -> Iterator[ipaddress.IPv4Address]:
    if network.address_range is None:
        yield from interface.network.hosts()
        return
    for number in range(int(network.address_range.start), int(network.address_range.end) + 1):
        yield ipaddress.IPv4Address(number)


def check_address(network: Network, text: str, taken: Taken) -> ipaddress.IPv4Address:
    """Return the address that the user asked for, or raise where the network cannot give it to an instance."""
    interface = _interface(network)
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise _bad(f"private_ip_address: {text!r} is no IPv4 address") from error
    subnet = interface.network
    if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
        raise _bad(f"private_ip_address: {address} is no machine's address in {subnet}, the subnet of {network.name!r}")
    if address == interface.ip:
        raise _bad(f"private_ip_address: {address} is the address of the network {network.name!r} itself; take another")
    if address in {*(host.address for host in network.hosts), *taken}:
        raise PocketError(
            f"private_ip_address: {address} is reserved or leased in the network {network.name!r}; take another",
            code="InvalidIPAddress.InUse",
        )
    return address


def _interface(network: Network) -> ipaddress.IPv4Interface:
    if network.interface is None:
        raise PocketError(
            f"network: {network.name!r} has no IPv4 subnet of libvirt's, so no address can be reserved in it; "
            "name a network that ec2like_network made",
            code="InvalidSubnetID.NotFound",
        )
    return network.interface


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
