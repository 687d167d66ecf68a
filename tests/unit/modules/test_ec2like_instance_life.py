# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts and room, tokens, protection, policies, and changes in place."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import acceleration, parameters
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.capacity import HostSize
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.images import Image, ImageSource
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import Host
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.parameters import draw
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_instance import (
    WEB,
    Desk,
    assert_whole,
    kill_after,
)
from ansible_collections.pocket.cloud.tests.unit.support import Exited, Module, refusal


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


# Counts, room and tokens


def test_as_many_are_launched_as_there_is_room_for(desk: Desk) -> None:
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=256 + 5 * 100)
    small = {"vcpus": 1, "memory_mib": 100, "tags": WEB}
    assert len(desk.call(min_count=2, max_count=4, **small)["instance_ids"]) == 4
    assert len(desk.call(min_count=1, max_count=4, **small)["instance_ids"]) == 1
    failed = desk.refuse(min_count=1, max_count=4, **small)
    assert failed["error_code"] == "InsufficientInstanceCapacity"
    assert "1 instances of 1 vCPUs and 100 MiB each are to run, and this host has room for 0 MiB" in failed["msg"]
    assert str(desk.store.root / "capacity.json") in failed["msg"]
    # What is stopped takes no room, and finds none when others took it.
    ids = desk.call(tags=WEB, state="stopped")["instance_ids"]
    desk.call(count=3, **small)
    assert "5 stopped instances" in desk.refuse(instance_ids=ids, state="running")["msg"]
    assert desk.again(instance_ids=ids[:2], state="running")["changed"] is True


def test_what_the_same_run_starts_and_resizes_takes_room_from_what_it_launches(desk: Desk) -> None:
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=256 + 5 * 100)
    small: dict[str, Any] = {"vcpus": 1, "memory_mib": 100, "tags": WEB}
    desk.call(exact_count=3, **small)
    desk.call(tags=WEB, state="stopped")
    failed = desk.refuse(exact_count=8, state="running", **small)
    assert failed["error_code"] == "InsufficientInstanceCapacity"
    assert "5 instances of 1 vCPUs and 100 MiB each are to run, and this host has room for 200 MiB" in failed["msg"]
    assert len(desk.again(exact_count=5, state="running", **small)["instance_ids"]) == 5
    desk.call(exact_count=2, **small)
    grown = {**small, "memory_mib": 200, "allow_stop": True}
    assert "room for 100 MiB" in desk.refuse(exact_count=3, **grown)["msg"]


def test_the_operator_says_how_much_instances_may_have(desk: Desk) -> None:
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=1000, others_mib=100)
    policy = desk.store.root / "capacity.json"
    policy.write_text('{"memory_overcommit": 2, "memory_reserved_mib": 900, "vcpus_per_cpu": 1.5}')
    assert desk.refuse(count=4, vcpus=1, memory_mib=32)["error_code"] == "InsufficientInstanceCapacity"
    assert desk.refuse(count=1, vcpus=1, memory_mib=1001)["error_code"] == "InsufficientInstanceCapacity"
    desk.call(count=2, vcpus=1, memory_mib=500)
    for text, said in (
        ("[]", "not a mapping"),
        ("{", "not valid JSON"),
        ('{"memory": 1}', "'memory'"),
        ('{"vcpus_per_cpu": 0}', "vcpus_per_cpu: 0"),
        ('{"memory_overcommit": 1e999}', "memory_overcommit: inf"),
        ('{"memory_reserved_mib": 1e300}', "memory_reserved_mib: 1e+300"),
        ('{"memory_overcommit": NaN}', "memory_overcommit: nan"),
        ('{"boots_at_once": "3"}', "boots_at_once: '3'"),
    ):
        policy.write_text(text)
        assert said in desk.refuse(count=1)["msg"]


