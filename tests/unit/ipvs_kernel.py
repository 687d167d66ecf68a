# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table in memory with the kernel's own manners, which cannot be written in check mode."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs import backend
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.daemon import Daemon, DaemonWrite
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import (
    DEST_SETTINGS,
    SERVICE_SETTINGS,
    TUNNEL_SETTINGS,
    Dest,
    ServiceKey,
    VirtualService,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.plan import Write
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.scope import Scope
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.settings import Settings, SettingsWrite
from ansible_collections.pocket.cloud.plugins.module_utils._plan import Plan
from ansible_collections.pocket.cloud.plugins.module_utils._runner import Task
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

LOADED = {"rr", "wrr", "lc", "wlc", "sh", "mh"}


class WrittenInCheckModeError(AssertionError):
    """A write while nothing may be written."""


class MemoryKernel:
    """As strict as the kernel: an edit replaces all, duplicates and missing objects are errors."""

    def __init__(self) -> None:
        self.table: dict[ServiceKey, VirtualService] = {}
        self.read_only = False
        self.writes: list[Write] = []
        self.opened: list[str | None] = []
        self.connection_list = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
        self.live: dict[str, int] = {}
        self.counted: dict[str, int] = {}
        self.sysctls = {"expire_quiescent_template": "0", "sync_threshold": "3 50"}
        self.timeouts = {"tcp": 900, "tcp_fin": 120, "udp": 300}
        self.running: dict[str, Daemon] = {}
        self.fits = 1472  # bytes, of a sync daemon's message
        self.other_writes: list[object] = []
        self.distort: Callable[[Write], Write] = lambda write: write

    def connect(self, namespace: str | None = None) -> MemoryKernel:
        self.opened.append(namespace)
        return self

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Nothing may be written in this block."""
        self.read_only = True
        try:
            yield
        finally:
            self.read_only = False

    def read(
        self,
        keys: Collection[ServiceKey] | None = None,
        stats: bool = False,
        within: Scope | None = None,
    ) -> dict[ServiceKey, VirtualService]:
        return {
            key: VirtualService(one.service, {dest: self._counted(key, at, stats) for dest, at in one.dests.items()})
            for key, one in self.table.items()
            if keys is None or key in keys or (within is not None and key in within)
        }

    def _counted(self, key: ServiceKey, dest: Dest, stats: bool) -> Dest:
        if not stats:
            return dest
        name = str(dest.key)
        counters = {"active_connections": self.live.get(name, 0), "connections": self.counted.get(name, 0)}
        return replace(dest, stats=counters)

    def sysctl(self, name: str) -> str | None:
        return self.sysctls.get(name)

    def apply(self, plan: Plan) -> None:
        for operation in plan:
            if self.read_only:
                raise WrittenInCheckModeError(operation)
            self.writes.append(operation.payload)
            self._write(self.distort(operation.payload))

    def _write(self, write: Write) -> None:
        key = write.service.key
        if write.dest is None:
            assert (key in self.table) != (write.kind == "create"), f"EEXIST or ESRCH: {write}"
            if write.kind == "delete":
                del self.table[key]
                return
            assert all(getattr(write.service, one.name) is not None for one in SERVICE_SETTINGS)
            dests = self.table[key].dests if write.kind == "edit" else {}
            self.table[key] = VirtualService(write.service, dests)
            return
        assert key in self.table, f"ESRCH: {write}"
        dests = dict(self.table[key].dests)
        assert (write.dest.key in dests) != (write.kind == "create"), f"EEXIST or ENOENT: {write}"
        if write.kind == "delete":
            del dests[write.dest.key]
        else:
            settings = DEST_SETTINGS[: -len(TUNNEL_SETTINGS)] if write.dest.forwarding != "tunnel" else DEST_SETTINGS
            assert all(getattr(write.dest, one.name) is not None for one in settings)
            dests[write.dest.key] = write.dest
        self.table[key] = VirtualService(self.table[key].service, dests)

    def require_modules(self, schedulers: Iterable[str], engines: Iterable[str]) -> None:
        for name in schedulers:
            if name not in LOADED:
                raise PocketError(f"scheduler is {name}, but this kernel comes without ip_vs_{name}")

    def info(self) -> dict[str, Any]:
        return {"version": "1.2.1", "connection_table_size": 4096}

    def settings(self) -> Settings:
        return Settings(dict(self.timeouts), dict(self.sysctls))

    def write_settings(self, write: SettingsWrite) -> None:
        self._may_write(write)
        self.timeouts.update(write.settings.timeouts)
        self.sysctls.update(write.settings.sysctls)

    def daemons(self) -> list[Daemon]:
        return list(self.running.values())

    def write_daemon(self, write: DaemonWrite) -> None:
        self._may_write(write)
        if write.stop is not None:
            del self.running[write.stop.daemon]
        if write.start is not None:
            assert write.start.daemon not in self.running, "EEXIST"
            length = min(write.start.sync_maxlen or self.fits, self.fits)
            self.running[write.start.daemon] = replace(write.start, sync_maxlen=length)

    def zero(self, key: ServiceKey | None) -> None:
        self._may_write(key)
        for dest in list(self.counted):
            if key is None or dest in {str(one) for one in self.table[key].dests}:
                self.counted[dest] = 0

    def connections(self) -> str:
        return self.connection_list

    def _may_write(self, write: object) -> None:
        if self.read_only:
            raise WrittenInCheckModeError(write)
        self.other_writes.append(write)


class Bench:
    """Runs tasks on a table in memory, each first in check mode, then for real, then again."""

    def __init__(self, kernel: MemoryKernel) -> None:
        self.kernel = kernel

    def run(self, make: Callable[[dict[str, Any]], Task[Any]], params: dict[str, Any]) -> dict[str, Any]:
        """What a run returned, after check mode told the same without a write; a second run must change nothing."""
        with self.kernel.sealed():
            predicted = execute(make, params, check=True)
        actual = execute(make, params)
        assert predicted == actual
        with self.kernel.sealed():
            repeated = execute(make, params)
        assert repeated["changed"] is False
        assert repeated["diff"] == {"before": "", "after": ""}
        return actual

    def refusal(self, make: Callable[[dict[str, Any]], Task[Any]], params: dict[str, Any]) -> str:
        """The sentence of a run that fails without a write, the same in check mode."""
        with self.kernel.sealed():
            predicted = refusal(make, params, check=True)
            actual = refusal(make, params)
        assert predicted == actual
        assert actual["changed"] is False
        message: str = actual["msg"]
        assert "\n" not in message
        return message


@pytest.fixture
def kernel(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryKernel:
    """An empty table; the lock lies in a directory of the test's."""
    monkeypatch.setattr(backend, "LOCK", str(tmp_path / "run" / "ipvs.lock"))
    return MemoryKernel()


@pytest.fixture
def bench(kernel: MemoryKernel) -> Bench:
    return Bench(kernel)
