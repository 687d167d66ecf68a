# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks behind the modules that look after services and dests. PRIVATE to the collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import Task
from . import netlink
from .backend import Backend, Connect, exclusive
from .declaration import parse_dest, parse_dest_key, parse_key, parse_wanted, parse_wanted_list
from .drain import Drain, await_drain, deferred, immediate, parse_drain, persistence_warnings
from .model import Service, ServiceKey, Table, declared
from .namespaces import parse_namespace
from .plan import Wanted, make_plan, missing_modules, outcome, shortfall
from .scope import Scope, parse_scope

__all__ = ["BulkTask", "DestTask", "ServiceTask", "TableTask"]

Params = Mapping[str, Any]


class TableTask(Task[Table]):
    """Brings virtual services to what is wanted of them.

    :param wanted: what is wanted of each service that is to be there.
    :param absent: the services that are not to be there.
    :param namespace: the network namespace that they live in, None for the own one.
    :param scope: where every service that is not wanted is not to be there.
    :param drain: how the connections of dests that are deleted are let end, None to delete them at once.
    """

    def __init__(
        self,
        connect: Connect,
        namespace: str | None,
        wanted: Sequence[Wanted] = (),
        absent: Sequence[ServiceKey] = (),
        scope: Scope | None = None,
        drain: Drain | None = None,
    ) -> None:
        self.wanted = wanted
        self.absent = absent
        self._keys = {one.service.key for one in wanted} | set(absent)
        self._scope = scope
        self._drain = drain
        self._left: list[dict[str, Any]] = []
        self._namespace = parse_namespace(namespace)
        self._connect = connect
        self._kernel: Backend | None = None

    def exclusive(self) -> AbstractContextManager[Any]:
        return exclusive()

    def kernel(self) -> Backend:
        """The table, opened on first use: after the request was found good."""
        if self._kernel is None:
            self._kernel = self._connect(self._namespace)
        return self._kernel

    def read(self) -> Table:
        table = self.kernel().read(self._keys, within=self._scope)
        self.kernel().require_modules(*missing_modules(table, self.wanted))
        return table

    def plan(self, current: Table) -> Plan:
        beyond = [key for key in current if key not in self._keys]
        return make_plan(
            current, self.wanted, [*self.absent, *sorted(beyond, key=ServiceKey.order)], self._drain or _at_once
        )

    def warnings(self, plan: Plan, current: Table) -> list[str]:
        return persistence_warnings(plan, current, self.kernel().sysctl)

    def apply(self, plan: Plan) -> None:
        self.kernel().apply(immediate(plan))

    def verify(self, plan: Plan, after: Table) -> None:
        missed = shortfall(after, immediate(plan))
        if missed:
            raise PocketError(
                f"The kernel took the request but did not keep all of it: {'; '.join(missed)}; "
                "give values that this kernel can hold, and look whether another program changes the same services",
                changed=True,
            )

    def settle(self, plan: Plan, after: Table) -> Table:
        if self._drain is None or not deferred(plan).changed:
            return after
        self._left = await_drain(plan, self._drain, self.kernel(), exclusive)
        return self.kernel().read(self._keys, within=self._scope)

    def after(self, plan: Plan, state: Table, applied: bool) -> Table:
        """The table to report: as read back, or as the plan would make it."""
        return state if applied else outcome(state, plan)

    def draining(self) -> dict[str, Any]:
        """The return value about what drains, where that was asked for."""
        return {} if self._drain is None else {"draining": self._left}


def _at_once(key: ServiceKey) -> bool:
    """Nothing drains."""
    return False


class ServiceTask(TableTask):
    """One virtual service: module ipvs_service."""

    def __init__(self, params: Params, connect: Connect = netlink.connect) -> None:
        wanted = parse_wanted(params)
        self._key = wanted.service.key
        drain = parse_drain(params.get("drain"))
        if params["state"] == "present":
            super().__init__(connect, params.get("namespace"), wanted=[wanted], drain=drain)
        else:
            super().__init__(connect, params.get("namespace"), absent=[self._key], drain=drain)

    def result(self, plan: Plan, state: Table, applied: bool) -> dict[str, Any]:
        service = self.after(plan, state, applied).get(self._key)
        return {"service": service.declaration() if service else None, **self.draining()}


class DestTask(TableTask):
    """One dest of a virtual service that exists: module ipvs_dest."""

    def __init__(self, params: Params, connect: Connect = netlink.connect) -> None:
        self._service = _named_service(params["service"])
        self._key = parse_dest_key(params, self._service)
        service = Service(self._service)
        if params["state"] == "present":
            wanted = Wanted(service, dests=(parse_dest(params, self._service),), must_exist=True)
        else:
            wanted = Wanted(service, absent_dests=(self._key,), must_exist=True)
        drain = None
        if params["state"] == "drained":
            drain = parse_drain({name: params[f"drain_{name}"] for name in ("timeout", "udp", "at_timeout", "step")})
        super().__init__(connect, params.get("namespace"), wanted=[wanted], drain=drain)

    def result(self, plan: Plan, state: Table, applied: bool) -> dict[str, Any]:
        service = self.after(plan, state, applied).get(self._service)
        dest = service.dests.get(self._key) if service else None
        return {"service": self._service.identity(), "dest": declared(dest) if dest else None, **self.draining()}


class BulkTask(TableTask):
    """Many virtual services: module ipvs_table."""

    def __init__(self, params: Params, connect: Connect = netlink.connect) -> None:
        purge = bool(params.get("purge"))
        wanted = parse_wanted_list([{**one, "purge_dests": purge} for one in params.get("services") or []])
        scope = _purge_scope(params, wanted) if purge else None
        super().__init__(
            connect, params.get("namespace"), wanted=wanted, scope=scope, drain=parse_drain(params.get("drain"))
        )

    def result(self, plan: Plan, state: Table, applied: bool) -> dict[str, Any]:
        done = Counter((one.payload.dest is not None, one.action) for one in plan)
        writes = {
            thing: {word: done[is_dest, action] for word, action in _WORDS.items()}
            for thing, is_dest in (("services", False), ("dests", True))
        }
        return {"writes": writes, **self.draining()}


_WORDS = {"created": "create", "edited": "edit", "deleted": "delete"}


def _purge_scope(params: Params, wanted: Sequence[Wanted]) -> Scope:
    if params.get("scope") is None:
        raise PocketError(
            "purge is true without a scope; state in scope which services are yours to remove, for instance "
            "scope: {addresses: [192.0.2.0/24]}, or {addresses: [0.0.0.0/0, '::/0'], fwmarks: [1-4294967295]} for all"
        )
    scope = parse_scope(params["scope"])
    for index, one in enumerate(wanted):
        if one.service.key not in scope:
            raise PocketError(
                f"services[{index}] is {one.service.key}, which is outside of scope; "
                "widen the scope, or leave the service to another task"
            )
    return scope


def _named_service(params: Params) -> ServiceKey:
    try:
        return parse_key(params)
    except PocketError as error:
        raise PocketError(f"service: {error.message}", code=error.code) from None
