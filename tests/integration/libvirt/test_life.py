# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room, tokens, protection, what guests do themselves, and changes in place, on a real libvirtd."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host, wait_until

WEB = {"pool": "web"}


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    """Where guests boot and answer."""
    yield from clean_cloud(host, store, guest_image)


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    """Where machines run, but nothing in them."""
    yield from clean_cloud(host, store, idle_image(tmp_path))


def test_as_many_as_there_is_room_for_and_each_token_once(idle: Cloud) -> None:
    policy = idle.host.path(idle.store) / "capacity.json"
    memory_mib = int(idle.host.virsh("nodeinfo").split("Memory size:")[1].split()[0]) // 1024
    policy.write_text(json.dumps({"memory_reserved_mib": memory_mib - 300}))  # two of 128 MiB
    assert "has room for" in idle.refused(min_count=3, max_count=5, tags=WEB)["msg"]
    idle.assert_nothing_left()
    asked: dict[str, Any] = {"min_count": 1, "max_count": 5, "tags": WEB, "client_token": "nightly"}
    launched = idle.both(**asked)
    assert idle.domains("--state-running") == set(launched["instance_ids"])
    assert len(launched["instance_ids"]) == 2
    again = idle.both(**asked)
    assert (again["changed"], again["instance_ids"]) == (False, launched["instance_ids"])
    assert idle.refused(**{**asked, "max_count": 4})["error_code"] == "IdempotentParameterMismatch"
    idle.both(state="terminated", tags=WEB)
    assert idle.refused(**asked)["error_code"] == "IdempotentInstanceTerminated"


def test_a_launch_by_token_that_was_killed_is_finished_with_the_same_instances(idle: Cloud) -> None:
    asked: dict[str, Any] = {"count": 3, "tags": WEB, "client_token": "once"}
    took = idle.duration(count=3, tags={"pool": "trial"})
    idle.run(state="terminated", tags={"pool": "trial"})
    idle.killed_after(took * 0.6, **asked)
    begun = {one for one in idle.domains() if one.startswith("i-")}
    result = idle.run(**asked)
    assert begun <= set(result["instance_ids"])
    idle.assert_whole(3)
    assert idle.run(**asked)["changed"] is False


def test_protected_instances_stay_and_the_policy_says_what_starts_at_boot(idle: Cloud) -> None:
    launched = idle.both(name="a", termination_protection=True, restart_policy="always")
    (one,) = launched["instance_ids"]
    assert idle.refused(name="a", state="terminated")["error_code"] == "OperationNotPermitted"
    assert idle.domains() == {one}
    assert idle.both(name="a", state="stopped", stop_timeout=0)["changed"] is True
    assert idle.domains("--all", "--autostart") == {one}
    assert idle.both(name="a", restart_policy="running")["changed"] is True
    assert idle.domains("--all", "--autostart") == set()
    idle.both(name="a", restart_policy="never", state="running")
    assert idle.domains("--all", "--autostart") == set()
    idle.both(name="a", restart_policy="running")
    assert idle.domains("--all", "--autostart") == {one}
    assert idle.both(name="a", restart_policy="running")["changed"] is False
    idle.both(name="a", state="terminated", termination_protection=False)


def test_a_size_changes_in_place_through_a_stop_that_is_allowed(idle: Cloud) -> None:
    (before,) = idle.run(name="a", vcpus=1, memory_mib=128)["instances"]
    failed = idle.refused(name="a", vcpus=2, memory_mib=160)
    assert failed["error_code"] == "IncorrectInstanceState"
    assert "allow_stop: true" in failed["msg"]
    asked: dict[str, Any] = {"name": "a", "vcpus": 2, "memory_mib": 160, "allow_stop": True, "stop_timeout": 0}
    (after,) = idle.both(**asked)["instances"]
    assert idle.both(**asked)["changed"] is False
    about = idle.host.virsh("dominfo", before["instance_id"]).split("\n")
    values = {key.strip(): value.strip() for key, _colon, value in (line.partition(":") for line in about)}
    assert (values["CPU(s)"], values["Max memory"], values["State"]) == ("2", f"{160 * 1024} KiB", "running")
    assert after["private_ip_address"] == before["private_ip_address"]
    assert after["network_interfaces"] == before["network_interfaces"]


def test_user_data_and_size_change_in_one_stop_and_the_seed_has_no_more_than_was_asked_for(idle: Cloud) -> None:
    def seed() -> bytes:
        return idle.host.path(f"{idle.store}/instances/{one}/seed.iso").read_bytes()

    odd = "#!/bin/sh\necho '<a>&\"]]> Grüße 🎈'\r\n\t: %s {{ x }}\n"
    (one,) = idle.both(name="a", user_data=odd)["instance_ids"]
    assert odd.encode() in seed()
    kept = seed()
    assert "allow_stop: true" in idle.refused(name="a", user_data="#!/bin/sh\n: second\n")["msg"]
    assert seed() == kept
    asked: dict[str, Any] = {"name": "a", "user_data": "#!/bin/sh\n: second\n", "vcpus": 2, "memory_mib": 160}
    changed = idle.both(**asked, allow_stop=True, stop_timeout=0)
    assert changed["changed_ids"] == [one]
    assert b": second" in seed()
    assert odd.encode() not in seed()
    assert idle.domains("--state-running") == {one}
    assert idle.both(**asked)["changed"] is False
    # The user data is in no result, no definition and no file that others may read.
    assert "second" not in json.dumps(changed)
    assert ": second" not in "".join(idle.definitions())


