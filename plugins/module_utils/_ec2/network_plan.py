# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the network there is and the one asked for to the operations between. Pure. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .networks import AddressRange, Network
from .uplinks import Interface, hook_text

__all__ = ["Current", "Request", "plan_network"]

_CIDR = ipaddress.IPv4Interface("10.80.0.0/24")
_BRIDGE_LENGTH = 15
_NONE = ""


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    What is none was not stated; C(dhcp_range), C(address_range) and C(uplink) are off when they are empty.
    """

    name: str
    present: bool = True
    bridge: str | None = None
    cidr: ipaddress.IPv4Interface | None = None
    mode: str | None = None
    dhcp_range: AddressRange | str | None = None
    address_range: AddressRange | str | None = None
    uplink: str | None = None
    autostart: bool | None = None
    adopt: bool = False


@dataclass(frozen=True)
class Current:
    """What there is.

    :param users: the domains with an interface in the network, and whether they run.
    :param hook: the text of the network's hook.
    """

    network: Network | None = None
    others: tuple[Network, ...] = ()
    users: Mapping[str, bool] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    hook: str | None = None


def plan_network(current: Current, request: Request) -> Plan:
    """Return what is to be done; raises PocketError where the request cannot be met."""
    network = current.network
    if network is not None and not network.ours and not request.adopt:
        wanted = _after(network, request)
        if not request.present or wanted != network or not network.active:
            raise PocketError(
                f"name: the network {network.name!r} was not made by this collection, so it is left alone; "
                "choose another name, or state adopt: true to have it changed"
            )
    if not request.present:
        return Plan(tuple(_removal(current, request)))
    wanted = replace(_after(network, request) if network else _new(request), active=True)
    _check(current, wanted)
    return Plan(tuple(_operations(current, wanted)))


# What is wanted


def _new(request: Request) -> Network:
    bridge = request.bridge or f"{request.name}0"
    if len(bridge) > _BRIDGE_LENGTH:
        raise _bad(f"bridge: {bridge!r} has {len(bridge)} characters; state a name of up to {_BRIDGE_LENGTH}")
    blank = Network(request.name, bridge, _with_gateway(request.cidr or _CIDR), autostart=True)
    return _after(blank, request)


def _after(network: Network, request: Request) -> Network:
    """Return `network` with what the request states; the rest stays."""
    stated: dict[str, Any] = {}
    if request.bridge is not None:
        stated["bridge"] = request.bridge
    if request.cidr is not None and not _is_met(request.cidr, network.interface):
        stated["interface"] = _with_gateway(request.cidr)
    for name in ("mode", "autostart"):
        if getattr(request, name) is not None:
            stated[name] = getattr(request, name)
    for name in ("dhcp_range", "address_range", "uplink"):
        value = getattr(request, name)
        if value is not None:
            stated[name] = None if value == _NONE else value
    return replace(network, **stated)


def _is_met(cidr: ipaddress.IPv4Interface, present: ipaddress.IPv4Interface | None) -> bool:
    """A subnet is met by a bridge with any address in it, an address with a prefix only by that very one."""
    if present is None or cidr.network != present.network:
        return False
    return cidr.ip in (cidr.network.network_address, present.ip)


def _with_gateway(cidr: ipaddress.IPv4Interface) -> ipaddress.IPv4Interface:
    """Return the bridge's own address: the one given, or the subnet's first."""
    if cidr.ip != cidr.network.network_address:
        return cidr
    return ipaddress.IPv4Interface(f"{cidr.network.network_address + 1}/{cidr.network.prefixlen}")


# What cannot be


def _check(current: Current, wanted: Network) -> None:
    _check_ranges(wanted)
    _check_uplink(current, wanted)
    network = current.network
    if network is None:
        _check_new(current, wanted)
        return
    moved = wanted.interface != network.interface
    if moved and current.users:
        raise PocketError(
            f"cidr: {wanted.interface} is not what the network {wanted.name!r} has, and the addresses of "
            f"{_some(current.users)} depend on it; terminate them first, or make another network",
            code="DependencyViolation",
        )
    running = [name for name, runs in current.users.items() if runs]
    if network.active and (network.outdated or _needs_restart(network, wanted)) and running:
        raise PocketError(
            f"bridge, cidr, mode: the change takes a restart of the network {wanted.name!r}, which would cut off "
            f"{_some(running)}; stop them first",
            code="DependencyViolation",
        )
    if wanted.bridge != network.bridge or moved:
        _check_new(current, wanted)


def _check_ranges(wanted: Network) -> None:
    if wanted.interface is None:
        raise _bad(f"cidr: the network {wanted.name!r} has no IPv4 subnet; state one, such as 10.80.0.0/24")
    subnet = wanted.interface.network
    for name, addresses in (("dhcp_range", wanted.dhcp_range), ("address_range", wanted.address_range)):
        if addresses is None:
            continue
        for address in (addresses.start, addresses.end):
            if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
                raise _bad(f"{name}: {address} is no machine's address in {subnet}; give a range within it")
    if wanted.uplink and wanted.dhcp_range:
        raise PocketError(
            f"dhcp_range: {wanted.dhcp_range} cannot be combined with the uplink {wanted.uplink!r}: machines behind it "
            "would be given addresses, too; leave it out, and instances alone are answered",
            code="InvalidParameterCombination",
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
    if interface.master not in (None, wanted.bridge, current.network.live_bridge if current.network else None):
        raise _bad(f"uplink: {wanted.uplink!r} is a port of {interface.master!r} already; name a free interface")


def _check_new(current: Current, wanted: Network) -> None:
    """Refuse a bridge or a subnet that somebody else has."""
    mine = {wanted.name, current.network.name if current.network else wanted.name}
    for other in current.others:
        if other.name not in mine and other.bridge == wanted.bridge:
            raise _bad(f"bridge: {wanted.bridge!r} is the bridge of the network {other.name!r}; choose another")
    live = current.network.live_bridge if current.network else ""
    if wanted.bridge in current.interfaces and wanted.bridge != live:
        raise _bad(f"bridge: there is an interface {wanted.bridge!r} on this host already; choose another name")
    subnet = wanted.interface.network if wanted.interface else _CIDR.network
    for interface in current.interfaces.values():
        for address in interface.addresses:
            if address.version == 4 and address.network.overlaps(subnet) and interface.name not in (live, "lo"):
                raise _bad(f"cidr: {subnet} overlaps with {address} of this host's {interface.name!r}; choose another")


def _some(names: Mapping[str, bool] | list[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")


# Operations


def _needs_restart(network: Network, wanted: Network) -> bool:
    return (network.bridge, network.interface, network.mode) != (wanted.bridge, wanted.interface, wanted.mode)


def _operations(current: Current, wanted: Network) -> Iterator[Operation]:
    network = current.network
    before = _shown(network, current)
    after = {**wanted.printable(), **_uplink_shown(wanted, attached=True)}

    def operation(action: str, payload: Any = wanted) -> Operation:
        return Operation(action, f"network {wanted.name}", before, after, payload)

    if network is None or _defined(network) != _defined(wanted):
        yield operation("define")
    hook = hook_text(wanted.name, wanted.uplink, wanted.bridge) if wanted.uplink else None
    if hook != current.hook:
        yield operation("hook", (wanted.name, hook))
    if wanted.autostart != (network.autostart if network else False):
        yield operation("autostart")
    restarts = False
    if network is not None and network.active:
        restarts = network.outdated or _needs_restart(network, wanted)
        if restarts:
            yield operation("restart")
        elif network.dhcp_range != wanted.dhcp_range:
            yield operation("range", (wanted.name, network.dhcp_range, wanted.dhcp_range))
    else:
        yield operation("start")
    old = network.uplink if network else None
    if old and old != wanted.uplink and _master(current, old) == wanted.bridge:
        yield operation("detach", old)
    if wanted.uplink and (restarts or _master(current, wanted.uplink) != wanted.bridge):
        yield operation("attach")


def _defined(network: Network) -> tuple[Any, ...]:
    """Return what the definition holds. An active network's range is changed by an update instead, which is at once."""
    dhcp_range = None if network.active else network.dhcp_range
    return network.bridge, network.interface, network.mode, network.uplink, network.address_range, dhcp_range


