# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual services and their dests as values in one canonical form. PRIVATE to the collection.

Constructors normalise and never refuse what a kernel may hold; what a user may ask for is checked in checks.py.
A setting that is None is unstated: `over` takes it from what the kernel has, or on creation from its default.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .._errors import PocketError

__all__ = [
    "DEST_SETTINGS",
    "FORWARDING",
    "PROTOCOLS",
    "SCHEDULER_FLAGS",
    "SERVICE_SETTINGS",
    "TUNNEL_CHECKSUMS",
    "TUNNEL_TYPES",
    "Dest",
    "DestKey",
    "Service",
    "ServiceKey",
    "Setting",
    "Table",
    "VirtualService",
    "address_family",
    "canonical_address",
    "different",
    "full_netmask",
]

PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
FORWARDING = {"masquerade": 0, "local": 1, "tunnel": 2, "direct": 3, "bypass": 4}
TUNNEL_TYPES = {"ipip": 0, "gue": 1, "gre": 2}
TUNNEL_CHECKSUMS = {"none": 0, "full": 1, "remote": 2}

SCHEDULER_FLAGS = ("flag-1", "flag-2", "flag-3")
"""The three bits that a scheduler may interpret, by their raw names."""

_FLAGS_OF = {
    "sh": {"flag-1": "sh-fallback", "flag-2": "sh-port"},
    "mh": {"flag-1": "mh-fallback", "flag-2": "mh-port"},
}
_RAW_FLAG = {name: raw for named in _FLAGS_OF.values() for raw, name in named.items()}
_FULL_NETMASK = {"ipv4": "255.255.255.255", "ipv6": "128"}


@dataclass(frozen=True)
class Setting:
    """How one setting is treated everywhere: in plans, diffs and the comparison after a write.

    Values are canonical, so that two of them are the same when they are equal.

    :param name: the attribute, the option and the printed name.
    :param default: the value on creation when it is unstated; by family where it depends on it.
    """

    name: str
    default: Any

    def initial(self, family: str) -> Any:
        """The value of a new object of `family` that does not state the setting."""
        return self.default[family] if isinstance(self.default, Mapping) else self.default


SERVICE_SETTINGS = (
    Setting("scheduler", "wlc"),
    Setting("scheduler_flags", ()),
    Setting("persistence_timeout", 0),
    Setting("persistence_netmask", _FULL_NETMASK),
    Setting("persistence_engine", "none"),
    Setting("one_packet", False),
)

TUNNEL_SETTINGS = (
    Setting("tunnel_type", "ipip"),
    Setting("tunnel_port", 0),
    Setting("tunnel_checksum", "none"),
)

DEST_SETTINGS = (
    Setting("forwarding", "direct"),
    Setting("weight", 1),
    Setting("upper_threshold", 0),
    Setting("lower_threshold", 0),
    *TUNNEL_SETTINGS,
)


def canonical_address(text: str, parameter: str = "address") -> str:
    """`text` as inet_ntop(3) prints it; PocketError where it is no IPv4 or IPv6 address."""
    try:
        return _canonical(str(text).strip())
    except (OSError, ValueError):
        raise PocketError(
            f"{parameter} is {text!r}, which is neither an IPv4 nor an IPv6 address; "
            "give one address without prefix length, port or zone, such as 192.0.2.10 or 2001:db8::10"
        ) from None


@lru_cache(maxsize=65536)  # each address of a table is met in what is wanted, and in what is there
def _canonical(text: str) -> str:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, text))


def address_family(address: str) -> str:
    """C(ipv4) or C(ipv6)."""
    return "ipv6" if ":" in address else "ipv4"


def full_netmask(family: str) -> str:
    """The persistence netmask that tells every client address apart."""
    return _FULL_NETMASK[family]


def different(settings: Iterable[Setting], one: Any, other: Any) -> list[str]:
    """The names of the settings whose values differ."""
    before, after = vars(one), vars(other)
    return [setting.name for setting in settings if before[setting.name] != after[setting.name]]


