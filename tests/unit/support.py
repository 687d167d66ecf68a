# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a task the way a module does, without a process: what unit tests of tasks stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._runner import Task, run

Make = Callable[[dict[str, Any]], Task[Any]]


class Exited(Exception):
    """The module ended well; `results` is what it returned."""

    def __init__(self, results: dict[str, Any]) -> None:
        super().__init__(results)
        self.results = results


class Failed(Exited):
    """The module ended in fail_json."""


class Module:
    """As much of AnsibleModule as the runner uses."""

    def __init__(self, params: dict[str, Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.warnings: list[str] = []

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **results: Any) -> None:
        raise Exited(results)

    def fail_json(self, **results: Any) -> None:
        raise Failed(results)


def execute(make_task: Make, params: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """The return values of a run that must end well; raises Failed otherwise."""
    try:
        run(Module(params, check), make_task)  # type: ignore[arg-type]
    except Failed:
        raise
    except Exited as exited:
        return exited.results
    raise AssertionError("the module did not exit")


def refusal(make_task: Make, params: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """The return values of a run that must fail."""
    try:
        execute(make_task, params, check)
    except Failed as failed:
        return failed.results
    raise AssertionError("the module did not fail")
