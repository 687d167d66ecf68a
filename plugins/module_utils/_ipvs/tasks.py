# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks behind the modules that look after services and dests. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import Task
from . import netlink
from .backend import Backend, Connect, exclusive
from .declaration import parse_dest, parse_dest_key, parse_key, parse_wanted
from .model import Service, ServiceKey, Table, declared
from .plan import Wanted, make_plan, missing_modules, outcome, shortfall

__all__ = ["DestTask", "ServiceTask", "TableTask"]

Params = Mapping[str, Any]


class TableTask(Task[Table]):
    """Brings virtual services to what is wanted of them.

    :param wanted: what is wanted of each service that is to be there.
    :param absent: the services that are not to be there.
    :param namespace: the network namespace that they live in, None for the own one.
    """

    def __init__(
        self, wanted: Sequence[Wanted], absent: Sequence[ServiceKey], namespace: str | None, connect: Connect
    ) -> None:
        self.wanted = wanted
        self.absent = absent
        self._namespace = namespace
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
        table = self.kernel().read([*(one.service.key for one in self.wanted), *self.absent])
        self.kernel().require_modules(*missing_modules(table, self.wanted))
        return table

    def plan(self, current: Table) -> Plan:
        return make_plan(current, self.wanted, self.absent)

    def apply(self, plan: Plan) -> None:
        self.kernel().apply(plan)

    def verify(self, plan: Plan, after: Table) -> None:
        missed = shortfall(after, plan)
        if missed:
            raise PocketError(
                f"The kernel took the request but did not keep all of it: {'; '.join(missed)}; "
                "give values that this kernel can hold, and look whether another program changes the same services",
                changed=True,
            )

    def after(self, plan: Plan, state: Table, applied: bool) -> Table:
        """The table to report: as read back, or as the plan would make it."""
        return state if applied else outcome(state, plan)


class ServiceTask(TableTask):
    """One virtual service: module ipvs_service."""

    def __init__(self, params: Params, connect: Connect = netlink.connect) -> None:
        wanted = parse_wanted(params)
        self._key = wanted.service.key
        present = params["state"] == "present"
        super().__init__([wanted] if present else [], [] if present else [self._key], params.get("namespace"), connect)

    def result(self, plan: Plan, state: Table, applied: bool) -> dict[str, Any]:
        service = self.after(plan, state, applied).get(self._key)
        return {"service": service.declaration() if service else None}


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
        super().__init__([wanted], [], params.get("namespace"), connect)

    def result(self, plan: Plan, state: Table, applied: bool) -> dict[str, Any]:
        service = self.after(plan, state, applied).get(self._service)
        dest = service.dests.get(self._key) if service else None
        return {"service": self._service.identity(), "dest": declared(dest) if dest else None}


def _named_service(params: Params) -> ServiceKey:
    try:
        return parse_key(params)
    except PocketError as error:
        raise PocketError(f"service: {error.message}", code=error.code) from None
