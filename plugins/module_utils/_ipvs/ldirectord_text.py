# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual services of ldirectord.cf, read as ldirectord means them. Pure. PRIVATE to the collection.

What is meant is that of ldirectord 4.12, ldirectord(8), and its program for the defaults.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .._errors import PocketError
from .model import ServiceKey, address_family, canonical_address
from .text import MAX_ITEMS, Collected, at, checked_text, endpoint, number

__all__ = ["read_ldirectord"]

_WHAT = "what an ldirectord.cf holds"
_DIRECTIVE = re.compile(r"([\w-]+)\s*=\s*(.*)")
_REAL = re.compile(r"(?P<server>\S+)(?:\s+(?P<method>gate|masq|ipip)\b)?(?:\s+(?P<weight>\d+)(?=\s|$))?(?P<rest>.*)")
_THRESHOLDS = re.compile(r"(?:^|(?<=\s))([lu]):(\d{1,10})(?=\s|$)")
_FORWARDING = {"gate": "direct", "masq": "masquerade", "ipip": "tunnel"}
_YES_OR_NO = {"yes": True, "no": False}


@dataclass
class _Virtual:
    """A virtual= line with the indented lines below it."""

    text: str
    line: int
    identity: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    reals: list[tuple[int, str]] = field(default_factory=list)


def read_ldirectord(value: Any) -> dict[str, Any]:
    """The virtual services of an ldirectord.cf as ipvs_info returns them, and aside what is not about IPVS."""
    text = checked_text(value, _WHAT)
    virtuals: list[_Virtual] = []
    aside: list[dict[str, Any]] = []
    current: _Virtual | None = None
    for line, raw in enumerate(text.split("\n"), 1):
        bare = raw.split("#", 1)[0].expandtabs(4).rstrip()
        if not bare:
            current = current if raw.strip() else None  # an empty line ends a virtual service, a comment does not
            continue
        with at(line):
            if bare.startswith("    "):
                _below(current, bare.strip(), line, aside)
                continue
            current = _top(bare, line)
        if current:
            virtuals.append(current)
        else:
            aside.append(_entry(line, bare))
    collected = Collected()
    for virtual in virtuals:
        _collect(virtual, collected, aside)
    return {"services": collected.declaration(), "aside": sorted(aside, key=lambda entry: entry["line"])}


def _entry(line: int, text: str, *path: str) -> dict[str, Any]:
    return {"line": line, "path": list(path), "text": text}


def _top(text: str, line: int) -> _Virtual | None:
    """The virtual service that a line begins, if it does."""
    found = _DIRECTIVE.fullmatch(text)
    if not found:
        raise PocketError(f"{text[:80]!r} is no NAME=VALUE; give {_WHAT}")
    if found[1] not in ("virtual", "virtual6"):
        return None
    word = found[2].split()[0] if found[2] else ""
    family = "ipv6" if found[1] == "virtual6" else "ipv4"
    if word.isdigit():
        return _Virtual(text, line, {"fwmark": number(word), "family": family})
    address, port = _numeric(word)
    if address_family(address) != family:
        right = "virtual6" if family == "ipv4" else "virtual"
        raise PocketError(f"the address of {found[1]} is {address}; write {right} before it")
    if port is None:
        raise PocketError(f"{found[1]} is {word!r}, which lacks its port; give it, such as {word}:80")
    protocol = "udp" if port == 53 else "tcp"
    return _Virtual(text, line, {"protocol": protocol, "address": address, "port": port})


def _numeric(word: str) -> tuple[str, Any]:
    """Address and port; names are refused, for what they stand for is known on the director only."""
    address, port = endpoint(word)
    try:
        canonical = canonical_address(address)
    except PocketError:
        canonical = ""
    if not canonical or (port is not None and not isinstance(number(port), int)):
        raise PocketError(
            f"{word!r} is no address with a port in numbers; write the numbers that the names stand for, "
            "such as 192.0.2.10:80 or [2001:db8::10]:80"
        )
    return canonical, None if port is None else number(port)


