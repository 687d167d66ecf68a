# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's list of connections (/proc/net/ip_vs_conn) as values, and filters on them. Pure. PRIVATE."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .._errors import PocketError

__all__ = ["parse_connection_filters", "parse_connections"]

_COLUMNS = 8  # without the two of a persistence engine


def parse_connections(text: str) -> Iterator[dict[str, Any]]:
    """Each connection; persistence templates, by which a client is given its dest again, have client port 0."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < _COLUMNS or words[0] == "Pro":
            continue
        yield {
            "protocol": words[0].lower(),
            "client_address": _address(words[1]),
            "client_port": int(words[2], 16),
            "address": _address(words[3]),
            "port": int(words[4], 16),
            "dest_address": _address(words[5]),
            "dest_port": int(words[6], 16),
            "state": words[7].lower(),
            "expires": int(words[8]),
            "template": int(words[2], 16) == 0,
        }


def _address(word: str) -> str:
    """IPv4 is printed as one hexadecimal number, IPv6 as addresses are."""
    if ":" in word:
        return str(ipaddress.IPv6Address(word.strip("[]")))
    return socket.inet_ntoa(int(word, 16).to_bytes(4, "big"))


_ADDRESSES = ("client_address", "address", "dest_address")
_NUMBERS = ("client_port", "port", "dest_port")
_NAMES = (*_ADDRESSES, *_NUMBERS, "protocol", "state", "template")


def parse_connection_filters(params: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a connection passes all filters, each with any of its values; PocketError for one that is none."""
    tests: list[Callable[[Mapping[str, Any]], bool]] = []
    for name, value in params.items():
        if name not in _NAMES:
            raise PocketError(f"connection_filters holds {name!r}; give names out of {', '.join(_NAMES)}")
        wanted = [_value(name, one) for one in (value if isinstance(value, (list, tuple)) else [value])]
        tests.append(_test(name, wanted))
    return lambda connection: all(test(connection) for test in tests)


def _test(name: str, wanted: list[Any]) -> Callable[[Mapping[str, Any]], bool]:
    if name in _ADDRESSES:
        return lambda connection: any(ipaddress.ip_address(connection[name]) in network for network in wanted)
    return lambda connection: connection[name] in wanted


def _value(name: str, value: Any) -> Any:
    text = str(value).strip().lower()
    try:
        if name in _ADDRESSES:
            return ipaddress.ip_network(text, strict=False)
        if name in _NUMBERS:
            return int(text)
    except ValueError:
        right = "an address or a network such as 192.0.2.0/24" if name in _ADDRESSES else "a whole number"
        raise PocketError(f"connection_filters: {name} is {value!r}; give {right}") from None
    if name == "template":
        if text not in ("true", "false"):
            raise PocketError(f"connection_filters: template is {value!r}; give true or false")
        return text == "true"
    return text
