# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options, or a declaration read from a file, to what is wanted. Pure. PRIVATE to the collection.

Each value is checked here; what depends on several of them, and on what the kernel has, make_plan checks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .._errors import PocketError
from .checks import MAX_INTEGER, MAX_PERSISTENCE, SCHEDULERS, check_dest_key, check_key
from .model import (
    FORWARDING,
    SCHEDULER_FLAGS,
    TUNNEL_CHECKSUMS,
    TUNNEL_TYPES,
    Dest,
    DestKey,
    Service,
    ServiceKey,
    address_family,
)
from .plan import Wanted

__all__ = [
    "FLAG_NAMES",
    "parse_dest",
    "parse_dest_key",
    "parse_key",
    "parse_service",
    "parse_wanted",
    "parse_wanted_list",
]

Params = Mapping[str, Any]
Parsed = TypeVar("Parsed")

FLAG_NAMES = ("sh-fallback", "sh-port", "mh-fallback", "mh-port", *SCHEDULER_FLAGS)


def parse_key(params: Params) -> ServiceKey:
    """The identity of a virtual service: protocol, address and port, or fwmark and family."""
    fwmark, address, family = params.get("fwmark"), params.get("address"), params.get("family")
    if (fwmark is None) == (address is None):
        found = "neither is given" if address is None else f"both address {address!r} and fwmark {fwmark} are given"
        raise PocketError(
            "A virtual service is named either by address (with protocol and port) or by fwmark (with family), "
            f"but {found}; give one of them"
        )
    if fwmark is not None:
        _refuse_given(params, ("protocol", "port"), "belongs to a service named by address, but fwmark is given")
        key = ServiceKey(fwmark=_integer(params, "fwmark", 1, 2**32 - 1), family=_choice(params, "family", _FAMILIES))
    else:
        if params.get("port") is None:
            raise PocketError(
                f"port is missing for the virtual service at address {address}; give it, such as port: 80"
            )
        port = _integer(params, "port", 0, 65535)
        key = ServiceKey(protocol=params.get("protocol"), address=address, port=port)
        if family not in (None, key.family):
            raise PocketError(f"family is {family}, but address {address} is {key.family}; leave family out")
    check_key(key)
    return key


def parse_service(params: Params) -> Service:
    """A virtual service with the settings that are stated."""
    key = parse_key(params)
    scheduler = params.get("scheduler")
    return Service(
        key=key,
        scheduler=None if scheduler is None else _scheduler(scheduler),
        scheduler_flags=_flags(params.get("scheduler_flags")),
        persistence_timeout=_integer(params, "persistence_timeout", 0, MAX_PERSISTENCE),
        persistence_netmask=_netmask(params.get("persistence_netmask"), key.family),
        persistence_engine=_choice(params, "persistence_engine", ("none", "sip")),
        one_packet=_boolean(params, "one_packet"),
    )


def parse_dest_key(params: Params, service: ServiceKey) -> DestKey:
    """The identity of a dest; its port is the service's where it is not given."""
    if params.get("address") is None:
        raise PocketError("address is missing for a dest; give the real server's address")
    port = _integer(params, "port", 0, 65535)
    key = DestKey(params["address"], (service.port or 0) if port is None else port)
    check_dest_key(key)
    return key


def parse_dest(params: Params, service: ServiceKey) -> Dest:
    """A dest with the settings that are stated."""
    return Dest(
        key=parse_dest_key(params, service),
        forwarding=_choice(params, "forwarding", _FORWARDING),
        weight=_integer(params, "weight", 0, MAX_INTEGER),
        upper_threshold=_integer(params, "upper_threshold", 0, MAX_INTEGER),
        lower_threshold=_integer(params, "lower_threshold", 0, MAX_INTEGER),
        tunnel_type=_choice(params, "tunnel_type", tuple(TUNNEL_TYPES)),
        tunnel_port=_integer(params, "tunnel_port", 0, 65535),
        tunnel_checksum=_choice(params, "tunnel_checksum", tuple(TUNNEL_CHECKSUMS)),
    )


