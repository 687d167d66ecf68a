# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks behind the modules about the whole table: its settings, its sync daemons, its counters. PRIVATE."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from .._errors import PocketError, in_turn
from .._plan import Operation, Plan
from .._runner import Task
from . import netlink
from .backend import Backend, Connect, exclusive
from .daemon import BOTH, KINDS, Daemon, daemon_plan, daemon_shortfall, parse_daemon
from .declaration import parse_key
from .declarations import Declaration
from .model import ServiceKey, Table
from .namespaces import parse_namespace
from .reconcile import Aim, Host
from .restore_task import RestoreState, RestoreTask
from .settings import Settings, parse_settings

__all__ = ["CONFIG", "ConfigTask", "DaemonTask", "ZeroTask"]

CONFIG = "ipvs_config"
"""The declaration that keeps the settings of the host's own network namespace for the next boot."""

Params = Mapping[str, Any]


class ConfigTask(RestoreTask):
    """Timeouts and sysctls, now and at every boot: module ipvs_config."""

    def __init__(self, params: Params, host: Host | None = None) -> None:
        self._stated = parse_settings(params)
        namespace = parse_namespace(params.get("namespace"))
        name = f"{CONFIG}-{namespace}" if namespace else CONFIG
        super().__init__({**params, "name": name, "state": "present", "apply": True}, host)
        self._keep = params["persistent"]

    def result(self, plan: Plan, state: RestoreState, applied: bool) -> dict[str, Any]:
        present = state.present.settings or Settings()
        settings = present if applied else self._stated.over(present)
        return {"timeouts": dict(settings.timeouts), "sysctls": dict(settings.sysctls)}

    def _aim(self, state: RestoreState) -> Aim:
        # What was kept before and is not stated now stays as it is in the kernel.
        return replace(super()._aim(state), settings=self._stated)

    def _read_declarations(self) -> tuple[Declaration | None, tuple[Declaration, ...]]:
        before, others = super()._read_declarations()
        kept = before.settings if before else Settings()
        self._declaration = replace(self._declaration, settings=self._stated.over(kept))
        return before, others


class _KernelTask:
    """What the tasks share that need nothing but the kernel."""

    def __init__(self, params: Params, connect: Connect) -> None:
        self._namespace = parse_namespace(params.get("namespace"))
        self._connect = connect
        self._opened: Backend | None = None

    def exclusive(self) -> AbstractContextManager[Any]:
        return exclusive()

    def kernel(self) -> Backend:
        """The table, opened on first use: after the request was found good."""
        if self._opened is None:
            self._opened = self._connect(self._namespace)
        return self._opened


class DaemonTask(_KernelTask, Task[list[Daemon]]):
    """One sync daemon, or both kinds with the same settings: module ipvs_sync_daemon."""

    def __init__(self, params: Params, connect: Connect = netlink.connect) -> None:
        kinds = KINDS if params["daemon"] == BOTH else (params["daemon"],)
        self._wanted = [parse_daemon({**params, "daemon": kind}) for kind in kinds]
        self._present = params["state"] == "present"
        super().__init__(params, connect)

    def read(self) -> list[Daemon]:
        return self.kernel().daemons()

    def plan(self, current: list[Daemon]) -> Plan:
        wanted = self._wanted if self._present else []
        absent = [] if self._present else [one.daemon for one in self._wanted]
        return Plan(tuple(daemon_plan(current, wanted, absent)))

    def apply(self, plan: Plan) -> None:
        in_turn(partial(self.kernel().write_daemon, operation.payload) for operation in plan)

    def verify(self, plan: Plan, after: list[Daemon]) -> None:
        missed = daemon_shortfall(after, [one.payload for one in plan])
        if missed:
            raise PocketError(
                f"The kernel did not keep all of it: {'; '.join(missed)}; give values that it can hold (a message has "
                "to fit into one packet of the interface)",
                changed=True,
            )

    def result(self, plan: Plan, state: list[Daemon], applied: bool) -> dict[str, Any]:
        running = {one.daemon: one for one in state}
        found = []
        for wanted in self._wanted:
            now = running.get(wanted.daemon)
            if not applied:
                now = wanted.over(now) if self._present else None
            if now is not None:
                # unknown is only what the kernel will take from the interface's MTU
                found.append({**dict.fromkeys(["daemon", "interface", "sync_id", "sync_maxlen"]), **now.content()})
        one = {"daemon": found[0] if found else None} if len(self._wanted) == 1 else {}
        return {**one, "daemons": found}


class ZeroTask(_KernelTask, Task[Table]):
    """Counters back to 0: module ipvs_zero."""

    def __init__(self, params: Params, connect: Connect = netlink.connect) -> None:
        listed = params.get("services")
        self._keys: list[ServiceKey] | None = None
        if listed is not None:
            self._keys = [_key(index, one) for index, one in enumerate(listed)]
        super().__init__(params, connect)

    def read(self) -> Table:
        table = self.kernel().read(self._keys, stats=True)
        for key in self._keys or ():
            if key not in table:
                raise PocketError(
                    f"The virtual service {key} does not exist, so it has no counters; "
                    "take it out of services, or create it with pocket.cloud.ipvs_service first"
                )
        return table

    def plan(self, current: Table) -> Plan:
        operations = []
        for key in sorted(current, key=ServiceKey.order):
            before = counters(current, key)
            if any(before.values()):
                payload = key if self._keys is not None else None
                operations.append(Operation("zero", str(key), before, dict.fromkeys(before, 0), payload))
        return Plan(tuple(operations))

    def apply(self, plan: Plan) -> None:
        if self._keys is None:
            self.kernel().zero(None)  # with the sum over all services, which has no name
        for operation in plan if self._keys is not None else ():
            self.kernel().zero(operation.payload)

    def verify(self, plan: Plan, after: Table) -> None:
        """Nothing to compare: traffic goes on counting."""

    def result(self, plan: Plan, state: Table, applied: bool) -> dict[str, Any]:
        return {"zeroed": [operation.subject for operation in plan]}


def counters(table: Table, key: ServiceKey) -> dict[str, int]:
    """The counters that only grow, of a service and its dests together."""
    found: dict[str, int] = {}
    for stats in (table[key].service.stats, *(dest.stats for dest in table[key].dests.values())):
        for name, value in (stats or {}).items():
            if not name.endswith(("_per_second", "_connections")):
                found[name] = found.get(name, 0) + value
    return found


def _key(index: int, params: Params) -> ServiceKey:
    try:
        return parse_key(params)
    except PocketError as error:
        raise PocketError(f"services[{index}]: {error.message}") from None