def test_below_the_minimum_nothing_is_left(desk: Desk) -> None:
    empty = desk.snapshot()

    def make(params: Any) -> Any:
        task = desk.task(params)
        desk.hypervisor.broken["start"] = task._request.drawn.instance_ids[1]  # type: ignore[attr-defined]
        return task

    failed = refusal(make, {**PARAMS, "min_count": 3, "max_count": 3, "tags": WEB})
    assert (failed["instances"], len(failed["failures"])) == ([], 1)
    assert desk.snapshot() == empty
    failed = refusal(make, {**PARAMS, "min_count": 2, "max_count": 3, "tags": WEB})
    assert (len(failed["instances"]), len(failed["failures"])) == (2, 1)


def test_killed_anywhere_below_the_minimum_nothing_is_left_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            empty = desk.snapshot()

            def make(params: Any, desk: Desk = desk) -> Any:
                task = desk.task(params)
                desk.hypervisor.broken["start"] = task._request.drawn.instance_ids[2]  # type: ignore[attr-defined]
                return task

            desk.guard.left = number
            killed = False
            try:
                refusal(make, {**PARAMS, "min_count": 3, "max_count": 3, "tags": WEB})
            except Killed:
                killed = True
            desk.guard.left = None
            desk.hypervisor.broken.clear()
            desk.again(exact_count=1, tags=WEB)
            assert_whole(desk, 1)
            desk.call(tags=WEB, state="terminated")
            assert desk.snapshot() == empty
        if not killed:
            break
    assert number >= 3 * 7


def test_a_client_token_launches_once(desk: Desk) -> None:
    asked = {"count": 2, "tags": WEB, "client_token": "a-1"}
    first = desk.again(**asked)
    second = desk.call(**asked)
    assert second["instance_ids"] == first["instance_ids"]
    assert {one["reservation_id"] for one in second["instances"]} == {first["reservation_id"]}
    assert {one["client_token"] for one in second["instances"]} == {"a-1"}
    assert "a-1" not in first["diff"]["after"].replace("client_token: a-1", "")
    failed = desk.refuse(**{**asked, "count": 3})
    assert failed["error_code"] == "IdempotentParameterMismatch"
    assert desk.refuse(**{**asked, "memory_mib": 64, "vcpus": 1})["error_code"] == "IdempotentParameterMismatch"
    desk.call(instance_ids=first["instance_ids"][:1], state="terminated")
    assert desk.again(**asked)["instance_ids"] == first["instance_ids"][1:]
    desk.call(instance_ids=first["instance_ids"], state="terminated")
    assert desk.refuse(**asked)["error_code"] == "IdempotentInstanceTerminated"
    assert len(desk.again(**{**asked, "client_token": "a-2"})["instance_ids"]) == 2


def test_killed_anywhere_a_launch_by_token_is_finished_and_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"count": 2, "client_token": "t", "tags": WEB}
    for number in range(1000):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            killed = kill_after(desk, number, **asked)
            begun = desk.store.records("client-token").get("t")
            result = desk.again(**asked)
            assert_whole(desk, 2)
            if begun is not None:
                assert result["instance_ids"] == begun["instance_ids"]
            assert [one["ami_launch_index"] for one in result["instances"]] == [0, 1]
            assert len({one["reservation_id"] for one in result["instances"]}) == 1
        if not killed:
            break
    assert number >= 2 * 7


def test_the_rest_of_a_launch_by_token_needs_room_too(desk: Desk) -> None:
    asked: dict[str, Any] = {"count": 2, "client_token": "t", "vcpus": 1, "memory_mib": 100, "tags": WEB}
    kill_after(desk, 2, **asked)  # the token is written, and little more
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=256 + 100)
    assert desk.refuse(**asked)["error_code"] == "InsufficientInstanceCapacity"
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=256 + 200)
    assert len(desk.again(**asked)["instance_ids"]) == 2