def _below(virtual: _Virtual | None, text: str, line: int, aside: list[dict[str, Any]]) -> None:
    """Take an indented line."""
    if virtual is None:
        raise PocketError(
            f"{text[:80]!r} is indented, but no virtual service is before it, and an empty line ends one; "
            "write it right below the lines of its virtual service"
        )
    found = _DIRECTIVE.fullmatch(text)
    if not found:
        raise PocketError(f"{text[:80]!r} is no NAME=VALUE; give {_WHAT}")
    name, value = found[1], found[2].strip()
    if name in ("real", "real6"):
        virtual.reals.append((line, value))
    elif name == "scheduler":
        virtual.settings["scheduler"] = value
    elif name == "schedflags":
        virtual.settings["scheduler_flags"] = value.split(",")
    elif name == "persistent":
        virtual.settings["persistence_timeout"] = number(value)
    elif name == "netmask":
        virtual.settings["persistence_netmask"] = value
    elif name == "ops":
        if value not in _YES_OR_NO:
            raise PocketError(f"ops is {value!r}; give yes or no")
        virtual.settings["one_packet"] = _YES_OR_NO[value]
    elif name == "protocol":
        _take_protocol(virtual, value)
    else:
        aside.append(_entry(line, text, virtual.text))


def _take_protocol(virtual: _Virtual, value: str) -> None:
    marked = "fwmark" in virtual.identity
    if value not in (("fwm",) if marked else ("tcp", "udp")):
        right = "fwm, for the virtual service is a fwmark" if marked else "tcp or udp"
        raise PocketError(f"protocol is {value!r}; give {right}")
    if not marked:
        virtual.identity["protocol"] = value


def _collect(virtual: _Virtual, collected: Collected, aside: list[dict[str, Any]]) -> None:
    with at(virtual.line):
        key = collected.service({"scheduler": "wrr", **virtual.settings, **virtual.identity}, virtual.line)
    for line, text in virtual.reals:
        with at(line):
            for dest in _dests(text, key, line, virtual, aside):
                collected.dest(key, dest)


def _dests(
    text: str, key: ServiceKey, line: int, virtual: _Virtual, aside: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """What a real= line stands for: ADDRESS[->ADDRESS][:PORT] METHOD [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]."""
    found = _REAL.fullmatch(text)
    if not found or not found["method"]:
        raise PocketError(f"real is {text[:80]!r}; give ADDRESS:PORT, then gate, masq or ipip, then a weight")
    rest = found["rest"].strip()
    check, limits = rest[: rest.rfind('"') + 1], rest[rest.rfind('"') + 1 :]
    strange = _THRESHOLDS.sub("", limits).strip()
    if strange or (check and not check.startswith('"')):
        raise PocketError(
            f"real holds {(strange or check)[:80]!r}; give behind the weight only what to send and to receive, as "
            '"request", "receive", then thresholds, as l:10 u:20'
        )
    if check:
        aside.append(_entry(line, check, virtual.text, f"real={found['server']}"))
    thresholds = {name: int(value) for name, value in _THRESHOLDS.findall(limits)}
    addresses, port = _addresses(found["server"])
    forwarding = _FORWARDING[found["method"]]
    if key.fwmark is None and forwarding != "masquerade":
        port = key.port or 0  # as ipvsadm does
    for address in addresses:
        yield {
            "address": address,
            "port": port,
            "forwarding": forwarding,
            "weight": number(found["weight"] or "1"),
            "upper_threshold": thresholds.get("u", 0),
            "lower_threshold": thresholds.get("l", 0),
        }


def _addresses(word: str) -> tuple[list[str], Any]:
    """The addresses of ADDRESS[->ADDRESS][:PORT], and the port; 0 where it is missing, as in ldirectord."""
    begin, arrow, end = word.partition("->")
    address, port = _numeric(end or begin)
    if not arrow:
        return [address], port or 0
    first, last = _numeric(begin)[0], address
    if {address_family(first), address_family(last)} != {"ipv4"}:
        raise PocketError(f"{word!r} is a range, which ldirectord knows of IPv4 only; give each real server a line")
    low, high = int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
    if not low <= high < low + MAX_ITEMS:
        raise PocketError(
            f"{word!r} is no range of at most {MAX_ITEMS} addresses; give the lower address first, as in "
            "192.0.2.1->192.0.2.10:80"
        )
    return [str(ipaddress.IPv4Address(one)) for one in range(low, high + 1)], port or 0
