# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from functools import partial

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.config_task import DaemonTask
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import Bench, MemoryKernel, WrittenInCheckModeError
from ansible_collections.pocket.cloud.tests.unit.support import Failed, execute


@pytest.fixture
def daemon(bench: Bench):
    """Runs the module's task: in check mode, for real, and again."""
    make = partial(DaemonTask, connect=bench.kernel.connect)
    return lambda kind="master", **params: bench.run(make, {"daemon": kind, "state": "present", **params})


@pytest.fixture
def refused(bench: Bench):
    make = partial(DaemonTask, connect=bench.kernel.connect)
    return lambda kind="master", **params: bench.refusal(make, {"daemon": kind, "state": "present", **params})


def test_a_daemon_is_started_with_defaults_and_stopped(daemon, kernel: MemoryKernel):
    started = daemon(interface="eth0", sync_maxlen=1400)
    assert started["daemon"] == {
        "daemon": "master",
        "interface": "eth0",
        "sync_id": 0,
        "sync_maxlen": 1400,
        "group": "224.0.0.81",
        "port": 8848,
        "ttl": 1,
    }
    daemon("backup", interface="eth0", sync_maxlen=1400)
    assert daemon(state="absent")["daemon"] is None
    assert list(kernel.running) == ["backup"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"interface": "eth0"}, {"interface": "eth1"}),
        ({"sync_id": 7}, {"sync_id": 8}),
        ({"sync_maxlen": 1024}, {"sync_maxlen": 1400}),
        ({"group": "224.0.0.9"}, {"group": "FF02:0::81"}),
        ({"port": 8849}, {"port": 8850}),
        ({"ttl": 2}, {"ttl": 3}),
    ],
)
def test_each_option_is_set_and_changed_and_the_others_stay(daemon, kernel: MemoryKernel, first, second):
    base = {"interface": "eth0", "sync_maxlen": 1200, "sync_id": 5, "ttl": 9}
    daemon(**{**base, **first})
    before = kernel.running["master"]
    changed = daemon(**second)
    assert changed["changed"] is True
    differing = [name for name, value in before.content().items() if changed["daemon"][name] != value]
    assert differing == list(second)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "interface is missing for the master daemon"),
        ({"interface": "a" * 16}, "interface is 'aaaaaaaaaaaaaaaa'"),
        ({"interface": "eth0", "sync_id": 256}, "sync_id is 256"),
        ({"interface": "eth0", "sync_maxlen": 0}, "sync_maxlen is 0"),
        ({"interface": "eth0", "port": 0}, "port is 0"),
        ({"interface": "eth0", "ttl": 256}, "ttl is 256"),
        ({"interface": "eth0", "group": "192.0.2.1"}, "group is '192.0.2.1'; give a multicast address"),
        ({"interface": "eth0", "group": "all"}, "group is 'all'"),
        ({"kind": "backup", "interface": "eth0", "sync_maxlen": 1000}, "give 1024 or more"),
    ],
)
def test_what_the_kernel_refuses_or_changes_is_refused_in_a_sentence(refused, params, words):
    assert words in refused(**params)


def test_check_mode_cannot_write(kernel: MemoryKernel):
    with kernel.sealed(), pytest.raises(WrittenInCheckModeError):
        execute(
            partial(DaemonTask, connect=kernel.connect), {"daemon": "master", "state": "present", "interface": "eth0"}
        )


def test_both_are_started_changed_and_stopped_together(daemon, refused, kernel: MemoryKernel):
    started = daemon("both", interface="eth0", sync_maxlen=1400)
    assert "daemon" not in started
    assert [one["daemon"] for one in started["daemons"]] == ["master", "backup"]
    daemon("backup", sync_id=3)
    assert {kind: one.sync_id for kind, one in kernel.running.items()} == {"master": 0, "backup": 3}
    changed = daemon("both", sync_id=3)
    assert changed["diff"]["after"].count("sync_id: 3") == 1
    assert daemon("both", state="absent")["daemons"] == []
    assert kernel.running == {}
    assert "sync_maxlen of the backup daemon is 1000" in refused("both", interface="eth0", sync_maxlen=1000)


@pytest.mark.parametrize("stated", [{"group": "ff02::81"}, {"interface": "eth1"}])
def test_a_size_that_nobody_stated_may_shrink_to_what_fits(daemon, kernel: MemoryKernel, stated):
    daemon(interface="eth0", sync_maxlen=1472)
    kernel.fits = 1452
    make = partial(DaemonTask, connect=kernel.connect)
    changed = execute(make, {"daemon": "master", "state": "present", **stated})
    assert changed["daemon"]["sync_maxlen"] == 1452
    assert daemon(**stated)["changed"] is False
    with pytest.raises(Failed) as caught:
        execute(make, {"daemon": "master", "state": "present", "sync_maxlen": 1472, "interface": "eth2"})
    assert "sync_maxlen of the master sync daemon was to be 1472 and is 1452" in caught.value.results["msg"]
