# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reading and writing of other programs' texts have in common. Pure. PRIVATE to the collection.

The other side of every text is the list of virtual services that ipvs_info returns and ipvs_table takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .._errors import PocketError
from .checks import check_dest, check_service
from .declaration import parse_dest, parse_service, parse_wanted_list
from .model import Dest, DestKey, Service, ServiceKey, VirtualService

__all__ = [
    "LONGEST_PERSISTENCE",
    "MAX_ITEMS",
    "Collected",
    "at",
    "checked_text",
    "endpoint",
    "given_services",
    "number",
]

LONGEST_PERSISTENCE = 31 * 86400
"""Seconds. ipvsadm and keepalived take no more, though the kernel does."""

MAX_ITEMS = 100_000
"""Virtual services and dests; a short text with ranges of addresses could stand for billions."""


@contextmanager
def at(line: int) -> Iterator[None]:
    """Errors of the block say that they are about this line, unless they already name one within."""
    try:
        yield
    except PocketError as error:
        if error.message.startswith("line "):
            raise
        raise PocketError(f"line {line}: {_shortened(error.message)}") from None


def _shortened(message: str) -> str:
    """A sentence that stays one where a word of the text is a page long."""
    return message if len(message) <= 600 else f"{message[:200]} [...] {message[-200:]}"


def checked_text(value: Any, what: str) -> str:
    """`value` where it is text; `what` says which text is right."""
    if not isinstance(value, str):
        raise PocketError(f"The input is of type {type(value).__name__}; give {what} as text")
    position = value.find("\0")
    if position >= 0:
        line = value.count("\n", 0, position) + 1
        raise PocketError(f"line {line} holds a NUL character, so the input is no text; give {what}")
    return value


def number(word: str) -> Any:
    """A word of digits as an integer; any other as it is, to be refused by name where a number is needed."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 20 else word


def endpoint(word: str) -> tuple[str, str | None]:
    """Address and port, which may be missing, of 192.0.2.10:80 or [2001:db8::10]:80."""
    if word.startswith("["):
        address, _bracket, rest = word[1:].partition("]")
        return address, rest[1:] if rest.startswith(":") else (rest or None)
    if word.count(":") > 1:
        return word, None
    address, _colon, port = word.partition(":")
    return address, port or None


class Collected:
    """The virtual services that a text holds, checked as they come."""

    def __init__(self) -> None:
        self._services: dict[ServiceKey, Service] = {}
        self._dests: dict[ServiceKey, dict[DestKey, Dest]] = {}
        self._lines: dict[ServiceKey, int] = {}
        self._size = 0

    def service(self, params: Mapping[str, Any], line: int, edits: bool = False) -> ServiceKey:
        """Take a virtual service; with `edits`, one that is there already."""
        service = parse_service(params).over(None)
        key = service.key
        check_service(service)
        if edits:
            self.require(key)
        elif key in self._services:
            raise PocketError(f"the virtual service {key} is already on line {self._lines[key]}; keep one of them")
        self._grow()
        self._services[key] = service
        self._dests.setdefault(key, {})
        self._lines.setdefault(key, line)
        return key

    def dest(self, key: ServiceKey, params: Mapping[str, Any], edits: bool = False) -> None:
        """Take a dest of a virtual service; with `edits`, one that is there already."""
        dest = _complete(key, parse_dest(params, key))
        dests = self._dests[key]
        if edits and dest.key not in dests:
            raise PocketError(f"the virtual service {key} has no dest {dest.key} to be edited; add it first")
        if not edits and dest.key in dests:
            raise PocketError(f"the virtual service {key} already has a dest {dest.key}; keep one of them")
        self._grow()
        dests[dest.key] = dest

    def require(self, key: ServiceKey) -> None:
        """Refuse a virtual service that has not come yet."""
        if key not in self._services:
            raise PocketError(f"the virtual service {key} is not on a line before; add it first")

    def declaration(self) -> list[dict[str, Any]]:
        """All of them as ipvs_info returns them."""
        keys = sorted(self._services, key=lambda key: key.order())
        return [VirtualService(self._services[key], self._dests[key]).declaration() for key in keys]

    def _grow(self) -> None:
        self._size += 1
        if self._size > MAX_ITEMS:
            raise PocketError(f"this makes more than {MAX_ITEMS} virtual services and dests; give the text in parts")


def _complete(key: ServiceKey, dest: Dest) -> Dest:
    """The dest as it is created, checked; thresholds that the text does not state stay unstated.

    ipvsadm -S leaves them out, and what it prints must not take them from a table that has them.
    """
    complete = dest.over(None)
    check_dest(key, complete)
    return replace(complete, upper_threshold=dest.upper_threshold, lower_threshold=dest.lower_threshold)


_TEXTS = (
    "protocol",
    "address",
    "family",
    "scheduler",
    "persistence_engine",
    "forwarding",
    "tunnel_type",
    "tunnel_checksum",
)
_NUMBERS = ("port", "fwmark", "persistence_timeout", "weight", "upper_threshold", "lower_threshold", "tunnel_port")
_DEST_OPTIONS = {
    *("address", "port", "weight", "forwarding", "upper_threshold", "lower_threshold"),
    *("tunnel_type", "tunnel_port", "tunnel_checksum", "stats"),
}
_SERVICE_OPTIONS = {
    *("protocol", "address", "port", "fwmark", "family", "scheduler", "scheduler_flags", "one_packet"),
    *("persistence_timeout", "persistence_netmask", "persistence_engine", "dests", "stats"),
}


def given_services(value: Any) -> list[VirtualService]:
    """The virtual services of a list in the options' words, checked and complete but for unstated thresholds."""
    plain = [_service_options(one, f"services[{index}]") for index, one in enumerate(_list(value, "The input"))]
    services = []
    for index, wanted in enumerate(parse_wanted_list(plain)):
        service = wanted.service.over(None)
        try:
            check_service(service)
            dests = {dest.key: _complete(service.key, dest) for dest in wanted.dests}
        except PocketError as error:
            raise PocketError(f"services[{index}]: {error.message}") from None
        services.append(VirtualService(service, dests))
    return services


