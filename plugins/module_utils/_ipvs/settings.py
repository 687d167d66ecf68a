# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeouts of connections and the settings net.ipv4.vs.*, which are of the whole table. PRIVATE to the collection.

Those that are not stated stay as they are, also those that were stated once and are no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import PocketError
from .._plan import Operation

__all__ = ["TIMEOUTS", "Settings", "SettingsWrite", "parse_settings", "settings_plan", "unkept"]

TIMEOUTS = ("tcp", "tcp_fin", "udp")

MAX_TIMEOUT = 2**31 // 100
"""Seconds. The kernel takes INT_MAX / HZ at most (ip_vs_set_timeout), and HZ is 100 at least."""

_VALUE = re.compile(r"-?[0-9]+([ ,-][0-9]+)*")


@dataclass(frozen=True)
class Settings:
    """What is stated, or what the kernel has.

    :param timeouts: seconds by the names in C(TIMEOUTS).
    :param sysctls: values as text, with one space between numbers, by the names below net.ipv4.vs.
    """

    timeouts: Mapping[str, int] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)

    def over(self, other: Settings) -> Settings:
        """These, and those of `other` that are not stated here."""
        return Settings({**other.timeouts, **self.timeouts}, {**other.sysctls, **self.sysctls})

    def content(self) -> dict[str, Any]:
        """Them in the options' words, sorted; nothing where nothing is stated."""
        found: dict[str, Any] = {}
        if self.timeouts:
            found["timeouts"] = {name: self.timeouts[name] for name in TIMEOUTS if name in self.timeouts}
        if self.sysctls:
            found["sysctls"] = dict(sorted(self.sysctls.items()))
        return found

    def items(self) -> Iterator[tuple[str, Any]]:
        """Each with its full name."""
        for name, seconds in self.timeouts.items():
            yield f"timeout {name}", seconds
        for name, value in self.sysctls.items():
            yield f"net.ipv4.vs.{name}", value


@dataclass(frozen=True)
class SettingsWrite:
    """The payload of an operation on settings: those that are to be written."""

    settings: Settings


def parse_settings(params: Mapping[str, Any]) -> Settings:
    """What the options `timeouts` and `sysctls` state; PocketError for what no kernel takes."""
    timeouts = {name: value for name, value in (params.get("timeouts") or {}).items() if value is not None}
    for name, value in timeouts.items():
        if name not in TIMEOUTS:
            raise PocketError(f"timeouts holds {name!r}; IPVS has {', '.join(TIMEOUTS)}")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TIMEOUT:
            raise PocketError(
                f"timeouts: {name} is {value!r}; give seconds from 1 to {MAX_TIMEOUT}, or leave it out to keep it"
            )
    return Settings(timeouts, {name: _value(name, value) for name, value in (params.get("sysctls") or {}).items()})


def _value(name: str, value: Any) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise PocketError(f"sysctls holds {name!r}; give the name below net.ipv4.vs alone, such as expire_nodest_conn")
    text = str(int(value)) if isinstance(value, bool) else " ".join(str(value).split())
    text = {"true": "1", "yes": "1", "false": "0", "no": "0"}.get(text.lower(), text)
    if not _VALUE.fullmatch(text):
        raise PocketError(f"sysctls: {name} is {value!r}; give a whole number, or several with spaces between them")
    return text


def settings_plan(present: Settings | None, wanted: Settings) -> Iterator[Operation]:
    """The writes: one for the timeouts, one for the sysctls. PocketError for a sysctl that the kernel has not.

    :param present: None where it cannot be read yet.
    """
    unknown = sorted(set(wanted.sysctls) - set(present.sysctls)) if present else []
    if present and unknown:
        known = ", ".join(sorted(present.sysctls))
        raise PocketError(f"sysctls holds {unknown[0]!r}, which this kernel does not have; it has {known}")
    present = present or Settings()
    timeouts = _differing(present.timeouts, wanted.timeouts)
    if timeouts:
        yield _operation("timeouts", present.timeouts, timeouts, Settings(timeouts=timeouts))
    sysctls = _differing(present.sysctls, wanted.sysctls)
    if sysctls:
        yield _operation("net.ipv4.vs", present.sysctls, sysctls, Settings(sysctls=sysctls))


def _differing(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sorted(wanted.items()) if present.get(name) != value}


def _operation(subject: str, present: Mapping[str, Any], changed: Mapping[str, Any], write: Settings) -> Operation:
    before = {name: present.get(name) for name in changed}
    return Operation("edit", subject, before, dict(changed), SettingsWrite(write))


def unkept(after: Settings, written: Iterable[SettingsWrite]) -> list[str]:
    """What the kernel has otherwise than it was written, one phrase for each."""
    now = dict(after.items())
    return [
        f"{name} was to be {value} and is {now.get(name)}"
        for write in written
        for name, value in write.settings.items()
        if now.get(name) != value
    ]
