# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the network there is and the one asked for to the operations between. Pure. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .network_checks import Current, check_network, some
from .networks import BRIDGE, Address, AddressRange, Network
from .uplinks import hook_text, hooked

__all__ = ["Current", "Request", "plan_network"]

_CIDR = ipaddress.IPv4Interface("10.80.0.0/24")
_BRIDGE_LENGTH = 15
_NONE = ""


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    What is none was not stated; C(dhcp_range), C(address_range), C(gateway), C(ipv6_cidr) and C(uplink) are off when
    they are empty.
    """

    name: str
    present: bool = True
    bridge: str | None = None
    cidr: ipaddress.IPv4Interface | None = None
    mode: str | None = None
    dhcp: bool | None = None
    dhcp_range: AddressRange | str | None = None
    address_range: AddressRange | str | None = None
    gateway: ipaddress.IPv4Address | str | None = None
    dns: tuple[Address, ...] | None = None
    ipv6_cidr: ipaddress.IPv6Interface | str | None = None
    uplink: str | None = None
    autostart: bool | None = None
    adopt: bool = False


def plan_network(current: Current, request: Request) -> Plan:
    """Return what is to be done; raises PocketError where the request cannot be met."""
    network = current.network
    foreign = network is not None and not network.ours and not request.adopt
    if not request.present:
        if foreign:
            raise _not_ours(request.name)
        return Plan(tuple(_removal(current, request)))
    wanted = replace(_after(network, request) if network else _new(request), active=True)
    plan = Plan(tuple(_operations(current, wanted)))
    if foreign and plan.changed:
        raise _not_ours(request.name)
    check_network(current, wanted)
    return plan


def _not_ours(name: str) -> PocketError:
    return PocketError(
        f"name: the network {name!r} was not made by this collection, so it is left alone; choose another name, or "
        "state adopt: true to have it changed",
        code="OperationNotPermitted",
    )


# What is wanted


def _new(request: Request) -> Network:
    if request.mode == BRIDGE:
        blank = Network(request.name, request.bridge or "", None, mode=BRIDGE, dhcp=False, autostart=True)
        return _after(blank, request)
    bridge = request.bridge or f"{request.name}0"
    if len(bridge) > _BRIDGE_LENGTH:
        raise _bad(f"bridge: {bridge!r} has {len(bridge)} characters; state a name of up to {_BRIDGE_LENGTH}")
    blank = Network(request.name, bridge, _with_gateway(request.cidr or _CIDR), autostart=True)
    return _after(blank, request)


def _after(network: Network, request: Request) -> Network:
    """Return `network` with what the request states; the rest stays."""
    stated: dict[str, Any] = {}
    for name in ("bridge", "mode", "autostart", "dhcp", "dns"):
        if getattr(request, name) is not None:
            stated[name] = getattr(request, name)
    for name in ("dhcp_range", "address_range", "gateway", "uplink"):
        value = getattr(request, name)
        if value is not None:
            stated[name] = None if value == _NONE else value
    bare = stated.get("mode", network.mode) == BRIDGE
    if bare != network.bare:
        stated.setdefault("dhcp", not bare)
    return replace(network, **stated, **_subnets(network, request, bare))


def _subnets(network: Network, request: Request, bare: bool) -> dict[str, Any]:
    """Return the subnets stated, with the bridge's own address in each, which is not ours to give to a bare one."""
    found: dict[str, Any] = {}
    subnets = (("interface", request.cidr, network.interface), ("ipv6", request.ipv6_cidr, network.ipv6))
    for name, cidr, present in subnets:
        if isinstance(cidr, str):
            found[name] = None
        elif cidr is None or (not bare and not network.bare and _is_met(cidr, present)):
            # An address that the bridge has from another mode is not its own in this one.
            subnet = (
                present if present is None or bare == network.bare else ipaddress.ip_interface(str(present.network))
            )
            found[name] = subnet if subnet is None or bare else _with_gateway(subnet)
        else:
            found[name] = ipaddress.ip_interface(str(cidr.network)) if bare else _with_gateway(cidr)
    return found


def _is_met(cidr: Any, present: Any) -> bool:
    """A subnet is met by a bridge with any address in it, an address with a prefix only by that very one."""
    if present is None or cidr.network != present.network:
        return False
    return cidr.ip in (cidr.network.network_address, present.ip)


