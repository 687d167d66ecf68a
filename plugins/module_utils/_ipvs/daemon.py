# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemons that copy connections from one director to another. PRIVATE to the collection.

The kernel can start and stop one and not edit it (ip_vs_sync.c), so a change is a stop and a start. Connections go on
meanwhile; what changed in them is sent again with their next packets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation

__all__ = ["BOTH", "KINDS", "Daemon", "DaemonWrite", "daemon_plan", "daemon_shortfall", "parse_daemon"]

KINDS = ("master", "backup")
BOTH = "both"
_DEFAULTS: dict[str, Any] = {"sync_id": 0, "group": "224.0.0.81", "port": 8848, "ttl": 1}
MIN_BACKUP_MAXLEN = 1024


@dataclass(frozen=True)
class Daemon:
    """One daemon; what is None is unstated.

    :param daemon: C(master), which sends, or C(backup), which receives. There is one of each at most.
    :param sync_maxlen: bytes of a message; without it the kernel takes what the interface's MTU allows.
    """

    daemon: str
    interface: str | None = None
    sync_id: int | None = None
    sync_maxlen: int | None = None
    group: str | None = None
    port: int | None = None
    ttl: int | None = None

    def content(self) -> dict[str, Any]:
        """It in the options' words, with what is stated."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, present: Daemon | None) -> Daemon:
        """What is to run when this is asked for and `present` runs."""
        base: dict[str, Any] = present.content() if present else _DEFAULTS
        unstated: dict[str, Any] = {name: base.get(name) for name in _SETTINGS if getattr(self, name) is None}
        wanted = replace(self, **unstated)
        if not wanted.interface:
            raise PocketError(
                f"interface is missing for the {self.daemon} daemon, which does not run yet; "
                "give the network interface that the directors reach each other over, such as eth0"
            )
        return wanted

    def may_shrink(self, present: Daemon | None) -> bool:
        """Whether the unstated size of messages, which fitted `present`, may be too large for what is stated here."""
        if present is None or self.sync_maxlen is not None:
            return False
        target = self.over(present)
        return target.interface != present.interface or (":" in (target.group or "")) != (":" in (present.group or ""))


_SETTINGS = ("interface", "sync_id", "sync_maxlen", "group", "port", "ttl")


@dataclass(frozen=True)
class DaemonWrite:
    """The payload of an operation on a daemon: stop what runs, where there is something, then start.

    :param may_shrink: whether the kernel may take less for its messages: nobody stated how much.
    """

    stop: Daemon | None
    start: Daemon | None
    may_shrink: bool = False


def parse_daemon(params: Mapping[str, Any]) -> Daemon:
    """A daemon as options or a declaration give it; PocketError for what the kernel refuses or changes."""
    daemon = Daemon(**{name: params.get(name) for name in ("daemon", *_SETTINGS)})  # type: ignore[arg-type]
    if daemon.daemon not in KINDS:
        raise PocketError(f"daemon is {daemon.daemon!r}; give {' or '.join(KINDS)}")
    if daemon.interface is not None and not 1 <= len(daemon.interface) <= 15:
        raise PocketError(f"interface is {daemon.interface!r}; give the name of a network interface, such as eth0")
    for name, low, high in (("sync_id", 0, 255), ("sync_maxlen", 1, 65535), ("port", 1, 65535), ("ttl", 1, 255)):
        value = getattr(daemon, name)
        if value is not None and not low <= value <= high:
            raise PocketError(f"{name} is {value}; give a whole number from {low} to {high}")
    if daemon.daemon == "backup" and (daemon.sync_maxlen or MIN_BACKUP_MAXLEN) < MIN_BACKUP_MAXLEN:
        raise PocketError(
            f"sync_maxlen of the backup daemon is {daemon.sync_maxlen}, which the kernel raises; "
            f"give {MIN_BACKUP_MAXLEN} or more"
        )
    return replace(daemon, group=None if daemon.group is None else _group(daemon.group))


def _group(text: str) -> str:
    try:
        group = ipaddress.ip_address(text.strip())
    except ValueError:
        group = None
    if group is None or not group.is_multicast:
        raise PocketError(f"group is {text!r}; give a multicast address, such as 224.0.0.81 or ff02::81")
    return str(group)


def daemon_plan(present: Iterable[Daemon], wanted: Iterable[Daemon], absent: Iterable[str] = ()) -> Iterator[Operation]:
    """The stops and starts that bring the daemons `wanted` about; those of the kinds `absent` are stopped."""
    running = {one.daemon: one for one in present}
    for one in wanted:
        now = running.get(one.daemon)
        target = one.over(now)
        if now is None:
            yield Operation("create", _name(one.daemon), None, _shown(target), DaemonWrite(None, target))
        elif target != now:
            write = DaemonWrite(now, target, one.may_shrink(now))
            yield Operation("edit", _name(one.daemon), _shown(now), _shown(target), write)
    for kind in absent:
        if kind in running:
            now = running[kind]
            yield Operation("delete", _name(kind), _shown(now), None, DaemonWrite(now, None))


def _name(kind: str) -> str:
    return f"{kind} sync daemon"


def _shown(daemon: Daemon) -> dict[str, Any]:
    return {name: value for name, value in daemon.content().items() if name != "daemon"}


def daemon_shortfall(after: Iterable[Daemon], written: Iterable[DaemonWrite]) -> list[str]:
    """What runs otherwise than it was started, one phrase for each."""
    running = {one.daemon: one for one in after}
    missed = []
    for write in written:
        kind = (write.start or write.stop or Daemon("")).daemon
        now = running.get(kind)
        if write.start is None or now is None:
            missed += [f"the {_name(kind)} {'still runs' if now else 'does not run'}"] if now != write.start else []
            continue
        missed += [
            f"{name} of the {_name(kind)} was to be {getattr(write.start, name)} and is {getattr(now, name)}"
            for name in _SETTINGS
            if getattr(write.start, name) not in (None, getattr(now, name))
            and not (name == "sync_maxlen" and write.may_shrink)
        ]
    return missed
