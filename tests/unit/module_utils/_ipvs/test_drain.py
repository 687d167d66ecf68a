# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections end before their dests are deleted; interrupted, late or disturbed, a drain tells the truth."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs import drain as drain_module
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.drain import deferred, immediate
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.plan import make_plan, outcome, shortfall
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import BulkTask, DestTask, ServiceTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import MemoryKernel, bench, kernel
from ansible_collections.pocket.cloud.tests.unit.module_utils._ipvs.test_plan import applied, tables, wanted_services
from ansible_collections.pocket.cloud.tests.unit.support import Exited, Module, execute, refusal

__all__ = ["bench", "kernel"]

WEB = {"address": "192.0.2.10", "port": 80}
DRAIN = {"timeout": 300, "udp": "wait", "at_timeout": "fail", "step": None}
DRAINED = {"state": "drained", **{f"drain_{name}": value for name, value in DRAIN.items()}}


class Clock:
    """Time that passes only in sleep; connections end when it is their time."""

    def __init__(self, kernel: MemoryKernel) -> None:
        self.kernel = kernel
        self.now = 0.0
        self.events: list[tuple[float, Any]] = []

    def at(self, when: float, event: Any) -> None:
        self.events.append((when, event))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when, event in [one for one in self.events if one[0] <= self.now]:
            self.events.remove((when, event))
            event()