def test_a_token_is_not_launched_again_when_its_instances_are_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"count": 2, "client_token": "t", "tags": WEB}
    first, second = desk.call(**asked)["instance_ids"]
    desk.call(instance_ids=[first], state="terminated")
    later = draw(1).launch_time.replace("20", "30", 1)
    monkeypatch.setattr(parameters, "draw", lambda count: replace(draw(count), launch_time=later))
    monkeypatch.setattr(desk.store, "tombstones", list)
    assert desk.again(**asked)["instance_ids"] == [second]
    desk.call(instance_ids=[second], state="terminated")
    assert desk.refuse(**asked)["error_code"] == "IdempotentInstanceTerminated"


# Protection, policies and what guests do themselves


def test_protected_instances_are_not_terminated(desk: Desk) -> None:
    ids = desk.again(exact_count=2, tags=WEB, termination_protection=True)["instance_ids"]
    failed = desk.refuse(instance_ids=ids, state="terminated")
    assert failed["error_code"] == "OperationNotPermitted"
    assert ids[0] in failed["msg"]
    assert desk.refuse(exact_count=1, tags=WEB)["error_code"] == "OperationNotPermitted"
    assert desk.again(instance_ids=ids[:1], termination_protection=False)["changed_ids"] == ids[:1]
    assert desk.again(instance_ids=ids[:1], state="terminated")["terminated_ids"] == ids[:1]
    assert desk.again(tags=WEB, state="terminated", termination_protection=False)["terminated_ids"] == ids[1:]


def test_the_oldest_go_first_where_that_is_asked_for(desk: Desk) -> None:
    ids = desk.call(exact_count=3, tags=WEB)["instance_ids"]
    assert desk.again(exact_count=1, tags=WEB, termination_policy="oldest")["terminated_ids"] == ids[:2]


@pytest.mark.parametrize(
    ("policy", "running", "stopped"), [("running", True, False), ("always", True, True), ("never", False, False)]
)
def test_what_starts_at_boot_is_the_policys(desk: Desk, policy: str, running: bool, stopped: bool) -> None:
    (one,) = desk.again(name="a", restart_policy=policy)["instance_ids"]
    assert (one in desk.hypervisor.at_boot) is running
    desk.call(name="a", state="stopped")
    assert (one in desk.hypervisor.at_boot) is stopped
    for other in ("never", "always", "running", policy):
        result = desk.again(name="a", restart_policy=other)
        assert result["instances"][0]["restart_policy"] == other
        assert (one in desk.hypervisor.at_boot) is (other == "always")


def test_a_guest_that_shuts_itself_down_is_stopped_or_terminated_as_it_was_launched(desk: Desk) -> None:
    (stays,) = desk.call(name="a")["instance_ids"]
    (goes,) = desk.again(name="b", instance_initiated_shutdown_behavior="terminate")["instance_ids"]
    for one in (stays, goes):
        desk.hypervisor.shut_itself_down(one)
    states = desk.states()
    assert states == {stays: "stopped", goes: "shutting-down"}
    result = desk.again(name="a")
    assert result["instances"][0]["state_transition_reason"] == "Instance initiated shutdown"
    assert desk.states() == {stays: "stopped"}
    gone = desk.call(instance_ids=[goes], state="terminated")["instances"][0]
    assert gone["state"]["name"] == "terminated"


def test_to_stop_or_restart_an_instance_is_never_to_terminate_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for state in ("stopped", "restarted"):
        for number in range(8):
            with monkeypatch.context() as patches:
                desk = Desk(tmp_path / f"{state}{number}", patches)
                (one,) = desk.call(name="a", instance_initiated_shutdown_behavior="terminate")["instance_ids"]
                kill_after(desk, number, name="a", state=state)
                assert desk.states()[one] in ("running", "stopped")
                assert desk.again(name="a", state="running")["instance_ids"] == [one]


def test_hibernate_keeps_what_the_guest_was_doing(desk: Desk) -> None:
    (one,) = desk.call(name="a")["instance_ids"]
    failed = desk.refuse(name="a", state="stopped", hibernate=True, instance_type="t3.nano")
    assert "cannot be hibernated by a run that changes its instance_type" in failed["msg"]
    result = desk.again(name="a", state="stopped", hibernate=True)
    assert result["instances"][0]["state_transition_reason"] == "User initiated hibernate"
    assert desk.hypervisor.hibernated == {one}
    failed = desk.refuse(name="a", instance_type="t3.nano")
    assert failed["error_code"] == "IncorrectInstanceState"
    assert "hibernated" in failed["msg"]
    assert desk.again(name="a", state="running")["instances"][0]["state_transition_reason"] == ""
    assert desk.hypervisor.hibernated == set()


