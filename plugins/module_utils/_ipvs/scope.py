# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which virtual services a purge may touch. Pure. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from .._errors import PocketError
from .model import ServiceKey

__all__ = ["Scope", "parse_scope"]

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_Range = tuple[int, int]

MAX_PORT = 65535
MAX_FWMARK = 2**32 - 1


@dataclass(frozen=True)
class Scope:
    """The services named by an address in one of `addresses` with a port in one of `ports`, and those in `fwmarks`.

    :param addresses: networks; none at all stands for no service that is named by an address.
    :param ports: ranges of ports, both ends included; None for every port.
    :param fwmarks: ranges of marks, both ends included.
    """

    addresses: tuple[_Network, ...] = ()
    ports: tuple[_Range, ...] | None = None
    fwmarks: tuple[_Range, ...] = ()

    def __contains__(self, key: ServiceKey) -> bool:
        if key.fwmark is not None:
            return _within(key.fwmark, self.fwmarks)
        if self.ports is not None and not _within(key.port or 0, self.ports):
            return False
        address = ipaddress.ip_address(key.address or "")
        return any(address in network for network in self.addresses)


def _within(number: int, ranges: Iterable[_Range]) -> bool:
    return any(low <= number <= high for low, high in ranges)


def parse_scope(params: Mapping[str, Any]) -> Scope:
    """A scope out of its options; PocketError for one that holds nothing, and for a value that is none."""
    addresses = tuple(_network(value) for value in params.get("addresses") or [])
    ports = None if params.get("ports") is None else _ranges("ports", params["ports"], 0, MAX_PORT)
    fwmarks = _ranges("fwmarks", params.get("fwmarks") or [], 1, MAX_FWMARK)
    if not addresses and not fwmarks:
        raise PocketError(
            "scope holds neither addresses nor fwmarks, so nothing is in it; give the addresses and networks "
            "(0.0.0.0/0 and ::/0 for all), or the fwmarks, whose services are yours to purge"
        )
    return Scope(addresses, ports, fwmarks)


def _network(value: Any) -> _Network:
    try:
        return ipaddress.ip_network(str(value).strip())
    except ValueError as error:
        raise PocketError(
            f"scope: addresses holds {value!r} ({error}); give an address such as 192.0.2.10, or a network without "
            "host bits such as 192.0.2.0/24"
        ) from None


def _ranges(name: str, values: Sequence[Any], low: int, high: int) -> tuple[_Range, ...]:
    found = []
    for value in values:
        match = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", str(value))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (high, low)
        if not low <= first <= last <= high:
            raise PocketError(
                f"scope: {name} holds {value!r}; give numbers from {low} to {high}, or ranges of them such as "
                f"{low + 8000}-{low + 8999}"
            )
        found.append((first, last))
    return tuple(found)