def test_libvirtd_restarted_in_the_middle_of_a_stop_and_of_a_resize(idle: Cloud) -> None:
    asked: dict[str, Any] = {"exact_count": 3, "tags": WEB}
    idle.run(**asked)
    small: dict[str, Any] = {"tags": WEB, "vcpus": None, "memory_mib": None, "stop_timeout": 2}
    resized: dict[str, Any] = {"tags": WEB, "vcpus": 2, "memory_mib": 160, "allow_stop": True, "stop_timeout": 2}
    for change in (resized, {**small, "state": "stopped"}):
        process = idle.start(**change)
        time.sleep(1)  # it waits for guests that hear no power button
        idle.host.stop_libvirtd()
        idle.host.start_libvirt()
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in out + err
        result = json.loads(out)
        assert not result.get("failed") or "libvirt" in result["msg"]
        idle.run(**change)
        assert idle.both(**change)["changed"] is False
        idle.assert_whole(3)


def test_what_was_killed_while_it_hibernated_or_restarted_converges(idle: Cloud) -> None:
    idle.run(exact_count=3, tags=WEB)
    small: dict[str, Any] = {"tags": WEB, "vcpus": None, "memory_mib": None}
    for change in (
        {"state": "stopped", "hibernate": True},
        {"state": "running"},
        {"state": "restarted", "stop_timeout": 1},
        {"vcpus": 2, "memory_mib": 160, "allow_stop": True, "stop_timeout": 1},
    ):
        for seconds in (0.6, 1.0):
            idle.killed_after(seconds, **{**small, **change})
        idle.run(**{**small, **change})
        if change.get("state") != "restarted":
            assert idle.both(**{**small, **change})["changed"] is False
        idle.assert_whole(3)
    assert len(idle.domains("--state-running")) == 3


def test_guests_that_shut_themselves_down_are_stopped_or_terminated_as_launched(cloud: Cloud) -> None:
    asked: dict[str, Any] = {
        "user_data": "#!/bin/sh\n[ -e /var/lib/off ] || { touch /var/lib/off; sync; poweroff -f; }\n"
    }
    (stays,) = cloud.run(name="stays", **asked)["instance_ids"]
    (goes,) = cloud.run(name="goes", instance_initiated_shutdown_behavior="terminate", **asked)["instance_ids"]
    wait_until("both guests to shut down", lambda: cloud.domains("--state-shutoff") == {stays, goes})
    info = cloud.host.ok("ec2like_instance_info", store=cloud.store)["instances"]
    told = {one["instance_id"]: (one["state"]["name"], one["state_transition_reason"]) for one in info}
    assert told == {
        stays: ("stopped", "Instance initiated shutdown"),
        goes: ("shutting-down", "Instance initiated shutdown"),
    }
    cloud.both(name="stays", state="running", wait=True, wait_port=80)
    assert cloud.domains() == {stays}
    gone = cloud.host.ok("ec2like_instance_info", store=cloud.store, filters={"instance-state-name": "terminated"})
    assert gone["instance_ids"] == [goes]


def test_hibernated_guests_go_on_where_they_were(cloud: Cloud) -> None:
    asked: dict[str, Any] = {"name": "a", "state": "running", "wait": True, "wait_port": 80}
    (instance,) = cloud.run(**asked)["instances"]
    address = instance["private_ip_address"]
    assert cloud.host.http(address, path="/boots") == "1"
    (stopped,) = cloud.both(name="a", state="stopped", hibernate=True)["instances"]
    assert stopped["state_transition_reason"] == "User initiated hibernate"
    assert cloud.domains("--all", "--with-managed-save") == {instance["instance_id"]}
    assert cloud.both(name="a", state="stopped", hibernate=True)["changed"] is False
    assert "hibernated" in cloud.refused(name="a", vcpus=2, memory_mib=256, allow_stop=True)["msg"]
    cloud.both(**asked)
    assert cloud.host.http(address, path="/boots") == "1"
    # libvirt says what is hibernated, whoever asked for it and whether or not that was written down.
    cloud.host.virsh("managedsave", instance["instance_id"])
    (found,) = cloud.both(name="a", state="stopped")["instances"]
    assert found["state_transition_reason"] == "User initiated hibernate"
    assert "hibernated" in cloud.refused(name="a", root_size_gib=8)["msg"]
    cloud.host.virsh("start", instance["instance_id"])
    cloud.host.virsh("destroy", instance["instance_id"])
    (found,) = cloud.both(name="a", vcpus=2, memory_mib=256)["instances"]
    assert (found["state_transition_reason"], found["vcpus"]) == ("", 2)
    cloud.both(**asked, vcpus=2, memory_mib=256)
    # Terminated while hibernated, it leaves no saved state behind.
    cloud.run(name="a", state="stopped", hibernate=True, vcpus=2, memory_mib=256)
    cloud.both(name="a", state="terminated")
    saved = cloud.host.run(["sh", "-c", "ls /var/lib/libvirt/qemu/save"]).stdout.split()
    assert saved == []


def test_what_ran_runs_again_after_a_reboot_of_its_host(cloud: Cloud) -> None:
    asked: dict[str, Any] = {"exact_count": 2, "tags": WEB, "state": "running", "wait": True, "wait_port": 80}
    launched = cloud.run(**asked)["instances"]
    cloud.run(name="off", state="present")
    cloud.run(name="off", state="stopped", stop_timeout=0)
    cloud.host.reboot()
    running = {one["instance_id"] for one in launched}
    wait_until("libvirtd to start what ran", lambda: cloud.domains("--state-running") == running)
    ready = cloud.run(**asked)
    assert ready["changed"] is False
    kept = ("instance_id", "private_ip_address", "tags")
    assert [[one[name] for name in kept] for one in ready["instances"]] == [
        [one[name] for name in kept] for one in launched
    ]
    for one in ready["instances"]:
        assert cloud.host.http(one["private_ip_address"], path="/boots") == "2"