def test_libvirt_alone_says_what_is_hibernated(desk: Desk) -> None:
    (one,) = desk.call(name="a")["instance_ids"]
    kill_after(desk, 1, name="a", state="stopped", hibernate=True)
    assert desk.hypervisor.hibernated == {one}
    (found,) = desk.again(name="a", state="stopped")["instances"]
    assert found["state_transition_reason"] == "User initiated hibernate"
    for change in ({"instance_type": "t3.nano"}, {"root_size_gib": 8}):
        assert "is hibernated" in desk.refuse(name="a", **change)["msg"]
    # Started and ended by others, it has nothing left that a change could spoil.
    desk.hypervisor.hibernated.clear()
    assert desk.again(name="a", instance_type="t3.nano")["instances"][0]["state_transition_reason"] == ""


def test_a_stop_before_the_hosts_boot_does_not_account_for_what_a_guest_does_after_it(desk: Desk) -> None:
    asked = {"restart_policy": "always", "instance_initiated_shutdown_behavior": "terminate"}
    ids = desk.call(exact_count=2, tags=WEB, **asked)["instance_ids"]
    desk.call(tags=WEB, state="stopped")
    desk.hypervisor.reboot()
    assert desk.states() == dict.fromkeys(ids, "running")
    desk.hypervisor.shut_itself_down(ids[0])
    assert desk.states() == {ids[0]: "shutting-down", ids[1]: "running"}
    desk.call(instance_ids=ids[1:], state="stopped")
    assert desk.states() == {ids[1]: "stopped"}


def test_a_stop_of_unknown_time_terminates_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = desk.call(name="a", instance_initiated_shutdown_behavior="terminate")["instance_ids"]
    for before, after in ((None, "boot-1"), ("boot-1", None)):
        monkeypatch.setattr(desk.hypervisor, "boot", lambda before=before: before)
        desk.call(name="a", state="running")
        desk.call(name="a", state="stopped")
        monkeypatch.setattr(desk.hypervisor, "boot", lambda after=after: after)
        assert desk.states() == {one: "stopped"}


# Changes in place


def test_a_stopped_instance_is_given_another_size(desk: Desk) -> None:
    before = desk.call(name="a", instance_type="t3.nano", state="present")["instances"][0]
    failed = desk.refuse(name="a", instance_type="t3.small")
    assert failed["error_code"] == "IncorrectInstanceState"
    assert "is running with t3.nano (2 vCPUs, 512 MiB), and to give it t3.small (2 vCPUs, 2048 MiB)" in failed["msg"]
    assert "allow_stop: true" in failed["msg"]
    desk.call(name="a", state="stopped")
    result = desk.again(name="a", instance_type="t3.small")
    after = result["instances"][0]
    assert (after["instance_type"], after["memory_mib"], after["state"]["name"]) == ("t3.small", 2048, "stopped")
    assert after["private_ip_address"] == before["private_ip_address"]
    assert "t3.nano" in result["diff"]["before"]
    assert "t3.small" in result["diff"]["after"]
    after = desk.again(name="a", vcpus=3, memory_mib=100, state="running")["instances"][0]
    assert (after["instance_type"], after["vcpus"], after["memory_mib"]) == (None, 3, 100)
    assert after["state"]["name"] == "running"


