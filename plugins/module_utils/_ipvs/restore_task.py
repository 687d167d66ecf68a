# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task that keeps a declaration and the program that restores it. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import os
import pkgutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._errors import PocketError, in_turn
from .._plan import Operation, Plan
from .._runner import Task
from . import restore
from .backend import exclusive
from .declarations import Declaration, Files, load_text, parse_declaration, path_of
from .netlink import UnavailableError
from .reconcile import KERNEL_WRITES, Aim, Host, Present, make_aim, reconcile_plan

__all__ = ["PROGRAM", "FileWrite", "RestoreTask"]

PROGRAM = "/usr/local/lib/pocket-cloud"
"""Where the program is kept: PYTHONPATH of the director's unit."""

_PACKAGE = "pocket_cloud"
_SHARED = ("_errors.py", "_plan.py")
_IPVS = (
    "__init__.py",
    "addresses.py",
    "backend.py",
    "checks.py",
    "daemon.py",
    "declaration.py",
    "declarations.py",
    "model.py",
    "modules.py",
    "namespaces.py",
    "netlink.py",
    "plan.py",
    "proc.py",
    "reconcile.py",
    "restore.py",
    "scope.py",
    "settings.py",
    "wire.py",
)


@dataclass(frozen=True)
class FileWrite:
    """The payload of an operation on files: path -> content, none to remove it."""

    files: Mapping[str, str | None]


@dataclass(frozen=True)
class RestoreState:
    """What the host has of a declaration.

    :param present: services and addresses; empty where they were not read.
    :param before: what the name declares until now.
    :param others: the other declarations in the same namespace.
    :param program: the program's files as they are.
    """

    present: Present
    before: Declaration | None
    others: tuple[Declaration, ...]
    program: Mapping[str, str | None]


class RestoreTask(Task[RestoreState]):
    """Keeps one declaration, and with `apply` also what it declares: module ipvs_restore."""

    def __init__(self, params: Mapping[str, Any], host: Host | None = None) -> None:
        self._remove = params["state"] == "absent"
        self._apply = params["apply"]
        given: Mapping[str, Any] = {"namespace": params.get("namespace")} if self._remove else params
        self._declaration = parse_declaration(params["name"], given)
        self._host = host or Host(self._declaration.namespace)
        self._files: Files = self._host.files
        self._unavailable: PocketError | None = None
        self._keep = True

    def exclusive(self) -> AbstractContextManager[Any]:
        return exclusive()

    def read(self) -> RestoreState:
        before, others = self._read_declarations()
        program = {path: self._files.read(path) for path in _sources()}
        state = RestoreState(Present(), before, others, program)
        aim = self._aim(state)
        return RestoreState(self._read_present(aim) if self._apply else Present(), before, others, program)

    def plan(self, current: RestoreState) -> Plan:
        operations = list(reconcile_plan(current.present, self._aim(current))) if self._apply else []
        if not self._keep:
            return Plan(tuple(operations))
        if not self._remove:
            operations += _program_operations(current.program)
        return Plan((*operations, *self._declaration_operations(current.before)))

    def apply(self, plan: Plan) -> None:
        if self._unavailable and any(isinstance(one.payload, KERNEL_WRITES) for one in plan):
            raise self._unavailable
        files = [one for one in plan if isinstance(one.payload, FileWrite)]
        rest = Plan(tuple(one for one in plan if not isinstance(one.payload, FileWrite)))
        # The kernel first: a run that is killed in between still finds in the old declaration what it has to remove.
        first = [partial(self._host.apply, rest)] if rest.changed else []
        in_turn([*first, *(partial(self._write, one.payload) for one in files)])

    def _write(self, write: FileWrite) -> None:
        for path, text in write.files.items():
            if text is None:
                self._files.remove(path)
            else:
                self._files.write(path, text)

    def verify(self, plan: Plan, after: RestoreState) -> None:
        missed = self._host.verify(plan, after.present)
        if missed:
            raise PocketError(
                f"The host took the request but did not keep all of it: {'; '.join(missed)}; "
                "look whether another program changes the same services or addresses",
                changed=True,
            )

    def result(self, plan: Plan, state: RestoreState, applied: bool) -> dict[str, Any]:
        declaration = None if self._remove else {"name": self._declaration.name, **self._declaration.content()}
        return {"declaration": declaration, "file": path_of(self._declaration.name)}

    def _aim(self, state: RestoreState) -> Aim:
        return make_aim(self._declaration, state.others, state.before)

    def _read_declarations(self) -> tuple[Declaration | None, tuple[Declaration, ...]]:
        name, namespace = self._declaration.name, self._declaration.namespace
        loaded = {one: load_text(one, self._files.read(path_of(one)) or "") for one in self._files.names()}
        before = loaded.pop(name, None)
        if before and before.namespace != namespace:
            raise PocketError(
                f"namespace is {namespace!r}, but the declaration {name} is for the network namespace "
                f"{before.namespace!r}; remove it there first (state: absent), or give this one another name"
            )
        return before, tuple(one for one in loaded.values() if one.namespace == namespace)

    def _read_present(self, aim: Aim) -> Present:
        """Services and addresses; none where the host has no IPVS yet, which only a write makes an error.

        So a play can be checked on a bare host, where an earlier task is to bring what is missing.
        """
        try:
            return self._host.read(aim)
        except UnavailableError as error:
            self._unavailable = error
            return self._host.read(Aim(aim.namespace, addresses=aim.addresses, others=aim.others))

    def _declaration_operations(self, before: Declaration | None) -> list[Operation]:
        path = path_of(self._declaration.name)
        after = None if self._remove else self._declaration
        held = before.content() if before else None
        wanted = after.content() if after else None
        if held == wanted:
            return []
        action = "edit" if before and after else "create" if after else "delete"
        return [Operation(action, path, held, wanted, FileWrite({path: after.text() if after else None}))]


def _sources() -> dict[str, str]:
    """The program's files: the very code that runs here."""
    shared = __name__.rpartition("._ipvs.")[0]
    names = {
        **{name: (shared, name) for name in _SHARED},
        **{f"_ipvs/{name}": (restore.__package__, name) for name in _IPVS},
    }
    found = {os.path.join(PROGRAM, _PACKAGE, "__init__.py"): ""}
    for target, (package, name) in names.items():
        found[os.path.join(PROGRAM, _PACKAGE, target)] = (pkgutil.get_data(package or "", name) or b"").decode()
    return found


def _program_operations(present: Mapping[str, str | None]) -> list[Operation]:
    wanted = _sources()
    differing = {path: text for path, text in wanted.items() if present.get(path) != text}
    if not differing:
        return []
    before = _digest(present) if any(text is not None for text in present.values()) else None
    action = "edit" if before else "create"
    return [Operation(action, os.path.join(PROGRAM, _PACKAGE), before, _digest(wanted), FileWrite(differing))]


def _digest(files: Mapping[str, str | None]) -> dict[str, str]:
    """What a diff shows of a program: enough to see that it is another."""
    joined = "\0".join(f"{path}\0{text or ''}" for path, text in sorted(files.items()))
    return {"sha256": hashlib.sha256(joined.encode()).hexdigest()}
