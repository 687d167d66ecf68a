# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_network does. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .._runner import Task
from .hypervisor import Hypervisor
from .network_checks import Current
from .network_plan import Request, plan_network
from .networks import MODES, Address, AddressRange, Network
from .store import Store
from .uplinks import Uplinks

__all__ = ["NetworkTask", "described"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_LARGEST, _SMALLEST = 8, 29
_LARGEST_IPV6, _SMALLEST_IPV6 = 64, 120
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")


class NetworkTask(Task[Current]):
    """One call of ec2like_network."""

    def __init__(
        self,
        params: Mapping[str, Any],
        hypervisor: Hypervisor | None = None,
        store: Store | None = None,
        uplinks: Uplinks | None = None,
    ) -> None:
        self._request = _request_of(params)
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])
        self._uplinks = uplinks or Uplinks()

    def exclusive(self) -> AbstractContextManager[Any]:
        return self._store.lock()

    def undisturbed(self) -> AbstractContextManager[Any]:
        return self._store.undisturbed()

    def read(self) -> Current:
        name = self._request.name
        networks = self._hypervisor.networks()
        network = next((one for one in networks if one.name == name), None)
        return Current(
            network=network,
            others=tuple(one for one in networks if one.name != name),
            users=self._hypervisor.attached(name) if network else {},
            interfaces=self._uplinks.interfaces(),
            hook=self._uplinks.hook(name),
            hooks=self._uplinks.any_hook(),
            routes=self._uplinks.routes(),
        )

    def plan(self, current: Current) -> Plan:
        return plan_network(current, self._request)

    def warnings(self, plan: Plan, current: Current) -> list[str]:
        written = [operation for operation in plan if operation.action == "hook" and operation.payload[1] is not None]
        if not written or current.hooks:
            return []
        warning = (
            "uplink: the hook is the first of networks on this host, and libvirtd looks for hooks only when it starts; "
            f"until then, a start of the network {self._request.name!r} by others leaves the uplink unattached, so "
            "restart it once, with: systemctl restart libvirtd"
        )
        return [warning]

    def apply(self, plan: Plan) -> None:
        done = False
        for operation in plan:
            try:
                self._carry_out(operation)
            except PocketError as error:
                error.changed = done
                raise
            done = True

    def _carry_out(self, operation: Operation) -> None:
        payload, action = operation.payload, operation.action
        if action == "hook":
            self._uplinks.write_hook(*payload)
        elif action == "range":
            self._hypervisor.set_dhcp_range(*payload)
        elif action == "define":
            self._hypervisor.define_network(payload)
        elif action == "autostart":
            self._hypervisor.set_autostart(payload.name, payload.autostart)
        elif action == "detach":
            self._uplinks.detach(payload)
        elif action == "attach":
            self._uplinks.attach(payload.uplink, payload.bridge)
        elif action == "undefine":
            self._hypervisor.undefine_network(payload.name)
        else:
            if action in ("stop", "restart"):
                self._hypervisor.stop_network(payload.name)
            if action in ("start", "restart"):
                self._hypervisor.start_network(payload.name)

    def verify(self, plan: Plan, after: Current) -> None:
        left = self.plan(after)
        if left.changed:
            done = ", ".join(operation.action for operation in left)
            raise PocketError(
                f"libvirt did not keep all of the network {self._request.name!r}; still to do is: {done}", changed=True
            )

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        return {"network": described(state.network) if state.network else None}


def described(network: Network) -> dict[str, Any]:
    """Return what the modules tell of a network."""
    hosts = [
        {
            "instance_id": host.instance_id,
            "mac_address": host.mac_address,
            "private_ip_address" if host.address.version == 4 else "ipv6_address": str(host.address),
        }
        for host in sorted(network.hosts, key=lambda host: (host.address.version, int(host.address)))
    ]
    return {"name": network.name, **network.printable(), "reservations": hosts}