@pytest.mark.parametrize("state", ["present", "running", "restarted", "stopped"])
def test_a_running_one_is_stopped_and_started_for_it_where_that_is_allowed(desk: Desk, state: str) -> None:
    desk.call(name="a", instance_type="t3.nano")
    allowed = state in ("present", "running")
    result = desk.call(name="a", instance_type="t3.small", state=state, allow_stop=allowed)
    instance = result["instances"][0]
    assert (instance["memory_mib"], instance["state"]["name"]) == (2048, "stopped" if state == "stopped" else "running")
    assert ("restarted: true" in result["diff"]["after"]) is (state != "stopped")
    assert desk.call(name="a", instance_type="t3.small")["changed"] is False


@pytest.mark.parametrize("what", ["power off", "redefine"])
def test_where_the_change_fails_what_was_stopped_for_it_is_started_again(desk: Desk, what: str) -> None:
    ids = desk.call(exact_count=2, tags=WEB, instance_type="t3.nano")["instance_ids"]
    desk.hypervisor.deaf = set(ids)
    desk.hypervisor.broken[what] = ids[0]
    asked: dict[str, Any] = {"filters": {"tag:pool": "web"}, "instance_type": "t3.small", "allow_stop": True}
    failed = refusal(desk.task, {**PARAMS, **asked})
    assert [one["instance_id"] for one in failed["failures"]] == ids[:1]
    assert desk.states() == dict.fromkeys(ids, "running")
    kept = {"power off": [512, 512], "redefine": [512, 2048]}[what]
    assert [one.memory_mib for one in desk.hypervisor.instances()] == kept
    desk.hypervisor.broken.clear()
    assert [one["memory_mib"] for one in desk.again(**asked)["instances"]] == [2048, 2048]


def test_an_exact_count_leaves_those_that_run_as_they_are_and_says_so(desk: Desk) -> None:
    old = desk.call(exact_count=1, tags=WEB, instance_type="t3.nano")["instance_ids"]
    result = desk.again(exact_count=2, tags=WEB, instance_type="t3.small")
    assert [one["instance_type"] for one in result["instances"]] == ["t3.nano", "t3.small"]
    module = Module({**PARAMS, "exact_count": 2, "tags": WEB, "instance_type": "t3.small"}, True)
    with pytest.raises(Exited):
        run(module, desk.task)  # type: ignore[arg-type]
    (warning,) = module.warnings
    assert warning.startswith(f"{old[0]} keep the size")
    result = desk.again(exact_count=2, tags=WEB, instance_type="t3.small", allow_stop=True)
    assert result["changed_ids"] == old


def test_user_data_is_changed_in_the_seed_of_a_stopped_instance(desk: Desk) -> None:
    (one,) = desk.call(name="a", user_data="#!/bin/sh\necho old\n")["instance_ids"]
    assert desk.refuse(name="a", user_data="new")["error_code"] == "IncorrectInstanceState"
    result = desk.again(name="a", user_data="#!/bin/sh\necho new\n", allow_stop=True)
    assert result["instances"][0]["state"]["name"] == "running"
    assert (desk.store.instance_directory(one) / "seed.iso").read_text() == "#!/bin/sh\necho new\n"
    assert "echo" not in str(result["diff"])


def test_one_that_was_stopped_and_changed_in_a_run_did_not_shut_itself_down(desk: Desk) -> None:
    ids = desk.call(name="a", instance_initiated_shutdown_behavior="terminate")["instance_ids"]
    (stopped,) = desk.again(name="a", state="stopped", instance_type="t3.small")["instances"]
    assert stopped["state_transition_reason"] == "User initiated shutdown"
    assert desk.call(name="b")["terminated_ids"] == []
    # Nor did one that was stopped for a change and could not be started again; the next run starts it.
    desk.call(name="a", state="running")
    desk.hypervisor.broken["start"] = ids[0]
    refusal(desk.task, {**PARAMS, "name": "a", "instance_type": "t3.nano", "allow_stop": True})
    desk.hypervisor.broken.clear()
    desk.again(name="a")
    assert desk.states()[ids[0]] == "running"