def _with_gateway(cidr: Any) -> Any:
    """Return the bridge's own address: the one given, or the subnet's first."""
    if cidr.ip != cidr.network.network_address:
        return cidr
    return ipaddress.ip_interface(f"{cidr.network.network_address + 1}/{cidr.network.prefixlen}")


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")


# Operations


def _operations(current: Current, wanted: Network) -> Iterator[Operation]:
    network = current.network
    before = _shown(network, current)
    after = {**wanted.printable(), **_uplink_shown(wanted, attached=True)}

    def operation(action: str, payload: Any = wanted) -> Operation:
        return Operation(action, f"network {wanted.name}", before, after, payload)

    restarts = network is not None and network.restarts_for(wanted)
    # A running DHCP server is given another range at once, by an update, which the definition takes, too.
    updates = network is not None and network.active and not restarts
    if network is None:
        yield operation("define")
    hook = hook_text(wanted.name, wanted.uplink, wanted.bridge) if wanted.uplink else None
    if hook != current.hook:
        yield operation("hook", (wanted.name, hook))
    # The definition tells of the old uplink until no start of the network brings it back and it is free.
    for uplink in _left_behind(current, wanted):
        yield operation("detach", uplink)
    if network is not None and _defined(network, updates) != _defined(wanted, updates):
        yield operation("define")
    if wanted.autostart != (network.autostart if network else False):
        yield operation("autostart")
    if network is None or not network.active:
        yield operation("start")
    elif restarts:
        yield operation("restart")
    elif {network.dhcp_range, network.live_range} != {wanted.dhcp_range}:
        yield operation("range", (wanted.name, wanted.dhcp_range))
    if wanted.uplink and (restarts or _master(current, wanted.uplink) != wanted.bridge):
        yield operation("attach")


def _left_behind(current: Current, wanted: Network) -> list[str]:
    """Return the ports of the network's bridge that its definition or its hook made uplinks and that are none now."""
    network = current.network
    if network is None or network.bare or not network.live_bridge:
        return []
    known = {network.uplink, hooked(current.hook)} - {None, wanted.uplink}
    return sorted(uplink for uplink in known if uplink and _master(current, uplink) == network.live_bridge)


def _defined(network: Network, updates: bool) -> tuple[Any, ...]:
    """Return what a definition is written for, which is not the range where that `updates`."""
    dhcp_range = None if updates else network.dhcp_range
    kept = (network.mode, network.bridge, network.interface, network.ipv6, network.gateway, network.dns, network.dhcp)
    return (*kept, network.uplink, network.address_range, dhcp_range)


def _master(current: Current, uplink: str) -> str | None:
    interface = current.interfaces.get(uplink)
    return interface.master if interface else None


def _shown(network: Network | None, current: Current) -> dict[str, Any] | None:
    if network is None:
        return None
    attached = network.uplink is not None and _master(current, network.uplink) == network.live_bridge
    return {**network.printable(), **_range_shown(network), **_uplink_shown(network, attached)}


def _range_shown(network: Network) -> dict[str, Any]:
    if not network.active or network.live_range == network.dhcp_range:
        return {}
    return {"dhcp_range": f"{network.live_range or 'none'} (defined is {network.dhcp_range or 'none'})"}


def _uplink_shown(network: Network, attached: bool) -> dict[str, Any]:
    if network.uplink is None:
        return {"uplink": None}
    return {"uplink": network.uplink if attached else f"{network.uplink} (not attached)"}


def _removal(current: Current, request: Request) -> Iterator[Operation]:
    """Stop it, take its hook, and last its definition: a kill in between leaves what tells the next run of it."""
    network = current.network
    if network is not None and current.users:
        raise PocketError(
            f"The network {network.name!r} cannot be removed, for {some(current.users)} use it; terminate them first",
            code="DependencyViolation",
        )
    subject, before = f"network {request.name}", _shown(network, current)
    if network is not None and network.active:
        yield Operation("stop", subject, before, payload=network)
    if current.hook is not None:
        yield Operation("hook", subject, before or {"hook": "left over"}, payload=(request.name, None))
    if network is not None:
        yield Operation("undefine", subject, before, payload=network)