def _request_of(params: Mapping[str, Any]) -> Request:
    name = params["name"]
    if not _NAME.fullmatch(name):
        raise _bad(f"name: {name!r} is no network's name; that has 1 to 50 letters, digits, '_', '-', '.'")
    for parameter in ("bridge", "uplink"):
        value = params[parameter]
        if value is not None and not _INTERFACE.fullmatch(value) and not (parameter == "uplink" and value == ""):
            raise _bad(f"{parameter}: {value!r} is no interface's name; use 1 to 15 letters, digits, '_', '-', '.'")
    if params["mode"] is not None and params["mode"] not in MODES:
        raise _bad(f"mode: {params['mode']!r} is unknown; known are {', '.join(MODES)}")
    return Request(
        name=name,
        present=params["state"] == "present",
        bridge=params["bridge"],
        cidr=None if params["cidr"] is None else _cidr(params["cidr"]),
        mode=params["mode"],
        dhcp=params["dhcp"],
        gateway=_gateway(params["gateway"]),
        dns=None if params["dns"] is None else tuple(_server(text) for text in params["dns"]),
        ipv6_cidr=_ipv6_cidr(params["ipv6_cidr"]),
        dhcp_range=_range(params, "dhcp_range"),
        address_range=_range(params, "address_range"),
        uplink=params["uplink"],
        autostart=params["autostart"],
        adopt=params["adopt"],
    )


def _cidr(text: str) -> ipaddress.IPv4Interface:
    try:
        if "/" not in text:
            raise ValueError(text)
        cidr = ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise _bad(f"cidr: {text!r} is no IPv4 subnet; one is written as 10.80.0.0/24") from error
    if not _LARGEST <= cidr.network.prefixlen <= _SMALLEST:
        raise _bad(f"cidr: {text!r} has a prefix length out of range; it is {_LARGEST} to {_SMALLEST}")
    network = cidr.network
    unusable = (network.is_multicast, network.is_loopback, network.is_link_local, network.is_reserved)
    if any(unusable) or network.overlaps(_THIS_NETWORK):
        raise _bad(f"cidr: {text!r} is no subnet of machines' addresses; take one such as 10.80.0.0/24")
    if cidr.ip == cidr.network.broadcast_address:
        raise _bad(f"cidr: {text!r} gives the bridge the broadcast address; give another, or the subnet's own")
    return cidr


def _ipv6_cidr(text: str | None) -> ipaddress.IPv6Interface | str | None:
    if not text:
        return text
    try:
        if "/" not in text or "%" in text:
            raise ValueError(text)
        cidr = ipaddress.IPv6Interface(text)
    except ValueError as error:
        raise _bad(f"ipv6_cidr: {text!r} is no IPv6 subnet; one is written as fd00:80::/64") from error
    if not _LARGEST_IPV6 <= cidr.network.prefixlen <= _SMALLEST_IPV6:
        raise _bad(
            f"ipv6_cidr: {text!r} has a prefix length out of range; it is {_LARGEST_IPV6} to {_SMALLEST_IPV6}, and 64 "
            "is what guests expect"
        )
    if cidr.network.is_multicast or cidr.network.is_link_local or cidr.network.is_reserved:
        raise _bad(f"ipv6_cidr: {text!r} is no subnet of machines' addresses; take one such as fd00:80::/64")
    return cidr


def _gateway(text: str | None) -> ipaddress.IPv4Address | str | None:
    if not text:
        return text
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise _bad(f"gateway: {text!r} is no IPv4 address; give that of the instances' router") from error


def _server(text: str) -> Address:
    try:
        if "%" in text:
            raise ValueError(text)
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise _bad(f"dns: {text!r} is no IP address; give those of the instances' name servers") from error
    if address.is_unspecified or address.is_multicast:
        raise _bad(f"dns: {text!r} is nobody's address; leave dns out where the bridge is to be the name server")
    return address


def _range(params: Mapping[str, Any], name: str) -> AddressRange | str | None:
    text = params[name]
    return text if text is None or text == "" else AddressRange.of(text, name)


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