def test_one_that_a_dead_run_left_stopped_stays_so_where_that_is_asked_for(desk: Desk) -> None:
    ids = desk.call(name="a", instance_type="t3.nano")["instance_ids"]
    desk.hypervisor.broken["start"] = ids[0]
    refusal(desk.task, {**PARAMS, "name": "a", "instance_type": "t3.small", "allow_stop": True})
    desk.hypervisor.broken.clear()
    desk.again(name="a", state="stopped")
    desk.again(name="a")
    assert desk.states()[ids[0]] == "stopped"


def test_reservations_that_somebody_took_away_are_made_again(desk: Desk) -> None:
    ids = desk.call(exact_count=2, tags=WEB)["instance_ids"]
    desk.hypervisor.nets["pocket"] = replace(desk.hypervisor.nets["pocket"], hosts=())
    result = desk.again(exact_count=2, tags=WEB)
    assert (result["changed"], result["changed_ids"]) == (True, [])
    assert f"reservation of {ids[0]}" in result["diff"]["after"]
    assert_whole(desk, 2)
    # Those that go need none, and what somebody else was given meanwhile stays theirs.
    desk.hypervisor.nets["pocket"] = replace(desk.hypervisor.nets["pocket"], hosts=())
    desk.call(exact_count=0, tags=WEB)
    assert_whole(desk, 0)
    (first,) = desk.call(name="a")["instances"]
    (host,) = desk.hypervisor.nets["pocket"].hosts
    printer = replace(host, mac_address="02:00:00:00:00:07", name="printer")
    desk.hypervisor.nets["pocket"] = replace(desk.hypervisor.nets["pocket"], hosts=(printer,))
    assert desk.call(name="a")["changed"] is False
    assert str(host.address) == first["private_ip_address"]


@pytest.mark.parametrize("state", ["present", "running"])
def test_killed_anywhere_in_a_change_the_next_run_converges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    change: dict[str, Any] = {"user_data": "new", "instance_type": "t3.small", "allow_stop": True, "tags": {"x": "y"}}
    for number in range(1000):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            ids = desk.call(exact_count=2, filters={"tag:Name": "a"}, name="a")["instance_ids"]
            killed = kill_after(desk, number, filters={"tag:Name": "a"}, state=state, **change)
            result = desk.again(filters={"tag:Name": "a"}, state=state, **change)
            assert result["instance_ids"] == ids
            assert_whole(desk, 2)
            for one in result["instances"]:
                assert (one["memory_mib"], one["tags"]["x"], one["state"]["name"]) == (2048, "y", "running")
                directory = desk.store.instance_directory(one["instance_id"])
                assert (directory / "seed.iso").read_text() == "new"
        if not killed:
            break
    assert number >= 2 * 6


def test_kvm_that_cannot_be_had_is_refused_where_something_would_run_on_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.call(exact_count=1, tags=WEB)
    monkeypatch.setattr(acceleration, "obstacle", lambda: "there is no /dev/kvm")
    failed = desk.refuse(exact_count=2, tags=WEB, accel="kvm")
    assert failed["error_code"] == "Unsupported"
    assert "accel: kvm cannot be had on this host, for there is no /dev/kvm" in failed["msg"]
    assert desk.call(exact_count=1, tags=WEB, accel="kvm")["changed"] is False
    monkeypatch.setattr(acceleration, "obstacle", lambda: None)
    assert desk.again(exact_count=2, tags=WEB, accel="kvm")["instances"][1]["placement"]["accel"] == "kvm"


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"name": "a", "machine_type": "q35\0"}, "machine_type: 'q35\\x00' has a NUL", "InvalidParameterValue"),
        ({"name": "a", "image_id": "gu\0est"}, "image_id: 'gu\\x00est' has a NUL", "InvalidParameterValue"),
        ({"min_count": 3, "max_count": 2}, "min_count: 3 is more than the max_count of 2", "InvalidParameterValue"),
        ({"min_count": 0, "max_count": 2}, "min_count: 0", "InvalidParameterValue"),
        ({"min_count": 1, "max_count": 1001}, "max_count: 1001", "InvalidParameterValue"),
        ({"min_count": 1, "max_count": 2, "state": "stopped"}, "max_count", "InvalidParameterCombination"),
        ({"count": 1, "client_token": "x" * 65}, "client_token", "InvalidParameterValue"),
        ({"count": 1, "client_token": ""}, "client_token: ''", "InvalidParameterValue"),
        ({"count": 1, "client_token": "tökén"}, "'tökén'", "InvalidParameterValue"),
        ({"name": "a", "client_token": "t"}, "client_token: is for launches", "InvalidParameterCombination"),
        (
            {"name": "a", "hibernate": True},
            "hibernate: has no meaning with state present",
            "InvalidParameterCombination",
        ),
    ],
)
def test_bad_input_is_refused_with_a_sentence(desk: Desk, stated: dict[str, Any], said: str, code: str) -> None:
    failed = desk.refuse(**stated)
    assert said in failed["msg"]
    assert failed["error_code"] == code


