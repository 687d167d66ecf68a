# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions that run a module in steps while it drains, with a scripted module."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest

LEFT = {
    "service": "tcp 192.0.2.10:80",
    "dest": "10.0.0.1:80",
    "active_connections": 2,
    "inactive_connections": 1,
    "persistent_connections": 0,
}
BEGUN = {"changed": True, "diff": {"before": "weight: 1"}, "warnings": ["it is persistent"], "draining": [LEFT]}
ENDED = {"changed": True, "diff": {"before": ""}, "draining": []}


class Run:
    """One task of an action: what it called the module with, what it showed, what it returned."""

    def __init__(self, name: str, args: dict[str, Any], answers: list[dict[str, Any]], **task: Any) -> None:
        self.called: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self._answers = iter(answers)
        action = importlib.import_module(f"ansible_collections.pocket.cloud.plugins.action.{name}").ActionModule
        task = {"args": args, "check_mode": False, "async_val": 0, "action": name, **task}
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp/none"))
        made = action(SimpleNamespace(**task), connection, None, None, None)
        made._execute_module = self._execute
        made._display = SimpleNamespace(display=self.shown.append)
        self.returned = made.run(task_vars={})

    def _execute(self, module_args: dict[str, Any] | None = None, **_others: Any) -> dict[str, Any]:
        self.called.append(module_args or {})
        return next(self._answers)


@pytest.mark.parametrize("name", ["ipvs_service", "ipvs_table"])
def test_what_is_left_is_shown_from_the_start_until_it_is_gone(name: str):
    run = Run(name, {"port": 80, "drain": {"timeout": 60, "udp": "ignore"}}, [BEGUN, BEGUN, ENDED])
    assert run.called == [{"port": 80, "drain": {"timeout": 60, "udp": "ignore", "step": step}} for step in (0, 5, 5)]
    told = "tcp 192.0.2.10:80 -> 10.0.0.1:80: 3 connections left (2 active, 1 inactive, 0 persistent), 0 s of 60 s"
    assert run.shown == ["it is persistent", told, told]
    assert run.returned == {**ENDED, "diff": BEGUN["diff"], "warnings": ["it is persistent"]}


def test_a_drained_dest_has_the_options_of_its_own():
    run = Run("ipvs_dest", {"state": "drained", "drain_step": "2"}, [BEGUN, ENDED])
    assert run.called == [{"state": "drained", "drain_timeout": 300, "drain_step": step} for step in (0, 2)]
    assert run.returned["changed"] is True


@pytest.mark.parametrize(
    ("name", "args", "task"),
    [
        ("ipvs_dest", {"state": "absent"}, {}),
        ("ipvs_service", {"port": 80}, {}),
        ("ipvs_service", {"drain": "now"}, {}),
        ("ipvs_service", {"drain": {}}, {"check_mode": True}),
        ("ipvs_service", {"drain": {}}, {"async_val": 60}),
        ("ipvs_table", {"drain": {"timeout": "soon"}}, {}),
        ("ipvs_table", {"drain": {"timeout": -1}}, {}),
        ("ipvs_dest", {"state": "drained", "drain_step": []}, {}),
    ],
)
def test_anything_else_is_the_modules_alone(name: str, args: dict[str, Any], task: dict[str, Any]):
    run = Run(name, args, [{"changed": False}], **task)
    assert (run.called, run.shown, run.returned) == ([{}], [], {"changed": False})


def test_no_time_at_all_is_none():
    run = Run("ipvs_table", {"drain": {"timeout": 0}}, [{"failed": True, "changed": True, "msg": "late"}])
    assert run.called == [{"drain": {"timeout": 0, "step": 0}}]
    assert run.returned["failed"] is True


def test_a_failure_in_a_later_step_still_tells_what_the_first_changed():
    run = Run("ipvs_table", {"drain": {}}, [BEGUN, {"failed": True, "changed": False, "msg": "late"}])
    assert run.returned["changed"] is True
    assert run.returned["diff"] == BEGUN["diff"]
