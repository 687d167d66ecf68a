# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual servers of keepalived.conf, read as keepalived means them, and written. Pure. PRIVATE to the collection.

What is meant is that of keepalived 2.2: keepalived.conf(5), and check_data.c for the defaults.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .._errors import PocketError
from .keepalived_syntax import Statement, parse_statements
from .model import Dest, Service, ServiceKey, address_family, canonical_address, full_netmask
from .text import LONGEST_PERSISTENCE, MAX_ITEMS, Collected, at, checked_text, given_services, number

__all__ = ["read_keepalived", "write_keepalived"]

_DEFAULT_PERSISTENCE = 360
_FLAGS = ("flag-1", "flag-2", "flag-3", "sh-fallback", "sh-port", "mh-fallback", "mh-port")
_METHODS = {"NAT": "masquerade", "DR": "direct", "TUN": "tunnel"}
_CHECKSUMS = {"nocsum": "none", "csum": "full", "remcsum": "remote"}
_FAMILIES = {"inet": "ipv4", "inet6": "ipv6"}


def read_keepalived(value: Any) -> dict[str, Any]:
    """The virtual services of a keepalived.conf as ipvs_info returns them, and aside what is not about IPVS."""
    text = checked_text(value, "what a keepalived.conf holds")
    reader = _Reader(text)
    for statement in parse_statements(text):
        if statement.keyword == "virtual_server_group" and statement.block is not None:
            reader.take_group(statement)
        elif statement.keyword == "virtual_server" and statement.block is not None:
            reader.servers.append(statement)
        else:
            reader.put_aside(statement)
    return reader.read()


@dataclass
class _Server:
    """A virtual_server block: options of its services, and its real servers with theirs."""

    settings: dict[str, Any] = field(default_factory=dict)
    forwarding: dict[str, Any] = field(default_factory=lambda: {"forwarding": "masquerade"})
    weight: Any = 1
    family: str | None = None
    dests: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


@dataclass
class _Reader:
    text: str
    groups: dict[str, Statement] = field(default_factory=dict)
    servers: list[Statement] = field(default_factory=list)
    collected: Collected = field(default_factory=Collected)
    aside: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        used: set[str] = set()
        for statement in self.servers:
            with at(statement.line):
                if statement.words[1:2] == ["group"]:
                    used.add(_value(statement, 2))
                members = list(itertools.islice(self._members(statement), MAX_ITEMS + 1))
            self._take(statement, self._server(statement), members)
        for name, group in self.groups.items():
            if name not in used:
                self.put_aside(group)
        return {
            "services": self.collected.declaration(),
            "aside": sorted(self.aside, key=lambda entry: entry["line"]),
        }

    def take_group(self, statement: Statement) -> None:
        name = _value(statement)
        if name in self.groups:
            raise PocketError(
                f"line {statement.line}: the virtual_server_group {name!r} is already on line "
                f"{self.groups[name].line}; keep one of them"
            )
        self.groups[name] = statement

    def put_aside(self, statement: Statement, *path: Statement) -> None:
        text = self.text[statement.start : statement.end]
        self.aside.append({"line": statement.line, "path": [one.head for one in path], "text": text})

    def _members(self, statement: Statement) -> Iterator[tuple[int, dict[str, Any]]]:
        """The identities of the virtual services that a virtual_server block stands for."""
        if statement.words[1:2] != ["group"]:
            yield statement.line, _identity(statement.words[1:])
            return
        name = _value(statement, 2)
        if name not in self.groups:
            raise PocketError(f"there is no virtual_server_group {name!r}; add it, or the text of the file that has it")
        for member in self.groups[name].block or []:
            with at(member.line):
                yield from ((member.line, one) for one in _group_member(member.words))

    def _server(self, statement: Statement) -> _Server:
        server = _Server()
        reals = []
        for one in statement.block or []:
            if one.keyword == "real_server" and one.block is not None:
                reals.append(one)
            elif one.block is not None or _idle(one, statement) or not _apply(server, one):
                self.put_aside(one, statement)
        for real in reals:
            server.dests.append((real.line, self._dest(server, real, statement)))
        return server

    def _dest(self, server: _Server, real: Statement, statement: Statement) -> dict[str, Any]:
        with at(real.line):
            params = {"address": _value(real), "weight": server.weight, **server.forwarding}
            if len(real.words) > 2:
                params["port"] = number(real.words[2])
        params.update(upper_threshold=0, lower_threshold=0)
        for one in real.block or []:
            with at(one.line):
                if one.block is None and one.keyword == "lvs_method":
                    params = {key: value for key, value in params.items() if not key.startswith("tunnel")}
                    params.update(_method(one))
                elif one.block is None and one.keyword in _DEST_NUMBERS:
                    params[_DEST_NUMBERS[one.keyword]] = number(_value(one))
                else:
                    self.put_aside(one, statement, real)
        return params

    def _take(self, statement: Statement, server: _Server, members: list[tuple[int, dict[str, Any]]]) -> None:
        if len(members) * (1 + len(server.dests)) > MAX_ITEMS:
            raise PocketError(
                f"line {statement.line} stands for more than {MAX_ITEMS} virtual services and dests; give fewer at once"
            )
        for line, identity in members:
            with at(line):
                key = self.collected.service(_service(server, identity), line)
            for real_line, dest in server.dests:
                with at(real_line):
                    self.collected.dest(key, _placed(key, dest))


