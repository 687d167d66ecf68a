# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `ipvsadm -Sn` prints and `ipvsadm -R` takes, read and written. Pure. PRIVATE to the collection.

The syntax is that of ipvsadm 1.31, ipvsadm(8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._errors import PocketError
from .model import Dest, DestKey, Service, ServiceKey, canonical_address, full_netmask
from .text import LONGEST_PERSISTENCE, Collected, at, checked_text, endpoint, given_services, number

__all__ = ["read_ipvsadm", "write_ipvsadm"]

_LETTERS = {
    "A": "add-service",
    "E": "edit-service",
    "a": "add-server",
    "e": "edit-server",
    "t": "tcp-service",
    "u": "udp-service",
    "f": "fwmark-service",
    "6": "ipv6",
    "s": "scheduler",
    "p": "persistent",
    "M": "netmask",
    "o": "ops",
    "b": "sched-flags",
    "r": "real-server",
    "g": "gatewaying",
    "i": "ipip",
    "m": "masquerading",
    "w": "weight",
    "x": "u-threshold",
    "y": "l-threshold",
}
_COMMANDS = ("add-service", "edit-service", "add-server", "edit-server")
_BARE = {*_COMMANDS, "ipv6", "ops", "gatewaying", "ipip", "masquerading", "tun-nocsum", "tun-csum", "tun-remcsum"}
_IDENTITY = ("tcp-service", "udp-service", "sctp-service", "fwmark-service")
_PROTOCOLS = {"tcp-service": "tcp", "udp-service": "udp", "sctp-service": "sctp"}
_FORWARDING = {"gatewaying": "direct", "ipip": "tunnel", "masquerading": "masquerade"}
_CHECKSUMS = {"tun-nocsum": "none", "tun-csum": "full", "tun-remcsum": "remote"}
_SERVICE_OPTIONS = {*_IDENTITY, "ipv6", "scheduler", "persistent", "netmask", "pe", "ops", "sched-flags"}
_DEST_OPTIONS = {
    *(*_IDENTITY, "ipv6", "real-server", "weight", "u-threshold", "l-threshold", "tun-type", "tun-port"),
    *_FORWARDING,
    *_CHECKSUMS,
}
_KNOWN = {*_COMMANDS, *_SERVICE_OPTIONS, *_DEST_OPTIONS}
_DEFAULT_PERSISTENCE = "300"
_WHAT = "what 'ipvsadm -Sn' prints"

Options = Mapping[str, str]


def read_ipvsadm(value: Any) -> list[dict[str, Any]]:
    """The virtual services of a text that `ipvsadm -R` takes, as ipvs_info returns them."""
    collected = Collected()
    for line, text in enumerate(checked_text(value, _WHAT).split("\n"), 1):
        words = text.split("#", 1)[0].split()
        if words[:1] == ["ipvsadm"]:
            del words[0]
        if words:
            with at(line):
                _read_line(_options(words), line, collected)
    return collected.declaration()


def _read_line(options: Options, line: int, collected: Collected) -> None:
    command = _one_of(options, _COMMANDS, f"a command; give -A, -a, -E or -e, as in {_WHAT}")
    on_service = command.endswith("service")
    for name in options:
        if name != command and name not in (_SERVICE_OPTIONS if on_service else _DEST_OPTIONS):
            raise PocketError(f"{_shown(name)} does not go with {_shown(command)}; leave it out")
    identity = _identity(options)
    edits = command.startswith("edit")
    if on_service:
        collected.service({**identity, **_settings(options)}, line, edits)
        return
    key = ServiceKey(**identity)
    collected.require(key)
    collected.dest(key, _dest(options, key), edits)


def _options(words: list[str]) -> dict[str, str]:
    """The options of a line by their long names, each with its value; "" where it has none."""
    options: dict[str, str] = {}
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        name, value = _name(word)
        if name not in _KNOWN:
            raise PocketError(f"{word!r} is no option of a virtual service or dest; give {_WHAT}")
        if name in options:
            raise PocketError(f"{_shown(name)} is given twice; give it once")
        if name in _BARE:
            if word.startswith("--") and "=" in word:
                raise PocketError(f"{word!r} has a value, which {_shown(name)} does not take; leave the value out")
            if value:
                waiting.append(f"-{value}")
            options[name] = ""
        elif value:
            options[name] = value
        elif name == "persistent" and (not waiting or waiting[-1].startswith("-")):
            options[name] = _DEFAULT_PERSISTENCE
        elif waiting:
            options[name] = waiting.pop()
        elif name == "sched-flags":  # as ipvsadm prints the flags of sh and mh that it has no names for
            options[name] = ""
        else:
            raise PocketError(f"{_shown(name)} lacks its value; give it behind the option")
    return options


def _name(word: str) -> tuple[str, str]:
    """The long name of the option at the start of a word, and the rest of the word."""
    if word.startswith("--"):
        name, _sign, value = word[2:].partition("=")
        return name, value
    if word.startswith("-"):
        return _LETTERS.get(word[1:2], ""), word[2:]
    return "", ""


def _shown(name: str) -> str:
    letters = [letter for letter, long in _LETTERS.items() if long == name]
    return f"-{letters[0]}" if letters else f"--{name}"


def _one_of(options: Options, names: Sequence[str], what: str) -> str:
    found = [name for name in names if name in options]
    if len(found) != 1:
        stated = " and ".join(_shown(name) for name in found)
        raise PocketError(f"{stated} are more than one of {what}" if found else f"the line lacks {what}")
    return found[0]


def _identity(options: Options) -> dict[str, Any]:
    kind = _one_of(options, _IDENTITY, "a virtual service; give -t, -u, --sctp-service or -f")
    six = {"family": "ipv6"} if "ipv6" in options else {}
    if kind == "fwmark-service":
        return {"fwmark": _mark(options[kind]), "family": "ipv4", **six}
    address, port = _numeric(options[kind])
    return {"protocol": _PROTOCOLS[kind], "address": address, "port": number(port or "0"), **six}


def _mark(word: str) -> Any:
    """ipvsadm prints marks from 2147483648 on as if they were negative."""
    negative = number(word[1:]) if word.startswith("-") else None
    return 2**32 - negative if isinstance(negative, int) and 1 <= negative <= 2**31 else number(word)


def _numeric(word: str) -> tuple[str, str | None]:
    """Address and port; names are refused, for what they stand for is known on the director only."""
    address, port = endpoint(word)
    try:
        canonical_address(address)
        right = port is None or isinstance(number(port), int)
    except PocketError:
        right = False
    if not right:
        raise PocketError(
            f"{word!r} is no address with a port in numbers; give the text of 'ipvsadm -Sn', whose -n prints numbers, "
            "such as 192.0.2.10:80 or [2001:db8::10]:80"
        )
    return address, port


def _settings(options: Options) -> dict[str, Any]:
    flags = options.get("sched-flags") or None
    return {
        "scheduler": options.get("scheduler"),
        "scheduler_flags": flags.split(",") if flags is not None else None,
        "persistence_timeout": number(options.get("persistent", "0")),
        "persistence_netmask": options.get("netmask"),
        "persistence_engine": options.get("pe"),
        "one_packet": "ops" in options,
    }


def _dest(options: Options, service: ServiceKey) -> dict[str, Any]:
    if "real-server" not in options:
        raise PocketError("the line lacks -r with the real server's address; give it")
    address, port = _numeric(options["real-server"])
    given = [name for name in _FORWARDING if name in options]
    forwarding = _FORWARDING[_one_of(options, given, "-g, -i and -m; give one")] if given else "direct"
    if service.fwmark is None and (port is None or forwarding != "masquerade"):
        port = str(service.port)  # as ipvsadm does
    checksums = [name for name in _CHECKSUMS if name in options]
    checksum = _CHECKSUMS[_one_of(options, checksums, "a tunnel's checksum; give one")] if checksums else None
    return {
        "address": address,
        "port": number(port or "0"),
        "forwarding": forwarding,
        "weight": number(options.get("weight", "1")),
        "upper_threshold": number(options["u-threshold"]) if "u-threshold" in options else None,
        "lower_threshold": number(options["l-threshold"]) if "l-threshold" in options else None,
        "tunnel_type": options.get("tun-type"),
        "tunnel_port": number(options["tun-port"]) if "tun-port" in options else None,
        "tunnel_checksum": checksum,
    }


def write_ipvsadm(value: Any) -> str:
    """The text that `ipvsadm -R` takes for a list of virtual services as ipvs_info returns it.

    But for thresholds, which it leaves out, it is the text that `ipvsadm -Sn` then prints.
    """
    lines: list[str] = []
    for one in given_services(value):
        named = _written_key(one.service.key)
        lines.append(" ".join(["-A", named, *_written_settings(one.service)]))
        lines.extend(" ".join(["-a", named, *_written_dest(dest)]) for dest in one.dests.values())
    return "".join(f"{line}\n" for line in lines)


def _written_key(key: ServiceKey) -> str:
    if key.fwmark is not None:
        return f"-f {key.fwmark}" + (" -6" if key.family == "ipv6" else "")
    option = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}[key.protocol or ""]
    return f"{option} {DestKey(key.address or '', key.port or 0)}"