def parse_wanted(params: Params) -> Wanted:
    """A virtual service with its dests."""
    service = parse_service(params)
    listed = params.get("dests") or []
    dests = _parse_each("dests", listed, lambda one: parse_dest(one, service.key))
    _refuse_twice("dests", [dest.key for dest in dests])
    return Wanted(service, tuple(dests), purge_dests=bool(params.get("purge_dests")))


def parse_wanted_list(params: Sequence[Params]) -> list[Wanted]:
    """Virtual services with their dests; messages name the place in the list."""
    wanted = _parse_each("services", params, parse_wanted)
    _refuse_twice("services", [one.service.key for one in wanted])
    return wanted


def _parse_each(name: str, items: Iterable[Params], parse: Callable[[Params], Parsed]) -> list[Parsed]:
    parsed = []
    for index, item in enumerate(items):
        try:
            parsed.append(parse(item))
        except PocketError as error:
            raise PocketError(f"{name}[{index}]: {error.message}", code=error.code) from None
    return parsed


def _refuse_twice(name: str, keys: Sequence[Any]) -> None:
    seen: dict[Any, int] = {}
    for index, key in enumerate(keys):
        first = seen.setdefault(key, index)
        if first != index:
            raise PocketError(f"{name}[{first}] and {name}[{index}] are both {key}; list each one once")


_FAMILIES = ("ipv4", "ipv6")
_FORWARDING = tuple(name for name in FORWARDING if name not in ("local", "bypass"))


def _refuse_given(params: Params, names: Iterable[str], why: str) -> None:
    for name in names:
        if params.get(name) is not None:
            raise PocketError(f"{name} is {params[name]!r} and {why}; leave {name} out")


def _integer(params: Params, name: str, low: int, high: int) -> Any:
    """The option as an integer in the range; None where it is not stated."""
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PocketError(f"{name} is {value!r}; give a whole number from {low} to {high}")
    return value


def _boolean(params: Params, name: str) -> Any:
    value = params.get(name)
    if value is not None and not isinstance(value, bool):
        raise PocketError(f"{name} is {value!r}; give true or false")
    return value


def _choice(params: Params, name: str, choices: Sequence[str]) -> Any:
    value = params.get(name)
    if value is not None and value not in choices:
        raise PocketError(f"{name} is {value!r}; give one of {', '.join(choices)}")
    return value


def _scheduler(name: str) -> str:
    if name not in SCHEDULERS:
        raise PocketError(f"scheduler is {name!r}, which Linux does not have; give one of {', '.join(SCHEDULERS)}")
    return name


def _flags(names: Sequence[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    for name in names:
        if name not in FLAG_NAMES:
            raise PocketError(f"scheduler_flags holds {name!r}; give names out of {', '.join(FLAG_NAMES)}")
    return tuple(names)


def _netmask(value: Any, family: str) -> str | None:
    """A dotted mask or a prefix length in the family's canonical form."""
    if value is None:
        return None
    text = str(value).strip().lstrip("/")
    right = "a prefix length from 1 to 128"
    if family == "ipv4":
        right = "a dotted mask without holes such as 255.255.255.0, or a prefix length from 0 to 32"
    try:
        if family == "ipv6" and 1 <= _digits(text) <= 128:
            return str(_digits(text))
        if family == "ipv4" and ("." not in text or address_family(text) == "ipv4"):
            return _ipv4_mask(text)
    except ValueError:
        pass
    raise PocketError(
        f"persistence_netmask is {value!r} for an {'IPv4' if family == 'ipv4' else 'IPv6'} service; give {right}"
    )


def _digits(text: str) -> int:
    """ValueError for what int() would take, too, such as 2_4."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _ipv4_mask(text: str) -> str:
    """ValueError where it is none. (ipaddress would take 0.0.0.255, a host mask, for 255.255.255.0.)"""
    if "." not in text:
        return str(ipaddress.IPv4Network((0, _digits(text))).netmask)
    number = int(ipaddress.IPv4Address(text))
    inverted = number ^ 0xFFFFFFFF
    if inverted & (inverted + 1):
        raise ValueError(text)
    return str(ipaddress.IPv4Address(number))