def test_a_machine_that_stands_still_is_resumed_where_it_is_to_run(desk: Desk) -> None:
    (one,) = desk.call(name="a", count=1)["instance_ids"]
    desk.hypervisor.paused[one] = "Paused by hand"
    named: dict[str, Any] = {"name": "a", "wait": True, "wait_for": "ip"}
    assert desk.again(**named)["instances"][0]["state_transition_reason"] == "Paused by hand"  # and waits for nothing
    resumed = desk.again(**named, state="running")
    assert (resumed["changed_ids"], resumed["instances"][0]["state_transition_reason"]) == ([one], "")
    assert "paused: Paused by hand" in resumed["diff"]["before"]
    assert "paused" not in resumed["diff"]["after"]
    assert desk.guard.writes[-1] == f"resume {one}"


def test_one_that_stands_still_again_is_told_with_its_disk(desk: Desk) -> None:
    (one,) = desk.call(name="a", count=1)["instance_ids"]
    desk.hypervisor.paused[one] = "Paused for an I/O error, as of a full disk"
    desk.hypervisor.full[one] = "vda has no space left on its file system"
    failed = refusal(desk.task, {**PARAMS, "name": "a", "state": "running"})
    assert failed["changed"] is True
    assert "is paused again: vda has no space left" in failed["msg"]
    assert failed["failures"][0]["action"] == "resume"


def test_a_wait_for_one_that_comes_to_stand_still_ends_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    start = desk.hypervisor.start

    def fill(instance: Instance) -> None:
        start(instance)
        desk.hypervisor.paused[instance.instance_id] = "Paused for an I/O error, as of a full disk"
        desk.hypervisor.full[instance.instance_id] = "vda has no space left on its file system"

    monkeypatch.setattr(desk.hypervisor, "start", fill)
    begun = time.monotonic()
    failed = refusal(desk.task, {**PARAMS, "name": "b", "wait": True, "wait_timeout": 300})
    assert time.monotonic() - begun < 100
    assert "stands still, and so did not run" in failed["msg"]
    assert "vda has no space left on its file system" in failed["msg"]
    assert len(failed["instance_ids"]) == 1


# What is left of those whose domains somebody undefined


def undefined(desk: Desk, **stated: Any) -> str:
    """Launch one and take its domain away behind the module's back."""
    (one,) = desk.call(count=1, **stated)["instance_ids"]
    del desk.hypervisor.domains[one]
    desk.hypervisor.running.discard(one)
    return str(one)


def test_what_is_left_without_a_domain_goes_only_where_its_id_is_named(desk: Desk) -> None:
    empty = desk.snapshot()
    one = undefined(desk, tags=WEB)
    for stated in ({"exact_count": 0, "tags": WEB}, {"state": "terminated", "tags": WEB}):
        desk.call(**stated)
    directory = desk.store.instance_directory(one)
    assert directory.exists()
    for state in ("present", "running", "stopped", "restarted"):
        failed = desk.refuse(instance_ids=[one], state=state)
        assert failed["error_code"] == "IncorrectInstanceState"
        assert f"left of it are {directory} and the reservation of 10.80.0.2 in pocket" in failed["msg"]
    swept = desk.again(instance_ids=[one], state="terminated")
    assert swept["terminated_ids"] == [one]
    assert str(directory) in swept["diff"]["before"]
    assert desk.snapshot() == empty
    assert desk.refuse(instance_ids=[one], state="stopped")["error_code"] == "IncorrectInstanceState"


