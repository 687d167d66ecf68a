# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.config_task import ConfigTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.declarations import path_of
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import WrittenInCheckModeError
from ansible_collections.pocket.cloud.tests.unit.modules.test_ipvs_restore import World, world
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

__all__ = ["world"]


@pytest.fixture
def make(world: World):
    return lambda params: ConfigTask({"persistent": True, **params}, world.host(params.get("namespace")))


@pytest.fixture
def config(world: World, make):
    """Runs the module's task: in check mode, for real, and again."""
    return lambda **params: world.bench.run(make, params)


@pytest.fixture
def refused(world: World, make):
    return lambda **params: world.bench.refusal(make, params)


def kept(world: World) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(world.files.read(path_of("ipvs_config")) or "{}")
    return {name: content[name] for name in ("timeouts", "sysctls") if name in content}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"timeouts": {"tcp": 600}}, {"timeouts": {"tcp": 700}}),
        ({"timeouts": {"tcp_fin": 30, "udp": None}}, {"timeouts": {"tcp_fin": 60}}),
        ({"timeouts": {"udp": 1}}, {"timeouts": {"udp": 2}}),
        ({"sysctls": {"expire_quiescent_template": 1}}, {"sysctls": {"expire_quiescent_template": "0"}}),
        ({"sysctls": {"expire_quiescent_template": True}}, {"sysctls": {"expire_quiescent_template": "no"}}),
        ({"sysctls": {"sync_threshold": "3  60"}}, {"sysctls": {"sync_threshold": "4\t60"}}),
    ],
)
def test_each_setting_is_set_kept_and_changed(config, world: World, first, second):
    assert config(**first)["changed"] is True
    changed = config(**second)
    for kind, values in second.items():
        for name, value in values.items():
            text = value if kind == "timeouts" else " ".join(str(value).split()).replace("no", "0")
            assert changed[kind][name] == text
            assert kept(world)[kind][name] == text


def test_what_is_not_stated_stays_in_the_kernel_and_in_what_is_kept(config, world: World):
    config(timeouts={"tcp": 600}, sysctls={"expire_quiescent_template": 1})
    world.kernel.timeouts["tcp"] = 650  # by hand
    config(timeouts={"udp": 100})
    assert world.kernel.timeouts == {"tcp": 650, "tcp_fin": 120, "udp": 100}
    assert kept(world) == {"timeouts": {"tcp": 600, "udp": 100}, "sysctls": {"expire_quiescent_template": "1"}}


def test_what_is_not_persistent_is_not_kept(config, world: World):
    assert config(timeouts={"tcp": 600}, persistent=False)["timeouts"]["tcp"] == 600
    assert kept(world) == {}


def test_boot_brings_it_back(config, world: World):
    config(timeouts={"tcp": 600}, sysctls={"sync_threshold": "4 60"})
    world.kernel.timeouts["tcp"] = 900
    world.kernel.sysctls["sync_threshold"] = "3 50"
    said, problems = world.boot()
    assert (said, problems) == (["edit timeouts", "edit net.ipv4.vs"], [])
    assert world.kernel.timeouts["tcp"] == 600
    assert world.kernel.sysctls["sync_threshold"] == "4 60"
    assert world.restore() == ([], [])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"timeouts": {"tcp": 0}}, "timeouts: tcp is 0; give seconds from 1"),
        ({"timeouts": {"udp": 2**31}}, "timeouts: udp is 2147483648"),
        ({"sysctls": {"net.ipv4.vs.expire_nodest_conn": 1}}, "give the name below net.ipv4.vs alone"),
        ({"sysctls": {"expire_nodest": 1}}, "which this kernel does not have; it has expire_quiescent_template"),
        ({"sysctls": {"sync_threshold": "lots"}}, "sync_threshold is 'lots'; give a whole number"),
        ({"sysctls": {"sync_threshold": "\uff11"}}, "sync_threshold is '\uff11'; give a whole number"),
        ({"sysctls": {"sync_threshold": [4, 60]}}, "sync_threshold is [4, 60]; give a whole number"),
        ({"sysctls": {"sync_threshold": None}}, "sync_threshold is None; give a whole number"),
        ({"sysctls": {"../../../vm/swappiness": 1}}, "give the name below net.ipv4.vs alone"),
    ],
)
def test_bad_settings_are_refused_before_a_write(refused, world: World, params, words):
    assert words in refused(**params)
    assert kept(world) == {}


def test_two_declarations_that_contradict_are_refused(config, refused, world: World):
    world.run(name="other", timeouts={"tcp": 500}, sync_daemons=[{"daemon": "master", "interface": "lo"}])
    assert "timeout tcp is declared twice, as 500 by other and as 600 by ipvs_config" in refused(timeouts={"tcp": 600})
    message = world.refusal(sync_daemons=[{"daemon": "master", "interface": "lo", "ttl": 4}])
    assert "The master sync daemon is declared twice" in message


def test_a_daemon_that_is_no_more_declared_is_stopped_and_others_run_on(world: World):
    daemons = [{"daemon": kind, "interface": "lo", "sync_maxlen": 1400} for kind in ("master", "backup")]
    world.run(sync_daemons=daemons)
    assert set(world.kernel.running) == {"master", "backup"}
    world.run(sync_daemons=daemons[:1])
    assert set(world.kernel.running) == {"master"}
    world.kernel.running.clear()
    assert world.boot() == (["create master sync daemon"], [])


def test_a_value_that_the_kernel_does_not_keep_is_an_error(make, world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(world.kernel, "write_settings", lambda write: None)
    failed = refusal(make, {"timeouts": {"tcp": 600}})
    assert "timeout tcp was to be 600 and is 900" in failed["msg"]
    assert failed["changed"] is True


def test_check_mode_cannot_write(make, world: World):
    with world.kernel.sealed(), pytest.raises(WrittenInCheckModeError):
        execute(make, {"timeouts": {"tcp": 600}})
