# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from functools import partial

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.info import TableInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import BulkTask, ServiceTask
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import Bench, MemoryKernel, WrittenInCheckModeError
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

WEB = {"address": "192.0.2.10", "port": 80, "dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]}
DNS = {"address": "192.0.2.10", "port": 53, "protocol": "udp", "dests": [{"address": "10.0.0.1"}]}
MARKED = {"fwmark": 7, "family": "ipv6"}
OURS = {"addresses": ["192.0.2.0/24"], "fwmarks": ["7"]}


@pytest.fixture
def table(bench: Bench):
    """Runs the module's task: in check mode, for real, and again."""
    return lambda *services, **params: bench.run(
        partial(BulkTask, connect=bench.kernel.connect), {"services": list(services), **params}
    )


@pytest.fixture
def refused(bench: Bench):
    return lambda *services, **params: bench.refusal(
        partial(BulkTask, connect=bench.kernel.connect), {"services": list(services), **params}
    )


def kinds(kernel: MemoryKernel) -> list[str]:
    return [write.kind for write in kernel.writes]


def test_many_services_come_in_one_task_and_stay_with_the_next(table, kernel: MemoryKernel):
    made = table(WEB, DNS, MARKED)
    assert made["writes"] == {
        "services": {"created": 3, "edited": 0, "deleted": 0},
        "dests": {"created": 3, "edited": 0, "deleted": 0},
    }
    assert kinds(kernel) == ["create"] * 6


def test_only_what_differs_is_written_additions_first_and_deletions_last(table, kernel: MemoryKernel):
    table(WEB, DNS, MARKED)
    kernel.writes.clear()
    web = {**WEB, "scheduler": "rr", "dests": [{"address": "10.0.0.2", "weight": 5}, {"address": "10.0.0.3"}]}
    changed = table(web, MARKED, purge=True, scope=OURS)
    assert kinds(kernel) == ["create", "edit", "edit", "delete", "delete"]
    assert changed["writes"]["services"] == {"created": 0, "edited": 1, "deleted": 1}
    assert changed["writes"]["dests"] == {"created": 1, "edited": 1, "deleted": 1}
    assert "udp 192.0.2.10:53" in changed["diff"]["before"]
    assert "udp 192.0.2.10:53" not in changed["diff"]["after"]


def test_without_purge_nothing_goes(table, kernel: MemoryKernel):
    table(WEB, DNS)
    assert table({**WEB, "dests": []})["changed"] is False
    assert table()["changed"] is False
    assert len(kernel.table) == 2


@pytest.mark.parametrize(
    ("scope", "gone"),
    [
        ({"addresses": ["192.0.2.10"]}, {"tcp 192.0.2.10:80", "tcp 192.0.2.10:8080"}),
        ({"addresses": ["192.0.2.0/24"], "ports": ["80", "90-100"]}, {"tcp 192.0.2.10:80"}),
        ({"addresses": ["192.0.2.0/24"], "ports": ["8000-8999"]}, {"tcp 192.0.2.10:8080"}),
        ({"addresses": ["198.51.100.0/24", "2001:db8::/32"]}, {"tcp 198.51.100.1:80", "tcp [2001:db8::1]:80"}),
        ({"fwmarks": ["1-6"]}, {"fwmark 5 ipv4"}),
        ({"fwmarks": ["5", "7"]}, {"fwmark 5 ipv4", "fwmark 7 ipv6"}),
    ],
)
def test_a_purge_stays_inside_its_scope(table, kernel: MemoryKernel, scope, gone):
    services = [
        {"address": "192.0.2.10", "port": 80},
        {"address": "192.0.2.10", "port": 8080},
        {"address": "198.51.100.1", "port": 80},
        {"address": "2001:db8::1", "port": 80},
        {"fwmark": 5},
        {"fwmark": 7, "family": "ipv6"},
    ]
    table(*services)
    before = {str(key) for key in kernel.table}
    table(purge=True, scope=scope)
    assert before - {str(key) for key in kernel.table} == gone


def test_what_the_information_module_returns_can_be_given_unchanged(table, kernel: MemoryKernel):
    table(WEB, DNS, MARKED)
    services = execute(partial(TableInfoTask, connect=kernel.connect), {})["services"]
    assert table(*services, purge=True, scope=OURS)["changed"] is False


def test_bad_items_are_named_and_nothing_is_written(refused, kernel: MemoryKernel):
    good = [{"address": f"192.0.2.{number}", "port": 80} for number in range(1, 200)]
    assert "services[199]: port is 70000" in refused(*good, {"address": "192.0.2.200", "port": 70000})
    assert "services[1]: dests[1]: weight is -1" in refused(
        good[0], {**good[1], "dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.2", "weight": -1}]}
    )
    assert "services[0] and services[2] are both tcp 192.0.2.1:80" in refused(good[0], good[1], good[0])
    assert kernel.opened == []
    wrong = {**WEB, "dests": [{"address": "10.0.0.1", "lower_threshold": 5}]}
    assert "tcp 192.0.2.10:80: lower_threshold of dest 10.0.0.1:80 is 5" in refused(*good[:3], wrong)
    assert kernel.writes == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"purge": True}, "purge is true without a scope"),
        ({"purge": True, "scope": {}}, "scope holds neither addresses nor fwmarks"),
        ({"purge": True, "scope": {"ports": ["80"]}}, "scope holds neither addresses nor fwmarks"),
        ({"purge": True, "scope": {"addresses": ["192.0.2.1/24"]}}, "host bits"),
        ({"purge": True, "scope": {"addresses": ["here"]}}, "'here'"),
        ({"purge": True, "scope": {"addresses": ["::/0"], "ports": ["90-80"]}}, "ports holds '90-80'"),
        ({"purge": True, "scope": {"addresses": ["::/0"], "ports": ["65536"]}}, "ports holds '65536'"),
        ({"purge": True, "scope": {"fwmarks": ["0"]}}, "fwmarks holds '0'"),
        (
            {"purge": True, "scope": {"addresses": ["198.51.100.0/24"]}},
            "services[0] is tcp 192.0.2.10:80, which is out",
        ),
        ({"drain": {"timeout": -1, "udp": "wait", "at_timeout": "fail"}}, "timeout is -1"),
    ],
)
def test_a_purge_needs_a_scope_that_holds_what_is_listed(refused, params, words):
    assert words in refused(WEB, **params)


def test_check_mode_cannot_write(kernel: MemoryKernel):
    with kernel.sealed(), pytest.raises(WrittenInCheckModeError):
        execute(partial(BulkTask, connect=kernel.connect), {"services": [WEB]})
    assert kernel.table == {}


def test_others_services_stay(table, kernel: MemoryKernel):
    execute(partial(ServiceTask, connect=kernel.connect), {"state": "present", "address": "198.51.100.9", "port": 1})
    table(WEB, purge=True, scope=OURS)
    table(purge=True, scope=OURS)
    assert {str(key) for key in kernel.table} == {"tcp 198.51.100.9:1"}


def test_a_long_list_is_not_returned_among_the_arguments(kernel: MemoryKernel):
    task = partial(BulkTask, connect=kernel.connect)
    many = [{"address": f"192.0.2.{number}", "port": 80} for number in range(1, 102)]
    assert "invocation" not in execute(task, {"services": many[:100], "purge": False})
    told = execute(task, {"services": many, "purge": False})["invocation"]["module_args"]
    assert told == {"services": "a list of 101 items", "purge": False}
    bad = refusal(task, {"services": [*many, {"port": 0}]})
    assert bad["invocation"]["module_args"] == {"services": "a list of 102 items"}