def _master(current: Current, uplink: str) -> str | None:
    interface = current.interfaces.get(uplink)
    return interface.master if interface else None


def _shown(network: Network | None, current: Current) -> dict[str, Any] | None:
    if network is None:
        return None
    attached = network.uplink is not None and _master(current, network.uplink) == network.live_bridge
    return {**network.printable(), **_uplink_shown(network, attached)}


def _uplink_shown(network: Network, attached: bool) -> dict[str, Any]:
    if network.uplink is None:
        return {"uplink": None}
    return {"uplink": network.uplink if attached else f"{network.uplink} (not attached)"}


def _removal(current: Current, request: Request) -> Iterator[Operation]:
    """Stop it, take its hook, and last its definition: a kill in between leaves what tells the next run of it."""
    network = current.network
    if network is not None and current.users:
        raise PocketError(
            f"The network {network.name!r} cannot be removed, for {_some(current.users)} use it; terminate them first",
            code="DependencyViolation",
        )
    subject, before = f"network {request.name}", _shown(network, current)
    if network is not None and network.active:
        yield Operation("stop", subject, before, payload=network)
    if current.hook is not None:
        yield Operation("hook", subject, before or {"hook": "left over"}, payload=(request.name, None))
    if network is not None:
        yield Operation("undefine", subject, before, payload=network)