@pytest.fixture
def clock(kernel: MemoryKernel, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(kernel)
    waiting = partial(drain_module.await_drain, clock=lambda: clock.now, sleep=clock.sleep)
    monkeypatch.setattr("ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks.await_drain", waiting)
    return clock


@pytest.fixture
def web(kernel: MemoryKernel) -> MemoryKernel:
    """A service with two dests, of which the first has three connections."""
    dests = [{"address": "10.0.0.1", "weight": 4}, {"address": "10.0.0.2"}]
    execute(partial(ServiceTask, connect=kernel.connect), {"state": "present", **WEB, "dests": dests})
    kernel.live["10.0.0.1:80"] = 3
    kernel.writes.clear()
    return kernel


def dest_task(kernel: MemoryKernel, **params: Any) -> dict[str, Any]:
    make = partial(DestTask, connect=kernel.connect)
    return execute(make, {"service": WEB, "address": "10.0.0.1", **DRAINED, **params})


def names(kernel: MemoryKernel) -> list[str]:
    return [str(dest) for one in kernel.table.values() for dest in one.dests]


def test_a_dest_goes_when_its_connections_have_ended(web: MemoryKernel, clock: Clock):
    def end() -> None:
        assert names(web) == ["10.0.0.1:80", "10.0.0.2:80"]
        assert [write.dest and write.dest.weight for write in web.writes] == [0]
        web.live.clear()

    clock.at(60, end)
    with web.sealed():
        predicted = execute(
            partial(DestTask, connect=web.connect), {"service": WEB, "address": "10.0.0.1", **DRAINED}, check=True
        )
    done = dest_task(web)
    assert done == predicted
    assert (done["changed"], done["dest"], done["draining"]) == (True, None, [])
    assert "weight: 4" in done["diff"]["before"]
    assert done["diff"]["after"] == ""
    assert names(web) == ["10.0.0.2:80"]
    assert 60 <= clock.now < 63
    assert dest_task(web)["changed"] is False


def test_an_interrupted_drain_goes_on(web: MemoryKernel, clock: Clock):
    first = dest_task(web, drain_step=5)
    assert first["draining"] == [
        {
            "service": "tcp 192.0.2.10:80",
            "dest": "10.0.0.1:80",
            "active_connections": 3,
            "inactive_connections": 0,
            "persistent_connections": 0,
        }
    ]
    assert first["dest"]["weight"] == 0
    web.writes.clear()
    web.live.clear()
    again = dest_task(web)
    assert (again["changed"], again["draining"]) == (True, [])
    assert [write.kind for write in web.writes] == ["delete"]


def test_a_drain_that_takes_too_long_fails_and_keeps_the_dest_at_weight_0(web: MemoryKernel, clock: Clock):
    params = {"service": WEB, "address": "10.0.0.1", **DRAINED, "drain_timeout": 20}
    failed = refusal(partial(DestTask, connect=web.connect), params)
    assert "tcp 192.0.2.10:80 -> 10.0.0.1:80 has 3 connections left" in failed["msg"]
    assert "run the task again to wait on" in failed["msg"]
    assert failed["changed"] is True
    assert failed["draining"][0]["active_connections"] == 3
    assert names(web) == ["10.0.0.1:80", "10.0.0.2:80"]
    assert clock.now == 20


def test_or_it_removes_the_dest_where_that_was_asked_for(web: MemoryKernel, clock: Clock):
    assert dest_task(web, drain_timeout=20, drain_at_timeout="remove")["dest"] is None
    assert names(web) == ["10.0.0.2:80"]


def test_a_dest_that_somebody_gave_weight_again_is_left_alone(web: MemoryKernel, clock: Clock):
    task = {"service": WEB, "address": "10.0.0.1", "weight": 2, "state": "present"}
    clock.at(3, lambda: execute(partial(DestTask, connect=web.connect), task))
    params = {"service": WEB, "address": "10.0.0.1", **DRAINED}
    failed = refusal(partial(DestTask, connect=web.connect), params)
    assert "somebody gave it weight 2 meanwhile" in failed["msg"]
    assert names(web) == ["10.0.0.1:80", "10.0.0.2:80"]


def test_a_dest_that_somebody_removed_meanwhile_is_fine(web: MemoryKernel, clock: Clock):
    task = {"service": WEB, "address": "10.0.0.1", "state": "absent"}
    clock.at(3, lambda: execute(partial(DestTask, connect=web.connect), task))
    assert dest_task(web)["dest"] is None


def test_a_service_is_removed_when_the_connections_of_all_its_dests_have_ended(web: MemoryKernel, clock: Clock):
    clock.at(30, web.live.clear)
    make = partial(ServiceTask, connect=web.connect)
    done = execute(make, {"state": "absent", **WEB, "drain": DRAIN})
    assert done["service"] is None
    assert [write.kind for write in web.writes] == ["edit", "edit", "delete"]
    assert done["diff"]["after"] == ""
    assert web.table == {}


def test_a_purged_dest_drains_and_the_others_do_not_wait(web: MemoryKernel, clock: Clock):
    clock.at(30, web.live.clear)
    services = [{**WEB, "scheduler": "rr", "dests": [{"address": "10.0.0.2"}, {"address": "10.0.0.3"}]}]
    params = {"services": services, "purge": True, "scope": {"addresses": ["192.0.2.0/24"]}, "drain": DRAIN}
    done = execute(partial(BulkTask, connect=web.connect), params)
    assert done["writes"]["dests"] == {"created": 1, "edited": 0, "deleted": 1}
    assert [write.kind for write in web.writes] == ["create", "edit", "edit", "delete"]


def test_udp_is_waited_for_or_not_as_is_asked(kernel: MemoryKernel, clock: Clock):
    dns = {"address": "192.0.2.10", "port": 53, "protocol": "udp"}
    make = partial(ServiceTask, connect=kernel.connect)
    for udp, waited in (("ignore", False), ("wait", True)):
        execute(make, {"state": "present", **dns, "dests": [{"address": "10.0.0.1"}]})
        kernel.live["10.0.0.1:53"] = 1
        clock.at(clock.now + 50, kernel.live.clear)
        before = clock.now
        execute(make, {"state": "absent", **dns, "drain": {**DRAIN, "udp": udp}})
        assert (clock.now > before) is waited


def test_persistence_that_keeps_a_drain_from_ending_is_said_beforehand(web: MemoryKernel, clock: Clock):
    params = {"service": WEB, "address": "10.0.0.1", **DRAINED}

    def warnings(check: bool) -> list[str]:
        module = Module(params, check)
        with pytest.raises(Exited):
            run(module, partial(DestTask, connect=web.connect))  # type: ignore[arg-type]
        return module.warnings

    assert warnings(check=True) == []
    execute(partial(ServiceTask, connect=web.connect), {"state": "present", **WEB, "persistence_timeout": 60})
    assert "expire_quiescent_template is 0" in warnings(check=True)[0]
    web.sysctls["expire_quiescent_template"] = "1"
    assert warnings(check=True) == []
    web.sysctls["expire_quiescent_template"] = "0"
    web.live.clear()
    assert "tcp 192.0.2.10:80 is persistent" in warnings(check=False)[0]


@settings(deadline=None)
@given(tables(), wanted_services(purge=True))
def test_what_drains_is_at_weight_0_before_it_is_deleted_and_the_end_is_the_same(current, wanted):
    plan = make_plan(current, wanted, drains=lambda key: True)
    after = applied(current, immediate(plan))
    assert shortfall(after, immediate(plan)) == []
    for operation in deferred(plan):
        write = operation.payload
        assert write.kind == "delete"
        assert after[write.service.key].dests[write.dest.key].weight == 0
    # A run that is killed here leaves the rest, and only that, to the next one.
    rest = make_plan(after, wanted, drains=lambda key: True)
    assert [one.subject for one in rest] == [one.subject for one in deferred(plan)]
    assert applied(after, rest) == outcome(current, make_plan(current, wanted))