def test_a_reservation_by_somebody_else_is_no_remains(desk: Desk) -> None:
    other = "i-0123456789abcdef0"
    host = Host("52:54:00:00:00:01", ipaddress.IPv4Address("10.80.0.9"), other)
    desk.hypervisor.nets["pocket"] = replace(desk.hypervisor.nets["pocket"], hosts=(host,))
    assert desk.refuse(instance_ids=[other], state="terminated")["error_code"] == "InvalidInstanceID.NotFound"


def test_killed_anywhere_what_is_left_without_a_domain_is_taken_away_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            empty = desk.snapshot()
            asked: dict[str, Any] = {"instance_ids": [undefined(desk)], "state": "terminated"}
            finished = not kill_after(desk, number, **asked)
            desk.again(**asked)
            assert desk.snapshot() == empty
            if finished:
                assert number > 2
                return


def test_a_token_does_not_overwrite_the_disk_of_one_that_was_undefined(desk: Desk) -> None:
    one = undefined(desk, client_token="once")
    (desk.store.instance_directory(one) / "disk.qcow2").write_text("precious")
    assert desk.refuse(count=1, client_token="once")["error_code"] == "IdempotentInstanceTerminated"
    assert (desk.store.instance_directory(one) / "disk.qcow2").read_text() == "precious"


@pytest.mark.parametrize(
    ("stated", "option"),
    [
        ({"private_ip_address": "10.80.0.77"}, "private_ip_address"),
        ({"network": "lan"}, "network"),
        ({"key_name": "other"}, "key_name"),
        ({"image_id": "later"}, "image_id"),
        ({"network_interfaces": [{"private_ip_address": "10.80.0.77"}]}, "network_interfaces[0].private_ip_address"),
        ({"network_interfaces": [{}, {}]}, "network_interfaces"),
    ],
)
def test_what_an_instance_has_for_life_stays_and_that_is_said(desk: Desk, stated: dict[str, Any], option: str) -> None:
    (one,) = desk.call(name="a", private_ip_address="10.80.0.9")["instance_ids"]
    path = desk.store.image_path("ami-11111111111111111", "raw")
    path.write_bytes(b"disk")
    source = ImageSource("/later.raw", 4, None, "sha256:1")
    desk.store.register(Image("ami-11111111111111111", "later", path, "raw", 4, 1, "2026-01-01T00:00:00Z", source))
    for params, warned in (({"name": "a", "private_ip_address": "10.80.0.9"}, []), ({"name": "a", **stated}, [option])):
        module = Module({**PARAMS, **params}, check_mode=False)
        with pytest.raises(Exited) as exited:
            run(module, desk.task)  # type: ignore[arg-type]
        assert exited.value.results["changed"] is False
        assert exited.value.results["instance_ids"] == [one]
        assert [warning.split(": ")[0] for warning in module.warnings] == warned


@pytest.mark.parametrize(("policy", "state"), [("running", "running"), ("always", "stopped"), ("never", "running")])
def test_what_somebody_made_of_the_hosts_boot_is_made_good(desk: Desk, policy: str, state: str) -> None:
    (one,) = desk.call(name="a", restart_policy=policy)["instance_ids"]
    desk.again(name="a", state=state)
    kept = set(desk.hypervisor.at_boot)
    desk.hypervisor.at_boot ^= {one}  # virsh autostart, with or without --disable
    assert "starts_at_boot" in desk.again(name="a")["diff"]["before"]
    assert desk.hypervisor.at_boot == kept
    desk.hypervisor.at_boot ^= {one}
    desk.again(name="a", state=state)
    assert desk.hypervisor.at_boot == kept
