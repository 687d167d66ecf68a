# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel's load balancer holds, with counters, filtered as EC2 filters. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import InfoTask
from . import netlink
from .backend import Connect
from .connections import parse_connection_filters, parse_connections
from .model import VirtualService
from .namespaces import parse_namespace

__all__ = ["FILTERS", "TableInfoTask", "matches", "parse_filters"]

Filters = Mapping[str, tuple[str, ...]]


def _in_network(address: str | None, wanted: str) -> bool:
    return address is not None and ipaddress.ip_address(address) in ipaddress.ip_network(wanted, strict=False)


def _same(value: Any, wanted: str) -> bool:
    return value is not None and str(value) == wanted


FILTERS: dict[str, Callable[[VirtualService, str], bool]] = {
    "protocol": lambda one, wanted: _same(one.service.key.protocol, wanted),
    "address": lambda one, wanted: _in_network(one.service.key.address, wanted),
    "port": lambda one, wanted: _same(one.service.key.port, wanted),
    "fwmark": lambda one, wanted: _same(one.service.key.fwmark, wanted),
    "family": lambda one, wanted: _same(one.service.key.family, wanted),
    "scheduler": lambda one, wanted: _same(one.service.scheduler, wanted),
    "dest_address": lambda one, wanted: any(_in_network(dest.address, wanted) for dest in one.dests),
    "dest_port": lambda one, wanted: any(_same(dest.port, wanted) for dest in one.dests),
}
"""Filter -> whether a service has the wanted value."""


def parse_filters(params: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Filters with their values as texts; PocketError for an unknown filter or a value that could never match."""
    parsed = {}
    for name, value in params.items():
        if name not in FILTERS:
            raise PocketError(f"filters holds {name!r}; give names out of {', '.join(FILTERS)}")
        values = value if isinstance(value, (list, tuple)) else [value]
        parsed[name] = tuple(_filter_value(name, one) for one in values)
    return parsed


def _filter_value(name: str, value: Any) -> str:
    text = str(value).strip()
    try:
        if name in ("address", "dest_address"):
            return str(ipaddress.ip_network(text, strict=False))
        if name in ("port", "dest_port", "fwmark"):
            return str(int(text))
    except ValueError:
        right = "an address or a network such as 192.0.2.0/24" if "address" in name else "a whole number"
        raise PocketError(f"filters: {name} is {value!r}; give {right}") from None
    return text.lower()


def matches(one: VirtualService, filters: Filters) -> bool:
    """Whether a service passes all filters, each with any of its values."""
    return all(any(FILTERS[name](one, wanted) for wanted in values) for name, values in filters.items())


class TableInfoTask(InfoTask[dict[str, Any]]):
    """All of it: module ipvs_info."""

    def __init__(self, params: Mapping[str, Any], connect: Connect = netlink.connect) -> None:
        self._filters = parse_filters(params.get("filters") or {})
        self._connections = bool(params.get("connections"))
        self._connection_filters = parse_connection_filters(params.get("connection_filters") or {})
        self._namespace = parse_namespace(params.get("namespace"))
        self._connect = connect

    def read(self) -> dict[str, Any]:
        kernel = self._connect(self._namespace)
        table = kernel.read(stats=True)
        found = [one for one in table.values() if matches(one, self._filters)]
        settings = kernel.settings()
        connections = parse_connections(kernel.connections()) if self._connections else ()
        listed = {"connections": list(filter(self._connection_filters, connections))} if self._connections else {}
        return {
            **listed,
            **kernel.info(),
            "timeouts": dict(settings.timeouts),
            "sysctls": dict(settings.sysctls),
            "daemons": [daemon.content() for daemon in kernel.daemons()],
            "services": [one.declaration(stats=True) for one in sorted(found, key=lambda one: one.service.key.order())],
        }

    def result(self, plan: Plan, state: dict[str, Any], applied: bool) -> dict[str, Any]:
        return state
