# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far cloud-init has come in a guest. PRIVATE to the collection.

Every cloud image lets it write to the console, which needs nothing in the guest and no network. Where the guest has
an agent that may read files, its own record of the result is read, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .connection import THREADS
from .console import log, plain
from .domain_xml import Files
from .guest_calls import GuestCalls
from .model import Instance
from .store import Store

__all__ = ["CloudInit", "Progress", "progress_of"]

# It is removed by the guest's reboot, and written when all is done.
_RESULT = "/run/cloud-init/result.json"
# The first thing it says at each boot, and the last; user data may word the last otherwise, so systemd's counts, too.
_BEGUN = re.compile(r"Cloud-init v\. \S+ running 'init-local'")
_FINISHED = re.compile(r"Cloud-init v\. \S+ finished at |Reached target (cloud-init\.target|Cloud-init target)")
_MODULE = re.compile(r"Running module (\S+) \(.*\) failed")
_FAILED = re.compile(r"\[(?:ERROR|CRITICAL)\]: (.+)|\[WARNING\]: (Failed .+)")
_NOT_UNDERSTOOD = re.compile(r"\[WARNING\]: Unhandled \S+ .*userdata")
# Looks at the console between two questions to the agent.
_RARELY = 7
_SHOWN = 3
_LENGTH = 200


@dataclass(frozen=True)
class Progress:
    """Whether it has finished, and what went wrong so far."""

    finished: bool = False
    errors: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What went wrong, the first of it, on one line."""
        more = len(self.errors) - _SHOWN
        shown = [" ".join(error.split())[:_LENGTH] for error in self.errors[:_SHOWN]]
        return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def progress_of(console: str) -> Progress:
    """Return what a console tells about the last boot that is on it."""
    text = plain(console)
    begun = [match.start() for match in _BEGUN.finditer(text)]
    lines = text[begun[-1] if begun else 0 :].split("\n")
    errors = [error for error in map(_error, lines) if error]
    return Progress(any(_FINISHED.search(line) for line in lines), tuple(dict.fromkeys(errors)))


def _error(line: str) -> str | None:
    module = _MODULE.search(line)
    if module:
        return f"its module {module[1]} failed"
    if _NOT_UNDERSTOOD.search(line):  # the line goes on with the data
        return "it does not understand the user data; it wants a first line such as '#!/bin/sh' or '#cloud-config'"
    failed = _FAILED.search(line)
    return (failed[1] or failed[2]) if failed else None


def _result_of(text: str | None) -> Progress | None:
    """Return what its own record says, none where there is no such record yet."""
    try:
        return Progress(True, tuple(map(str, json.loads(text or "")["v1"]["errors"])))
    except (ValueError, KeyError, TypeError):
        return None


class CloudInit:
    """Looks at the guests of a host, again and again."""

    def __init__(self, hypervisor: GuestCalls, store: Store) -> None:
        self._hypervisor = hypervisor
        self.store = store
        self._before: dict[str, int] = {}
        self._looks: dict[str, int] = {}

    def mark(self, instance_ids: Iterable[str]) -> None:
        """Remember that these are to be started: what their consoles have by now is of an earlier boot."""
        self._before.update({instance_id: len(self._console(instance_id)) for instance_id in instance_ids})

    def progress(self, instances: Sequence[Instance]) -> list[Progress]:
        """Return how far it has come in each guest."""
        if not instances:
            return []
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda instance: self._look(instance.instance_id), instances))

    def _look(self, instance_id: str) -> Progress:
        console = self._console(instance_id)
        before = self._before.get(instance_id, 0)
        # Less than there was: the beginning was thrown away meanwhile.
        told = progress_of(console[before:] if before <= len(console) else console)
        looks = self._looks[instance_id] = self._looks.get(instance_id, 0) + 1
        if not told.finished and looks % _RARELY:
            return told
        result = _result_of(self._hypervisor.guest_file(instance_id, _RESULT))
        if result is None:
            return told
        # The record has no word on user data that was not understood.
        return Progress(True, tuple(dict.fromkeys([*result.errors, *told.errors])))

    def _console(self, instance_id: str) -> str:
        return log(Files.of(self.store.instance_directory(instance_id)).console)[0]
