# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KVM hosts that an inventory file names, and how each is reached. Pure. PRIVATE to the collection."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

__all__ = ["KvmHost", "kvm_hosts"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# What goes to ssh as an argument must not be taken for an option.
_SSH_NAME = re.compile(r"[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*")
_TYPES = {"str": str, "int": int, "bool": bool}


@dataclass(frozen=True)
class KvmHost:
    """One KVM host: this machine where `host` is none, else that one by ssh.

    :param jump: whether its instances are reached through it.
    """

    name: str
    uri: str = "qemu:///system"
    store: str = "/var/lib/pocket-cloud"
    host: str | None = None
    user: str | None = None
    port: int | None = None
    private_key_file: str | None = None
    ssh_args: str = ""
    become: bool = False
    python: str = "/usr/bin/python3"
    jump: bool = True

    @property
    def label(self) -> str:
        """How a message names it."""
        where = f"ssh {self._target}" if self.host else "this machine"
        return f"the KVM host {self.name} ({where})"

    @property
    def _target(self) -> str:
        return f"{self.user}@{self.host}" if self.user else str(self.host)

    def _ssh(self) -> list[str]:
        """Return the ssh command without where to."""
        command = ["ssh", "-o", "BatchMode=yes"]
        if self.port is not None:
            command += ["-p", str(self.port)]
        if self.private_key_file is not None:
            command += ["-i", self.private_key_file]
        return command + shlex.split(self.ssh_args)

    def command(self, timeout: float) -> list[str]:
        """Return the command that runs a Python program, given on standard input, on the host."""
        python = [*(["sudo", "-n"] if self.become else []), self.python, "-I", "-"]
        if self.host is None:
            return python
        # As the last of several, an option of the user's own wins: ssh takes the first.
        wait = ["-o", f"ConnectTimeout={max(1, int(timeout))}", "-T", "--", self._target]
        return [*self._ssh(), *wait, shlex.join(python)]

    def common_args(self) -> str | None:
        """Return the arguments by which ssh reaches the host's instances through it; none where it goes straight."""
        if self.host is None or not self.jump:
            return None
        command = [word.replace("%", "%%") for word in [*self._ssh(), "--", self._target]]
        proxy = shlex.join(command[:-2]) + f" -W '[%h]:%p' {shlex.join(command[-2:])}"
        return f"-o {shlex.quote(f'ProxyCommand={proxy}')}"

    def digest(self, filters: Mapping[str, Any]) -> str:
        """Return what tells one question from another in a cache."""
        return hashlib.sha256(json.dumps([asdict(self), filters], sort_keys=True).encode()).hexdigest()


def kvm_hosts(given: Any) -> list[KvmHost]:
    """Return the hosts that the option C(hosts) names; raises PocketError for what cannot be right."""
    if not isinstance(given, list) or not given:
        raise PocketError("hosts: names no KVM host; give a list of at least one, such as [{name: kvm1}]")
    hosts = [_kvm_host(number, one) for number, one in enumerate(given, start=1)]
    for host in hosts:
        if sum(one.name == host.name for one in hosts) > 1:
            raise PocketError(f"hosts: the name {host.name!r} is given twice; each KVM host has its own")
    return hosts


def _kvm_host(number: int, given: Any) -> KvmHost:
    where = f"hosts: the {number}. host"
    if not isinstance(given, Mapping) or not given.get("name"):
        raise PocketError(f"{where} has no name; give a dictionary with name and, where it is remote, host")
    known = {field.name: str(field.type).partition(" ")[0] for field in fields(KvmHost)}
    stated = {}
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise PocketError(f"{where} has {name!r}, which is unknown; {hint}known are {', '.join(known)}")
        if value is not None:
            stated[str(name)] = _value(f"{where}: {name}", value, known[name])
    host = KvmHost(**stated)
    _check(where, host)
    return host


def _value(where: str, value: Any, kind: str) -> Any:
    if not isinstance(value, _TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
        words = {"str": "a text", "int": "a whole number", "bool": "true or false"}
        raise PocketError(f"{where} is {value!r}; it is {words[kind]}")
    if isinstance(value, str) and "\0" in value:
        raise PocketError(f"{where} is {value!r}; it has a NUL, which no command can be given")
    return _TYPES[kind](value)


def _check(where: str, host: KvmHost) -> None:
    if not _NAME.fullmatch(host.name):
        raise PocketError(f"{where}: name is {host.name!r}; it is letters, digits and _.-, and begins with none of .-")
    for name, value in (("host", host.host), ("user", host.user)):
        if value is not None and not _SSH_NAME.fullmatch(value):
            raise PocketError(f"{where}: {name} is {value!r}, which ssh cannot take for one")
    if host.port is not None and not 1 <= host.port <= 65535:
        raise PocketError(f"{where}: port is {host.port}; it is 1 to 65535")
    if host.host is None:
        unused = [one for one in ("user", "port", "private_key_file", "ssh_args") if getattr(host, one)]
        if unused:
            raise PocketError(f"{where}: {unused[0]} is for a host that is reached by ssh; name it with host")
    try:
        shlex.split(host.ssh_args)
    except ValueError as error:
        raise PocketError(f"{where}: ssh_args cannot be split into words: {error}") from error