def _written_settings(service: Service) -> Iterator[str]:
    yield f"-s {service.scheduler}"
    timeout = service.persistence_timeout or 0
    if timeout > LONGEST_PERSISTENCE:
        raise PocketError(
            f"persistence_timeout of {service.key} is {timeout}, but ipvsadm takes at most {LONGEST_PERSISTENCE}; "
            "lower it, or move the service with pocket.cloud.ipvs_info and pocket.cloud.ipvs_table"
        )
    if timeout:
        yield f"-p {timeout}"
        if service.persistence_netmask != full_netmask(service.key.family):
            yield f"-M {service.persistence_netmask}"
    if service.persistence_engine != "none":
        yield f"--pe {service.persistence_engine}"
    if service.one_packet:
        yield "-o"
    if service.scheduler_flags:
        yield f"-b {','.join(service.scheduler_flags)}"


def _written_dest(dest: Dest) -> Iterator[str]:
    yield f"-r {dest.key}"
    yield {"masquerade": "-m", "direct": "-g", "tunnel": "-i"}[dest.forwarding or ""]
    yield f"-w {dest.weight}"
    if dest.upper_threshold is not None:
        yield f"-x {dest.upper_threshold}"
    if dest.lower_threshold is not None:
        yield f"-y {dest.lower_threshold}"
    if dest.forwarding == "tunnel":
        yield f"--tun-type {dest.tunnel_type}"
        if dest.tunnel_port:
            yield f"--tun-port {dest.tunnel_port}"
        if dest.tunnel_type != "ipip":
            checksums = {checksum: option for option, checksum in _CHECKSUMS.items()}
            yield f"--{checksums[dest.tunnel_checksum or '']}"