def _list(value: Any, name: str) -> Sequence[Any]:
    if isinstance(value, (Mapping, str)) or not isinstance(value, Sequence):
        raise PocketError(
            f"{name} is of type {type(value).__name__}; give a list, such as what pocket.cloud.ipvs_info returns as "
            "services"
        )
    return value


def _service_options(value: Any, name: str) -> dict[str, Any]:
    plain = _options(value, name, _SERVICE_OPTIONS)
    if plain.get("dests") is not None:
        dests = enumerate(_list(plain["dests"], f"{name}: dests"))
        plain["dests"] = [_options(one, f"{name}: dests[{index}]", _DEST_OPTIONS) for index, one in dests]
    return plain


def _options(value: Any, name: str, known: set[str]) -> dict[str, Any]:
    """A dictionary of options, each of which has the right type."""
    if not isinstance(value, Mapping):
        raise PocketError(f"{name} is of type {type(value).__name__}; give a dictionary of options")
    unknown = [str(key) for key in value if key not in known]
    if unknown:
        raise PocketError(
            f"{name} holds {unknown[0]!r}, which is no option; give names out of {', '.join(sorted(known))}"
        )
    plain = dict(value)
    for key, one in plain.items():
        if key in _NUMBERS and isinstance(one, str):
            plain[key] = number(one)
        wrong = _wrong_type(key, one)
        if wrong:
            raise PocketError(f"{name}: {key} is {one!r}; give {wrong}")
    return plain


def _wrong_type(key: str, value: Any) -> str:
    """What would be right, where the value is of a type that the option cannot have."""
    if value is None:
        return ""
    if key in _TEXTS and not isinstance(value, str):
        return "text"
    if key == "one_packet" and not isinstance(value, bool):
        return "true or false"
    if key == "scheduler_flags" and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        return "a list of names"
    return ""