def _set(instance: Any, **values: Any) -> None:
    """Normalise attributes of a frozen dataclass in its own constructor."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


@dataclass(frozen=True)
class ServiceKey:
    """What the kernel knows a virtual service by: (protocol, address, port) or (family, fwmark)."""

    protocol: str | None = None
    address: str | None = None
    port: int | None = None
    fwmark: int | None = None
    family: str = ""

    def __post_init__(self) -> None:
        if self.fwmark is not None:
            _set(self, protocol=None, address=None, port=None, family=self.family or "ipv4")
        else:
            address = canonical_address(self.address or "")
            protocol = (self.protocol or "tcp").lower()
            _set(self, address=address, protocol=protocol, port=self.port or 0, family=address_family(address))

    def identity(self) -> dict[str, Any]:
        """The options that name this service."""
        if self.fwmark is not None:
            return {"fwmark": self.fwmark, "family": self.family}
        return {"protocol": self.protocol, "address": self.address, "port": self.port, "family": self.family}

    def order(self) -> tuple[Any, ...]:
        """Where this service stands in lists: by address first, marks last."""
        if self.fwmark is not None:
            return (1, self.family, self.fwmark)
        packed = socket.inet_pton(_SOCKET_FAMILY[self.family], self.address or "")
        return (0, self.family, packed, self.port, self.protocol)

    def __str__(self) -> str:
        if self.fwmark is not None:
            return f"fwmark {self.fwmark} {self.family}"
        return f"{self.protocol} {_endpoint(self.address or '', self.port or 0)}"


@dataclass(frozen=True)
class DestKey:
    """What the kernel knows a dest of a service by."""

    address: str
    port: int

    def __post_init__(self) -> None:
        _set(self, address=canonical_address(self.address))

    @property
    def family(self) -> str:
        """The address family of the real server, which over a tunnel may differ from the service's."""
        return address_family(self.address)

    def identity(self) -> dict[str, Any]:
        """The options that name this dest."""
        return {"address": self.address, "port": self.port}

    def order(self) -> tuple[Any, ...]:
        """Where this dest stands in lists."""
        return (self.family, socket.inet_pton(_SOCKET_FAMILY[self.family], self.address), self.port)

    def __str__(self) -> str:
        return _endpoint(self.address, self.port)


_SOCKET_FAMILY = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True)
class Service:
    """The settings of a virtual service; those that are None are unstated.

    :param scheduler_flags: names of flags; a scheduler's own names once the scheduler is known.
    :param persistence_timeout: seconds; 0 is no persistence.
    :param persistence_netmask: dotted for IPv4, the prefix length for IPv6, as text.
    :param persistence_engine: the engine's name, C(none) for no engine.
    :param stats: the kernel's counters, where they were asked for; no setting.
    """

    key: ServiceKey
    scheduler: str | None = None
    scheduler_flags: tuple[str, ...] | None = None
    persistence_timeout: int | None = None
    persistence_netmask: str | None = None
    persistence_engine: str | None = None
    one_packet: bool | None = None
    stats: Mapping[str, int] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.scheduler_flags is not None:
            _set(self, scheduler_flags=_canonical_flags(self.scheduler_flags, self.scheduler))

    def over(self, current: Service | None) -> Service:
        """What the kernel is to hold when this is asked for and `current` is there (none: on creation)."""
        stated = _stated(SERVICE_SETTINGS, self)
        if current is not None and stated.items() <= vars(current).items():
            return current
        if current is None:
            return Service(self.key, **{**_initial(SERVICE_SETTINGS, self.key.family), **stated})
        if self.scheduler not in (None, current.scheduler) and self.scheduler_flags is None:
            stated["scheduler_flags"] = raw_flags(current.scheduler_flags or ())
        return Service(self.key, **{**_stated(SERVICE_SETTINGS, current), **stated})

    def settings(self) -> dict[str, Any]:
        """The settings that are known, printable and in canonical order."""
        return _printable(SERVICE_SETTINGS, self)


def raw_flags(names: Iterable[str]) -> tuple[str, ...]:
    """The scheduler-independent names of `names`, in the order of their bits."""
    raw = {_RAW_FLAG.get(name, name) for name in names}
    return tuple(sorted(raw))


def _canonical_flags(names: Iterable[str], scheduler: str | None) -> tuple[str, ...]:
    if scheduler is None:
        return tuple(sorted(set(names)))
    own = _FLAGS_OF.get(scheduler, {})
    for name in names:
        if name in _RAW_FLAG and name not in own.values():
            raise PocketError(
                f"scheduler_flags holds {name!r}, which is a flag of scheduler {name.split('-')[0]}, "
                f"but the service's scheduler is {scheduler}; leave the flag out or change the scheduler"
            )
    return tuple(own.get(raw, raw) for raw in raw_flags(names))