_DEST_NUMBERS = {"weight": "weight", "uthreshold": "upper_threshold", "lthreshold": "lower_threshold"}


def _value(statement: Statement, place: int = 1) -> str:
    if len(statement.words) <= place:
        raise PocketError(f"line {statement.line}: {statement.keyword} lacks its value; give it on the same line")
    return statement.words[place]


def _idle(one: Statement, statement: Statement) -> bool:
    """Whether keepalived warns that it ignores a statement of a virtual_server block."""
    return one.keyword == "protocol" and statement.words[1:2] == ["fwmark"]


def _apply(server: _Server, statement: Statement) -> bool:
    """Take a statement of a virtual_server block where it is about IPVS."""
    keyword = statement.keyword
    with at(statement.line):
        if keyword in ("lvs_sched", "lb_algo"):
            server.settings["scheduler"] = _value(statement)
        elif keyword in ("lvs_method", "lb_kind"):
            server.forwarding = _method(statement)
        elif keyword in _FLAGS:
            server.settings.setdefault("scheduler_flags", []).append(keyword)
        elif keyword == "ops":
            server.settings["one_packet"] = True
        elif keyword == "protocol":
            server.settings["protocol"] = _value(statement).lower()
        elif keyword == "persistence_timeout":
            given = len(statement.words) > 1
            server.settings["persistence_timeout"] = number(_value(statement)) if given else _DEFAULT_PERSISTENCE
        elif keyword == "persistence_granularity":
            server.settings["persistence_netmask"] = _value(statement)
        elif keyword == "persistence_engine":
            server.settings["persistence_engine"] = _value(statement)
        elif keyword == "ip_family":
            server.family = _chosen("ip_family", _value(statement), _FAMILIES)
        elif keyword == "weight":
            server.weight = number(_value(statement))
        else:
            return False
    return True


def _chosen(what: str, word: str, choices: dict[str, str]) -> str:
    if word not in choices:
        raise PocketError(f"{what} is {word!r}; give one of {', '.join(choices)}")
    return choices[word]


def _method(statement: Statement) -> dict[str, Any]:
    """TUN [type {ipip|gue port NUM|gre} [nocsum|csum|remcsum]], NAT or DR as options of a dest."""
    params: dict[str, Any] = {"forwarding": _chosen(statement.keyword, _value(statement), _METHODS)}
    words = iter(statement.words[2:])
    for word in words:
        if word == "type":
            params["tunnel_type"] = next(words, "")
        elif word == "port":
            params["tunnel_port"] = number(next(words, ""))
        else:
            what = f"the option of {statement.keyword}"
            params["tunnel_checksum"] = _chosen(what, word, {"type": "", "port": "", **_CHECKSUMS})
    return params


def _identity(words: list[str]) -> dict[str, Any]:
    """ADDRESS [PORT], or fwmark NUMBER [inet|inet6]."""
    if not words:
        raise PocketError("virtual_server lacks its address, fwmark or group; give it on the same line")
    if words[0] == "fwmark":
        identity: dict[str, Any] = {"fwmark": number(words[1]) if len(words) > 1 else ""}
        if len(words) > 2:
            identity["family"] = _chosen("the family of the fwmark", words[2], _FAMILIES)
        return identity
    return {"address": canonical_address(words[0]), "port": number(words[1]) if len(words) > 1 else 0}


def _group_member(words: list[str]) -> Iterator[dict[str, Any]]:
    """The virtual services that a line of a group stands for: one, or each address of a range."""
    word = words[0]
    if "-" not in word and "/" not in word:
        yield _identity(words)
        return
    first, last = _range(word)
    if int(last) - int(first) >= MAX_ITEMS:
        raise PocketError(f"{word!r} stands for more than {MAX_ITEMS} addresses; give a smaller range")
    for offset in range(int(last) - int(first) + 1):
        yield _identity([str(first + offset), *words[1:]])


def _range(word: str) -> tuple[Any, Any]:
    """The ends of 192.0.2.1-10, 192.0.2.250-192.0.3.9, 192.0.2.8/29 and their like of IPv6."""
    try:
        if "/" in word:
            network = ipaddress.ip_network(word)
            return network[0], network[-1]
        begin, _hyphen, end = word.partition("-")
        first = ipaddress.ip_address(begin)
        if "." not in end and ":" not in end:  # the last part of the address only
            separator = ":" if ":" in begin else "."
            end = begin.rpartition(separator)[0] + separator + end
        last = ipaddress.ip_address(end)
        if first.version == last.version and int(first) <= int(last):
            return first, last
    except ValueError:
        pass
    raise PocketError(
        f"{word!r} is no range of addresses; give one such as 192.0.2.1-10, 192.0.2.250-192.0.3.9 or 192.0.2.8/29"
    )


