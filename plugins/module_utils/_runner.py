# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one course of every module: read, plan, apply, read back, exit. PRIVATE to the collection.

Check mode differs from a real run in one place only: `Task.apply` (with the read-back and the wait that belong to it)
is not called. This is also the only place that calls C(fail_json).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ._errors import PocketError
from ._plan import Plan

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

__all__ = ["InfoTask", "Task", "run"]

State = TypeVar("State")

SHOWN = 100
"""Items of a list that a module returns among its arguments."""

PRINTED = 1000
"""Operations that a module returns a diff of though nobody asked for one."""


class Task(ABC, Generic[State]):
    """One module call. Its constructor validates the whole request and raises PocketError before anything is read."""

    def exclusive(self) -> AbstractContextManager[Any]:
        """What keeps other runs out between read and read-back; check mode enters undisturbed() instead."""
        return nullcontext()

    def undisturbed(self) -> AbstractContextManager[Any]:
        """What check mode enters in place of exclusive(): keeps writers out while it reads, and writes nothing."""
        return nullcontext()

    @abstractmethod
    def read(self) -> State:
        """The present state of what the request concerns."""

    @abstractmethod
    def plan(self, current: State) -> Plan:
        """What is to be written. Pure: no I/O, no clock, no randomness."""

    def warnings(self, plan: Plan, current: State) -> list[str]:
        """What the user should know before the plan is applied; said in check mode, too."""
        return []

    @abstractmethod
    def apply(self, plan: Plan) -> None:
        """Write the plan."""

    @abstractmethod
    def verify(self, plan: Plan, after: State) -> None:
        """Compare what was asked with what was read back; raise PocketError that names what was dropped or clamped."""

    def settle(self, plan: Plan, after: State) -> State:
        """Wait for what the user wants to wait for, outside the exclusion; the state to report."""
        return after

    @abstractmethod
    def result(self, plan: Plan, state: State, applied: bool) -> dict[str, Any]:
        """The module's return values.

        `state` was read after the plan was applied; with `applied` false (check mode, or nothing to do) it is the
        state before, and what the plan would make of it is to be told.
        """


class InfoTask(Task[State]):
    """A module that only reads."""

    def plan(self, current: State) -> Plan:
        return Plan()

    def apply(self, plan: Plan) -> None:
        raise AssertionError("an information module has nothing to apply")

    def verify(self, plan: Plan, after: State) -> None:
        raise AssertionError("an information module has nothing to verify")


def run(module: AnsibleModule, make_task: Callable[[dict[str, Any]], Task[Any]]) -> NoReturn:
    """Carry out the task that `make_task` makes of the module's parameters, and exit."""
    try:
        results = _course(make_task(module.params), module)
    except PocketError as error:
        code = {"error_code": error.code} if error.code else {}
        module.fail_json(
            msg=error.message, changed=error.changed, **code, **error.results, **_invocation(module.params)
        )
    module.exit_json(**results, **_invocation(module.params))


def _invocation(params: Mapping[str, Any]) -> dict[str, Any]:
    """What is returned of the parameters where Ansible would copy a list of thousands, three times over."""
    long = {name: value for name, value in params.items() if isinstance(value, list) and len(value) > SHOWN}
    told = {name: f"a list of {len(value)} items" for name, value in long.items()}
    return {"invocation": {"module_args": {**params, **told}}} if long else {}


def _course(task: Task[State], module: AnsibleModule) -> dict[str, Any]:
    check_mode = module.check_mode
    with task.undisturbed() if check_mode else task.exclusive():
        state = task.read()
        plan = task.plan(state)
        for warning in task.warnings(plan, state):
            module.warn(warning)
        applied = plan.changed and not check_mode
        if applied:
            task.apply(plan)
            state = task.read()
            task.verify(plan, state)
    if not check_mode:
        state = task.settle(plan, state)
    return {"changed": plan.changed, **_diff(plan, module), **task.result(plan, state, applied)}


def _diff(plan: Plan, module: AnsibleModule) -> dict[str, Any]:
    """What is printed of the plan; where it would be long, only if it is going to be shown."""
    wanted = len(plan) <= PRINTED or getattr(module, "_diff", True)
    return {"diff": plan.diff()} if wanted else {}
