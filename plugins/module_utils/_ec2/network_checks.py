# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network cannot be, on its own or beside what there is on the host. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from .._errors import PocketError
from .networks import BRIDGE, Network
from .uplinks import Interface

__all__ = ["Current", "check_network", "some"]


@dataclass(frozen=True)
class Current:
    """What there is.

    :param users: the domains with an interface in the network, and whether they run.
    :param hook: the text of the network's hook.
    :param hooks: whether there was a hook of any network.
    :param routes: the host's routes, each with the interface that it goes by.
    """

    network: Network | None = None
    others: tuple[Network, ...] = ()
    users: Mapping[str, bool] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    hook: str | None = None
    hooks: bool = False
    routes: Mapping[IPv4Network, str] = field(default_factory=dict)


def check_network(current: Current, wanted: Network) -> None:
    """Raise PocketError where there cannot be a network as `wanted` in place of what there is."""
    _check_addresses(wanted)
    _check_combinations(wanted)
    _check_uplink(current, wanted)
    network = current.network
    if network is not None:
        _check_users(current, network, wanted)
    if wanted.bare:
        _check_bridge(current, wanted)
        return
    _check_forwarding(current, wanted)
    if network is None or wanted.bridge != network.bridge or _moved(network, wanted) or network.bare:
        _check_new(current, wanted)


def _moved(network: Network, wanted: Network) -> bool:
    return wanted.interface != network.interface or (wanted.ipv6 != network.ipv6 and wanted.ipv6 is not None)


# On its own


def _check_addresses(wanted: Network) -> None:
    if wanted.interface is None:
        raise PocketError(
            f"cidr: the network {wanted.name!r} has no IPv4 subnet; state one, such as 10.80.0.0/24",
            code="MissingParameter" if wanted.bare else "InvalidParameterValue",
        )
    subnet = wanted.interface.network
    stated = [
        (name, address)
        for name, addresses in (("dhcp_range", wanted.dhcp_range), ("address_range", wanted.address_range))
        if addresses is not None
        for address in (addresses.start, addresses.end)
    ]
    if wanted.gateway is not None:
        stated.append(("gateway", wanted.gateway))
    for name, address in stated:
        if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
            raise _bad(f"{name}: {address} is no machine's address in {subnet}; give one within it")


def _check_combinations(wanted: Network) -> None:
    if wanted.uplink and wanted.dhcp_range:
        raise _combination(
            f"dhcp_range: {wanted.dhcp_range} cannot be combined with the uplink {wanted.uplink!r}: machines behind it "
            "would be given addresses, too; leave it out, and instances alone are answered"
        )
    if wanted.uplink and wanted.ipv6:
        raise _combination(
            f"ipv6_cidr: {wanted.ipv6.network} cannot be combined with the uplink {wanted.uplink!r}: the network would "
            "announce itself as a router to the machines behind it; use a bridge of the host's and mode: bridge"
        )
    if wanted.dhcp_range and not wanted.dhcp:
        raise _combination(
            f"dhcp_range: {wanted.dhcp_range} is for the DHCP server, which the network {wanted.name!r} does not have; "
            "state dhcp: true, or leave the range out"
        )
    if not wanted.bare:
        return
    if wanted.dhcp:
        raise _combination(
            "dhcp: libvirt has no DHCP server on a bridge of the host's; leave it out, and the seed tells instances "
            "their addresses, or make a network with mode: open and an uplink"
        )
    if wanted.uplink:
        raise _combination(
            f"uplink: {wanted.uplink!r} is not ours to attach to the host's own bridge {wanted.bridge!r}; attach it "
            "where the host's network is configured"
        )
    if wanted.address_range is None:
        raise PocketError(
            f"address_range: is missing; state which addresses of {wanted.interface and wanted.interface.network} "
            "nobody else gives to the machines on the bridge",
            code="MissingParameter",
        )


# Beside what there is


def _check_users(current: Current, network: Network, wanted: Network) -> None:
    for name, stays in (
        ("cidr", wanted.interface == network.interface),
        ("ipv6_cidr", network.ipv6 is None or wanted.ipv6 == network.ipv6),
        ("dhcp", wanted.dhcp == network.dhcp),
    ):
        if current.users and not stays:
            value = {"cidr": wanted.interface, "ipv6_cidr": wanted.ipv6 or "none"}.get(name, wanted.dhcp)
            raise PocketError(
                f"{name}: {value} is not what the network {wanted.name!r} has, and the addresses of "
                f"{some(current.users)} depend on it; terminate them first, or make another network",
                code="DependencyViolation",
            )
    running = [name for name, runs in current.users.items() if runs]
    if running and network.restarts_for(wanted):
        raise PocketError(
            f"bridge, cidr, mode, gateway, dns, ipv6_cidr: the change takes a restart of the network {wanted.name!r}, "
            f"which would cut off {some(running)}; stop them first",
            code="DependencyViolation",
        )