def _service(server: _Server, identity: dict[str, Any]) -> dict[str, Any]:
    """The options of one virtual service, with the defaults that keepalived has."""
    params = {**server.settings, **identity}
    if "fwmark" in identity:
        params.pop("protocol", None)  # that of the addresses in the same group
        params.setdefault("family", server.family or _family_of(server))
    else:
        params.setdefault("protocol", "udp")
    if "persistence_timeout" not in params and ("persistence_netmask" in params or params.get("port") == 0):
        params["persistence_timeout"] = _DEFAULT_PERSISTENCE
    return params


def _family_of(server: _Server) -> str:
    """The family of a mark: that of the real servers, first those without tunnel; IPv4 where it is open."""
    if "persistence_netmask" in server.settings:
        return "ipv4" if "." in server.settings["persistence_netmask"] else "ipv6"
    families = [(dest["forwarding"] == "tunnel", address_family(dest["address"])) for _line, dest in server.dests]
    plain = [family for tunnel, family in families if not tunnel]
    if plain:
        return plain[0]
    return "ipv6" if {family for _tunnel, family in families} == {"ipv6"} else "ipv4"


def _placed(key: ServiceKey, dest: dict[str, Any]) -> dict[str, Any]:
    """The dest with the port that keepalived gives it in this virtual service."""
    kept = dest["forwarding"] == "masquerade" and dest.get("port") not in (None, 0)
    return dest if kept else {**dest, "port": key.port or 0}


def write_keepalived(value: Any) -> str:
    """virtual_server blocks for a list of virtual services as ipvs_info returns it; they hold no checkers."""
    blocks = []
    for one in given_services(value):
        if not one.dests:
            raise PocketError(
                f"the virtual service {one.service.key} has no dests, and keepalived ignores such a virtual_server; "
                "add a dest or leave the service out"
            )
        lines = [f"    {line}" for line in _written_settings(one.service)]
        for dest in one.dests.values():
            lines += [f"    {line}" for line in _written_dest(one.service.key, dest)]
        blocks.append("\n".join([f"virtual_server {_written_key(one.service.key)} {{", *lines, "}\n"]))
    return "\n".join(blocks)


def _written_key(key: ServiceKey) -> str:
    return f"{key.address} {key.port}" if key.fwmark is None else f"fwmark {key.fwmark}"


def _written_settings(service: Service) -> Iterator[str]:
    key = service.key
    if key.fwmark is None:
        yield f"protocol {(key.protocol or '').upper()}"
    else:
        yield f"ip_family {'inet6' if key.family == 'ipv6' else 'inet'}"
    yield f"lvs_sched {service.scheduler}"
    yield from service.scheduler_flags or ()
    if service.one_packet:
        yield "ops"
    timeout = service.persistence_timeout or 0
    if timeout > LONGEST_PERSISTENCE:
        raise PocketError(
            f"persistence_timeout of {key} is {timeout}, but keepalived takes at most {LONGEST_PERSISTENCE}; lower it"
        )
    if timeout:
        yield f"persistence_timeout {timeout}"
        if service.persistence_netmask != full_netmask(key.family):
            yield f"persistence_granularity {service.persistence_netmask}"
    if service.persistence_engine != "none":
        yield f"persistence_engine {service.persistence_engine}"


def _written_dest(service: ServiceKey, dest: Dest) -> Iterator[str]:
    port = dest.key.port
    if service.fwmark is not None and dest.forwarding != "masquerade" and port:
        raise PocketError(
            f"port of dest {dest.key} of {service} is {port}, but keepalived keeps no port there with forwarding "
            f"{dest.forwarding}; give port 0, which leaves the port in the packets as it is"
        )
    if dest.forwarding == "masquerade" and service.port and not port:
        raise PocketError(
            f"port of dest {dest.key} of {service} is 0, for which keepalived takes the service's; give {service.port}"
        )
    yield f"real_server {dest.key.address} {port} {{"
    yield f"    weight {dest.weight}"
    yield f"    lvs_method {_written_method(dest)}"
    if dest.upper_threshold:
        yield f"    uthreshold {dest.upper_threshold}"
    if dest.lower_threshold:
        yield f"    lthreshold {dest.lower_threshold}"
    yield "}"


def _written_method(dest: Dest) -> str:
    if dest.forwarding != "tunnel":
        return "NAT" if dest.forwarding == "masquerade" else "DR"
    port = f" port {dest.tunnel_port}" if dest.tunnel_port else ""
    checksums = {checksum: word for word, checksum in _CHECKSUMS.items()}
    checksum = f" {checksums[dest.tunnel_checksum or '']}" if dest.tunnel_type != "ipip" else ""
    return f"TUN type {dest.tunnel_type}{port}{checksum}"
