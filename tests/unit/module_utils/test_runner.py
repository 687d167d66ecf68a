# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._plan import Operation, Plan, WhenPrinted
from ansible_collections.pocket.cloud.plugins.module_utils._runner import InfoTask, Task, run
from ansible_collections.pocket.cloud.tests.unit.support import Exited, Module, execute, refusal


class Lamp(Task[dict]):
    """Sets a lamp that lives in a dictionary; one that is broken does not light."""

    def __init__(self, params: dict) -> None:
        self.lamp, self.wanted, self.log = params["lamp"], params["lit"], params["log"]
        if not isinstance(self.wanted, bool):
            raise PocketError(f"lit is {self.wanted!r}; true or false is needed", code="InvalidParameterValue")

    def read(self) -> dict:
        self.log.append("read")
        return dict(self.lamp)

    def plan(self, current: dict) -> Plan:
        if current["lit"] == self.wanted:
            return Plan()
        return Plan((Operation("edit", "lamp", {"lit": current["lit"]}, {"lit": self.wanted}),))

    def apply(self, plan: Plan) -> None:
        self.log.append("apply")
        self.lamp["lit"] = self.wanted and not self.lamp.get("broken", False)

    def verify(self, plan: Plan, after: dict) -> None:
        if after["lit"] != self.wanted:
            raise PocketError("lit was set to true, but the lamp stays dark; change the bulb", changed=True, lamp=after)

    def settle(self, plan: Plan, after: dict) -> dict:
        self.log.append("settle")
        return after

    def result(self, plan: Plan, state: dict, applied: bool) -> dict:
        return {"lamp": state if applied or not plan.changed else {"lit": self.wanted}}


@pytest.fixture
def params():
    return {"lamp": {"lit": False}, "lit": True, "log": []}


def test_a_real_run_reads_applies_reads_back_and_settles(params):
    results = execute(Lamp, params)
    assert results["changed"] is True
    assert results["lamp"] == {"lit": True}
    assert params["log"] == ["read", "apply", "read", "settle"]


def test_check_mode_tells_the_same_and_writes_nothing(params):
    predicted = execute(Lamp, params, check=True)
    assert params["log"] == ["read"]
    assert params["lamp"] == {"lit": False}
    assert predicted == execute(Lamp, params)


def test_the_second_run_is_unchanged(params):
    execute(Lamp, params)
    params["log"].clear()
    assert execute(Lamp, params)["changed"] is False
    assert params["log"] == ["read", "settle"]


def test_what_was_not_taken_is_an_error_that_carries_its_results(params):
    params["lamp"]["broken"] = True
    failure = refusal(Lamp, params)
    assert failure["changed"] is True
    assert "change the bulb" in failure["msg"]
    assert failure["lamp"] == {"lit": False, "broken": True}


def test_bad_input_fails_before_anything_is_read(params):
    params["lit"] = "maybe"
    failure = refusal(Lamp, params)
    assert failure["msg"] == "lit is 'maybe'; true or false is needed"
    assert failure["error_code"] == "InvalidParameterValue"
    assert params["log"] == []


def test_an_information_module_never_changes():
    class Answer(InfoTask[int]):
        def read(self) -> int:
            return 42

        def result(self, plan: Plan, state: int, applied: bool) -> dict:
            return {"answer": state}

    assert execute(lambda params: Answer(), {}) == {"changed": False, "diff": {"before": "", "after": ""}, "answer": 42}


class Street(Lamp):
    """Sets as many lamps as it is told."""

    def plan(self, current: dict) -> Plan:
        return Plan(
            tuple(
                Operation("edit", f"lamp {number}", {"lit": False}, WhenPrinted(lambda: {"lit": True}))
                for number in range(self.lamp["count"])
            )
        )


@pytest.mark.parametrize(("count", "shown", "printed"), [(1000, False, True), (1001, False, False), (1001, True, True)])
def test_a_long_diff_is_made_where_somebody_reads_it(params, count: int, shown: bool, printed: bool):
    params["lamp"]["count"] = count
    module = Module(params, check_mode=True)
    module._diff = shown  # type: ignore[attr-defined]
    with pytest.raises(Exited) as exited:
        run(module, Street)  # type: ignore[arg-type]
    assert exited.value.results["changed"] is True
    assert ("diff" in exited.value.results) is printed
    if printed:
        assert exited.value.results["diff"]["after"].count("lit: true") == count