def _check_forwarding(current: Current, wanted: Network) -> None:
    """Refuse a start that would have the host forward IPv6, and so drop its own routes."""
    network = current.network
    if wanted.ipv6 is None or (network is not None and network.active and network.ipv6 is not None):
        return
    losing = sorted(name for name, interface in current.interfaces.items() if interface.loses_routes)
    if losing:
        raise PocketError(
            f"ipv6_cidr: {wanted.ipv6.network} has this host forward IPv6, and then {some(losing)} would lose the "
            "routes that routers announce to it; let it keep them, now and in /etc/sysctl.d, with: "
            f"sysctl -w net/ipv6/conf/{losing[0]}/accept_ra=2",
            code="InvalidParameterValue",
        )


def _check_uplink(current: Current, wanted: Network) -> None:
    if wanted.uplink is None:
        return
    interface = current.interfaces.get(wanted.uplink)
    if interface is None:
        known = ", ".join(sorted(current.interfaces))
        raise _bad(f"uplink: there is no interface {wanted.uplink!r} on this host; there are {known}")
    if interface.kind == "loopback" or wanted.uplink == wanted.bridge:
        raise _bad(f"uplink: {wanted.uplink!r} cannot be a port of the bridge {wanted.bridge!r}; name a network card")
    if interface.addresses:
        raise _bad(
            f"uplink: {wanted.uplink!r} has the address {interface.addresses[0]}, which it would lose, and with it the "
            "connections over it; name an interface without an address, or move the address to the bridge by hand"
        )
    network = current.network
    mine = network.live_bridge if network is not None and not network.bare else None
    if interface.master not in (None, wanted.bridge, mine):
        raise _bad(f"uplink: {wanted.uplink!r} is a port of {interface.master!r} already; name a free interface")


def _check_bridge(current: Current, wanted: Network) -> None:
    """Refuse what is no bridge of the host's own."""
    bridges = sorted(name for name, interface in current.interfaces.items() if interface.kind == BRIDGE)
    if wanted.bridge not in bridges:
        known = f"there are {', '.join(bridges)}" if bridges else "there is none"
        raise PocketError(
            f"bridge: {wanted.bridge!r} is no bridge on this host ({known}); mode: bridge takes one that the host's "
            "network configuration makes",
            code="InvalidParameterValue" if wanted.bridge else "MissingParameter",
        )
    for other in current.others:
        if other.bridge == wanted.bridge and not other.bare:
            raise _bad(
                f"bridge: {wanted.bridge!r} is the bridge of the network {other.name!r}, which makes it itself; put "
                "instances into that network, or name a bridge of the host's"
            )


def _check_new(current: Current, wanted: Network) -> None:
    """Refuse a bridge or a subnet that somebody else has."""
    mine = {wanted.name, current.network.name if current.network else wanted.name}
    for other in current.others:
        if other.name not in mine and other.bridge == wanted.bridge:
            raise _bad(f"bridge: {wanted.bridge!r} is the bridge of the network {other.name!r}; choose another")
    live = current.network.live_bridge if current.network and not current.network.bare else ""
    if wanted.bridge in current.interfaces and wanted.bridge != live:
        raise _bad(f"bridge: there is an interface {wanted.bridge!r} on this host already; choose another name")
    for parameter, own in (("cidr", wanted.interface), ("ipv6_cidr", wanted.ipv6)):
        for interface in current.interfaces.values() if own is not None else ():
            for address in interface.addresses:
                if interface.name in (live, "lo") or own is None or address.version != own.version:
                    continue
                if address.network.overlaps(own.network):
                    raise _bad(
                        f"{parameter}: {own.network} overlaps with {address} of this host's {interface.name!r}; "
                        "choose another"
                    )
    network = None if wanted.interface is None else wanted.interface.network
    route = None if network is None else current.routes.get(network)
    if route not in (None, live):  # libvirt would refuse to start the network; a wider or narrower route it lets be
        raise _bad(f"cidr: this host has a route to {network} over {route!r} already; choose another")


def some(names: Mapping[str, bool] | list[str]) -> str:
    """Return the first few of `names` as words of a sentence."""
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")


def _combination(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterCombination")