@dataclass(frozen=True)
class Dest:
    """The settings of one dest of a virtual service; those that are None are unstated.

    The settings of a tunnel are None where forwarding is not C(tunnel).

    :param weight: share of new connections; 0 takes none.
    :param upper_threshold: connections from which on it takes no more; 0 is no limit.
    :param lower_threshold: connections below which it takes them again; 0 is 3/4 of the upper threshold.
    :param stats: the kernel's counters, where they were asked for; no setting.
    """

    key: DestKey
    forwarding: str | None = None
    weight: int | None = None
    upper_threshold: int | None = None
    lower_threshold: int | None = None
    tunnel_type: str | None = None
    tunnel_port: int | None = None
    tunnel_checksum: str | None = None
    stats: Mapping[str, int] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        untold = self.tunnel_type is None and self.tunnel_port is None and self.tunnel_checksum is None
        if untold or self.forwarding in (None, "tunnel"):
            return
        for setting in TUNNEL_SETTINGS:
            if getattr(self, setting.name) not in (None, setting.default):
                raise PocketError(
                    f"{setting.name} is {getattr(self, setting.name)!r}, but forwarding is {self.forwarding}; "
                    f"leave {setting.name} out or set forwarding to tunnel"
                )
        _set(self, tunnel_type=None, tunnel_port=None, tunnel_checksum=None)

    def over(self, current: Dest | None) -> Dest:
        """What the kernel is to hold when this is asked for and `current` is there (none: on creation)."""
        stated = _stated(DEST_SETTINGS, self)
        if current is not None and stated.items() <= vars(current).items():
            return current
        kept = _stated(DEST_SETTINGS, current) if current else _initial(_PLAIN_SETTINGS, self.key.family)
        tunnel = _kept_tunnel(kept, stated) if {**kept, **stated}["forwarding"] == "tunnel" else _NO_TUNNEL
        return Dest(self.key, **{**kept, **tunnel, **stated})

    def settings(self) -> dict[str, Any]:
        """The settings that are known, printable and in canonical order."""
        return _printable(DEST_SETTINGS, self)


_PLAIN_SETTINGS = DEST_SETTINGS[: -len(TUNNEL_SETTINGS)]
_NO_TUNNEL: dict[str, Any] = dict.fromkeys((setting.name for setting in TUNNEL_SETTINGS), None)
_NEW_TUNNEL: dict[str, Any] = {setting.name: setting.default for setting in TUNNEL_SETTINGS}


def _kept_tunnel(before: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """What an edit carries over of a tunnel: port and checksum only where the type stays."""
    if stated.get("tunnel_type", before.get("tunnel_type")) == before.get("tunnel_type"):
        return {name: before.get(name, default) for name, default in _NEW_TUNNEL.items()}
    return _NEW_TUNNEL


@dataclass(frozen=True)
class VirtualService:
    """A virtual service with its dests."""

    service: Service
    dests: Mapping[DestKey, Dest] = field(default_factory=dict)

    def declaration(self, stats: bool = False) -> dict[str, Any]:
        """All of it in the options' words, sorted: what modules return and accept."""
        dests = sorted(self.dests.values(), key=lambda dest: dest.key.order())
        return {**declared(self.service, stats), "dests": [declared(dest, stats) for dest in dests]}


Table = Mapping[ServiceKey, VirtualService]
"""Virtual services by their keys, in the kernel or expected to be there."""


def declared(thing: Service | Dest, stats: bool = False) -> dict[str, Any]:
    """Identity and settings of a service or dest, with `stats` its counters too, in the options' words."""
    counters = {"stats": dict(thing.stats)} if stats and thing.stats is not None else {}
    return {**thing.key.identity(), **thing.settings(), **counters}


def _stated(settings: Iterable[Setting], thing: Any) -> dict[str, Any]:
    values = vars(thing)
    return {one.name: values[one.name] for one in settings if values[one.name] is not None}


def _initial(settings: Iterable[Setting], family: str) -> dict[str, Any]:
    return {one.name: one.initial(family) for one in settings}


def _printable(settings: Iterable[Setting], thing: Any) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in _stated(settings, thing).items()
    }
