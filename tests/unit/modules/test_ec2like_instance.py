# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.instance_task import InstanceTask
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import IMAGE_ID, PARAMS, Killed, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

WEB = {"pool": "web"}


class Desk(KvmHost):
    """The host and the module on it; each call is made in check mode first, which must tell the same."""

    def call(self, **stated: Any) -> dict[str, Any]:
        params = {**PARAMS, **stated}
        before = self.snapshot()
        self.guard.forbidden = True
        foretold = execute(self.task, params, check=True)
        self.guard.forbidden = False
        assert self.snapshot() == before
        done = execute(self.task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        assert foretold["terminated_ids"] == done["terminated_ids"]
        assert set(foretold["changed_ids"]) <= set(done["changed_ids"])
        return done

    def again(self, **stated: Any) -> dict[str, Any]:
        """Call twice; the second time nothing may change."""
        first = self.call(**stated)
        writes = len(self.guard.writes)
        second = self.call(**stated)
        assert second["changed"] is False
        assert second["diff"] == {"before": "", "after": ""}
        assert len(self.guard.writes) == writes
        return first

    def refuse(self, **stated: Any) -> dict[str, Any]:
        """A call that must fail, in check mode and for real, with nothing written."""
        before = self.snapshot()
        self.guard.forbidden = True
        told = refusal(self.task, {**PARAMS, **stated}, check=True)
        self.guard.forbidden = False
        writes = len(self.guard.writes)
        done = refusal(self.task, {**PARAMS, **stated})
        assert told["msg"] == done["msg"]
        assert done["changed"] is False
        assert len(self.guard.writes) == writes
        assert self.snapshot() == before
        return done

    def states(self) -> dict[str, str]:
        return {instance.instance_id: instance.state for instance in self.hypervisor.instances()}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_exact_count_launches_what_is_missing_and_no_more(desk: Desk) -> None:
    result = desk.again(exact_count=3, tags=WEB)
    assert len(result["instance_ids"]) == len(set(result["instance_ids"])) == 3
    assert [one["ami_launch_index"] for one in result["instances"]] == [0, 1, 2]
    assert {one["reservation_id"] for one in result["instances"]} == {result["reservation_id"]}
    assert [one["private_ip_address"] for one in result["instances"]] == ["10.80.0.2", "10.80.0.3", "10.80.0.4"]
    more = desk.again(exact_count=5, tags=WEB)
    assert more["instance_ids"][:3] == result["instance_ids"]
    assert len(more["instance_ids"]) == 5


def test_a_launched_instance_has_what_was_asked_for(desk: Desk) -> None:
    result = desk.call(count=1, name="a", tags={"n": 1, "yes": True}, vcpus=2, memory_mib=96, user_data="#!/bin/sh\n")
    (instance,) = result["instances"]
    assert instance["tags"] == {"Name": "a", "n": "1", "yes": "true"}
    assert (instance["vcpus"], instance["memory_mib"], instance["instance_type"]) == (2, 96, None)
    assert instance["image_id"] == IMAGE_ID
    assert instance["state"] == {"code": 16, "name": "running"}
    assert instance["network_interfaces"][0]["address_source"] == "lease"
    directory = desk.store.instance_directory(instance["instance_id"])
    assert (directory / "seed.iso").read_text() == "#!/bin/sh\n"
    assert "#!/bin/sh" not in desk.hypervisor.domains[instance["instance_id"]]
    assert "#!/bin/sh" not in str(result)


def test_the_diff_of_a_launch_shows_nothing_that_is_drawn(desk: Desk) -> None:
    result = desk.call(count=1)
    assert result["diff"]["before"] == ""
    for drawn in ("instance_id", "private_ip_address", "launch_time", "mac_address"):
        value = result["instances"][0].get(drawn, "52:54:00")
        assert value not in result["diff"]["after"]


def test_the_newest_go_first(desk: Desk) -> None:
    first = desk.call(exact_count=4, tags=WEB)["instance_ids"]
    result = desk.again(exact_count=1, tags=WEB)
    assert result["terminated_ids"] == [first[3], first[2], first[1]]
    assert result["instance_ids"] == first[:1]
    assert desk.again(exact_count=0, tags=WEB)["terminated_ids"] == first[:1]
    assert desk.snapshot()[0] == []
    assert desk.hypervisor.nets["pocket"].hosts == ()


def test_count_launches_that_many_more_each_time(desk: Desk) -> None:
    assert len(desk.call(count=2, tags=WEB)["instance_ids"]) == 2
    assert len(desk.call(count=2, tags=WEB)["instance_ids"]) == 2
    assert len(desk.states()) == 4


def test_a_name_alone_means_one_instance(desk: Desk) -> None:
    first = desk.again(name="db")
    assert desk.again(name="other")["instance_ids"] != first["instance_ids"]


def test_filters_select_what_is_counted(desk: Desk) -> None:
    desk.call(exact_count=2, tags=WEB)
    desk.call(exact_count=1, tags={"pool": "db"})
    result = desk.again(exact_count=1, filters={"tag:pool": "w*"}, tags=WEB)
    assert len(result["terminated_ids"]) == 1
    assert len(desk.states()) == 2


def test_tags_that_take_instances_out_of_their_own_count_are_refused(desk: Desk) -> None:
    desk.call(exact_count=2, tags=WEB)
    failed = desk.refuse(exact_count=2, filters={"tag:pool": "web"}, tags={"pool": "db"})
    assert failed["error_code"] == "InvalidParameterCombination"
    assert "do not match" in failed["msg"]


def test_wildcards_in_tags_are_letters(desk: Desk) -> None:
    desk.call(exact_count=1, tags={"pool": "web"})
    assert len(desk.again(exact_count=1, tags={"pool": "w*"})["instance_ids"]) == 1
    assert len(desk.states()) == 2


def test_stop_start_and_restart_keep_what_the_instance_is(desk: Desk) -> None:
    before = desk.call(name="a")["instances"][0]
    kept = ("instance_id", "private_ip_address", "network_interfaces", "launch_time", "tags", "image_id")
    stopped = desk.again(name="a", state="stopped")["instances"][0]
    assert stopped["state"] == {"code": 80, "name": "stopped"}
    assert stopped["state_transition_reason"] == "User initiated shutdown"
    assert desk.call(name="a", state="present")["changed"] is False
    running = desk.again(name="a", state="running")["instances"][0]
    assert {name: running[name] for name in kept} == {name: before[name] for name in kept}
    assert running["state_transition_reason"] == ""
    restarted = desk.call(name="a", state="restarted")
    assert restarted["changed"] is True
    assert restarted["changed_ids"] == [before["instance_id"]]
    assert {name: restarted["instances"][0][name] for name in kept} == {name: before[name] for name in kept}
    desk.call(name="a", state="stopped")
    assert desk.call(name="a", state="rebooted")["instances"][0]["state"]["name"] == "running"


def test_a_guest_that_does_not_listen_is_powered_off_and_that_is_told(desk: Desk) -> None:
    result = desk.call(name="a")
    desk.hypervisor.deaf.update(result["instance_ids"])
    stopped = desk.again(name="a", state="stopped")["instances"][0]
    assert "powered off" in stopped["state_transition_reason"]


def test_terminate_leaves_nothing_and_can_be_said_twice(desk: Desk) -> None:
    empty = desk.snapshot()
    ids = desk.call(exact_count=2, tags=WEB)["instance_ids"]
    result = desk.again(instance_ids=ids, state="terminated")
    assert result["terminated_ids"] == ids
    assert [one["state"]["name"] for one in result["instances"]] == ["terminated"] * 2
    assert desk.snapshot() == empty


def test_an_unknown_id_stops_the_task_before_anything_is_done(desk: Desk) -> None:
    ids = desk.call(exact_count=2, tags=WEB)["instance_ids"]
    unknown = "i-" + "0" * 17
    assert desk.refuse(instance_ids=[*ids, unknown], state="terminated")["error_code"] == "InvalidInstanceID.NotFound"
    assert desk.refuse(instance_ids=[*ids, "web"], state="absent")["error_code"] == "InvalidInstanceID.Malformed"
    assert set(desk.states().values()) == {"running"}


def test_a_terminated_instance_cannot_be_started(desk: Desk) -> None:
    ids = desk.call(name="a")["instance_ids"]
    desk.call(instance_ids=ids, state="terminated")
    assert desk.refuse(instance_ids=ids, state="running")["error_code"] == "IncorrectInstanceState"


def test_tags_are_edited_where_ids_or_filters_select(desk: Desk) -> None:
    ids = desk.call(name="a", tags={"x": "1"})["instance_ids"]
    result = desk.again(instance_ids=ids, tags={"y": "<&\"'> ü"})
    assert result["instances"][0]["tags"] == {"Name": "a", "x": "1", "y": "<&\"'> ü"}
    assert desk.call(instance_ids=ids, purge_tags=True)["changed"] is False  # unstated means untouched
    result = desk.again(filters={"tag:Name": "a"}, tags={"y": "2"}, purge_tags=True)
    assert result["instances"][0]["tags"] == {"Name": "a", "y": "2"}
    assert "x:" in result["diff"]["before"]
    assert "x:" not in result["diff"]["after"]


def test_a_fixed_address_is_given_and_refused_to_a_second(desk: Desk) -> None:
    result = desk.again(name="a", private_ip_address="10.80.0.77")
    assert result["instances"][0]["private_ip_address"] == "10.80.0.77"
    assert desk.refuse(name="b", private_ip_address="10.80.0.77")["error_code"] == "InvalidIPAddress.InUse"


def test_an_operators_own_type_is_known(desk: Desk) -> None:
    (desk.store.root / "instance-types.json").write_text('{"tiny": {"vcpus": 3, "memory_mib": 77}}')
    instance = desk.again(name="a", instance_type="tiny")["instances"][0]
    assert (instance["instance_type"], instance["vcpus"], instance["memory_mib"]) == ("tiny", 3, 77)
    message = desk.refuse(name="b", instance_type="tinny")["msg"]
    assert "'tinny'" in message
    assert "did you mean 'tiny'" in message
    assert "t2.micro" in message


def test_nothing_is_waited_for_that_stays_stopped(desk: Desk) -> None:
    ids = desk.call(exact_count=2, tags=WEB)["instance_ids"]
    desk.call(instance_ids=ids[:1], state="stopped")
    assert desk.call(exact_count=2, tags=WEB, wait_for="ip")["changed"] is False


def test_a_wait_in_vain_fails_with_the_consoles_tail(desk: Desk) -> None:
    result = desk.call(name="a")
    (instance_id,) = result["instance_ids"]
    desk.hypervisor.given.clear()
    console = desk.store.instance_directory(instance_id) / "console.log"
    console.write_bytes(b"booting\r\n\x1b[31mKernel panic\x1b[0m - not syncing\r\n")
    failed = refusal(desk.task, {**PARAMS, "name": "a", "wait_for": "ip", "wait_timeout": 0})
    assert f"{instance_id} (a) did not ask for its address within 0 s" in failed["msg"]
    assert failed["msg"].endswith("booting\nKernel panic - not syncing")
    assert failed["changed"] is False
    assert failed["instance_ids"] == [instance_id]


def test_one_that_fails_leaves_nothing_and_the_others_stay(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[Any] = []

    def make(params: Any) -> Any:
        task = desk.task(params)
        desk.hypervisor.broken["start"] = task._request.drawn.instance_ids[1]  # type: ignore[attr-defined]
        tasks.append(task)
        return task

    failed = refusal(make, {**PARAMS, "exact_count": 3, "tags": WEB})
    assert failed["changed"] is True
    assert len(failed["instance_ids"]) == 2
    (failure,) = failed["failures"]
    assert failure["action"] == "launch"
    assert not desk.hypervisor.exists(failure["instance_id"])
    assert not desk.store.instance_directory(failure["instance_id"]).exists()
    assert len(desk.hypervisor.nets["pocket"].hosts) == 2
    assert len(desk.again(exact_count=3, tags=WEB)["instance_ids"]) == 3


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"count": 0}, "count: 0", "InvalidParameterValue"),
        ({"count": -3}, "count: -3", "InvalidParameterValue"),
        ({"exact_count": -1, "tags": WEB}, "exact_count: -1", "InvalidParameterValue"),
        ({"exact_count": 1}, "exact_count needs", "MissingParameter"),
        ({"exact_count": 1, "tags": WEB, "state": "stopped"}, "exact_count", "InvalidParameterCombination"),
        ({"state": "terminated"}, "instance_ids", "MissingParameter"),
        ({"filters": {}, "state": "terminated"}, "filters: is empty", "InvalidParameterValue"),
        ({"filters": {"colour": "red"}}, "filters: 'colour' is unknown", "InvalidParameterValue"),
        ({"filters": {"tag:x": {"a": 1}}}, "filters: 'tag:x'", "InvalidParameterValue"),
        ({"name": "a", "instance_type": "t3.mikro"}, "did you mean 't3.micro'", "InvalidParameterValue"),
        ({"name": "a", "image_id": "nothing"}, "'nothing'", "InvalidAMIID.NotFound"),
        ({"name": "a", "image_id": "ami-1"}, "'ami-1'", "InvalidAMIID.Malformed"),
        ({"name": "a", "image_id": None}, "image_id is missing", "MissingParameter"),
        ({"name": "a", "network": "lan"}, "no network 'lan'", "InvalidSubnetID.NotFound"),
        ({"tags": {"k" * 129: "v"}}, "has 129 characters", "InvalidParameterValue"),
        ({"tags": {"k": "v" * 257}}, "has 257 characters", "InvalidParameterValue"),
        ({"tags": {"k": ["v"]}}, "the value of 'k' is ['v']", "InvalidParameterValue"),
        ({"tags": {"k": "v", **{str(n): "" for n in range(50)}}}, "51 tags", "TagLimitExceeded"),
        ({"name": "a", "tags": {str(n): "" for n in range(50)}}, "51 tags", "TagLimitExceeded"),
        ({"tags": {"aws:x": "v"}}, "'aws:x' begins with 'aws:'", "InvalidParameterValue"),
        ({"tags": {"a": "b\x07"}}, "control character", "InvalidParameterValue"),
        ({"name": "n" * 257}, "name: the value", "InvalidParameterValue"),
        ({"name": ""}, "name: is empty", "InvalidParameterValue"),
        ({"name": "a", "instance_type": ""}, "instance_type: is empty", "InvalidParameterValue"),
        ({"name": "a", "image_id": ""}, "image_id: is empty", "InvalidParameterValue"),
        ({"name": "a", "key_name": " "}, "key_name: is empty", "InvalidParameterValue"),
        ({"name": "a", "network": ""}, "network: is empty", "InvalidParameterValue"),
        ({"name": "a", "private_ip_address": ""}, "private_ip_address: is empty", "InvalidParameterValue"),
        (
            {"name": "a", "network_interfaces": [{"network": "pocket"}, {"network": ""}]},
            "network_interfaces[1].network: is empty",
            "InvalidParameterValue",
        ),
        ({"filters": {1: "a"}, "state": "stopped"}, "filters: 1 is no text", "InvalidParameterValue"),
        ({"name": "a", "user_data_file": "/a\0b"}, "is no absolute path", "InvalidParameterValue"),
        ({"name": "a", "vcpus": 5000, "memory_mib": 64}, "vcpus: 5000 are too many", "InvalidParameterValue"),
        ({"name": "a", "user_data": "x" * 16385}, "user_data: 16385 bytes", "InvalidParameterValue"),
        ({"name": "a", "user_data": "a\ud800b"}, "user_data: its character 2", "InvalidUserData.Malformed"),
        ({"name": "a", "user_data_parts": []}, "user_data_parts: is empty", "InvalidUserData.Malformed"),
        ({"name": "a", "user_data_file": "/none"}, "/none cannot be read: No such file", "InvalidParameterValue"),
        ({"name": "a", "vcpus": 0, "memory_mib": 64}, "vcpus: 0", "InvalidParameterValue"),
        ({"name": "a", "vcpus": 1, "memory_mib": 1}, "memory_mib: 1", "InvalidParameterValue"),
        ({"name": "a", "vcpus": 1, "memory_mib": 10**18}, "memory_mib: is too much", "InvalidParameterValue"),
        ({"name": "a", "private_ip_address": "10.80.0"}, "'10.80.0' is no IPv4 address", "InvalidParameterValue"),
        ({"name": "a", "private_ip_address": "10.80.0.1"}, "network 'pocket' itself", "InvalidParameterValue"),
        ({"name": "a", "private_ip_address": "10.81.0.1"}, "no machine's address", "InvalidParameterValue"),
        ({"count": 2, "private_ip_address": "10.80.0.9"}, "2 instances", "InvalidParameterCombination"),
        ({"count": 254}, "has 253 free addresses", "InsufficientFreeAddressesInSubnet"),
        ({"name": "a", "wait_port": 70000}, "wait_port: 70000", "InvalidParameterValue"),
        ({"name": "a", "wait_for": "port"}, "needs wait_port", "MissingParameter"),
        ({"name": "a", "wait_for": "ip", "wait_port": 80}, "wait_port", "InvalidParameterCombination"),
        ({"name": "a", "wait_timeout": -1}, "wait_timeout: -1", "InvalidParameterValue"),
        ({"name": "a", "stop_timeout": 604801}, "stop_timeout: 604801 is more than a week", "InvalidParameterValue"),
        ({"name": "a", "stop_timeout": 10**400}, "stop_timeout: the number is more", "InvalidParameterValue"),
        ({"exact_count": 1, "filters": {"tag:a": "b"}, "tags": WEB}, "do not match", "InvalidParameterCombination"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(desk: Desk, stated: dict[str, Any], said: str, code: str) -> None:
    failed = desk.refuse(**stated)
    assert said in failed["msg"]
    assert failed["error_code"] == code


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ({"private_ip_address": "banana"}, "InvalidParameterValue"),
        ({"ipv6_address": "fe80::1%eth0"}, "InvalidParameterValue"),
        ({"network_interfaces": [{"private_ip_address": "10.80.0"}]}, "InvalidParameterValue"),
        ({"image_id": "ami-xyz"}, "InvalidAMIID.Malformed"),
    ],
)
def test_what_can_be_right_nowhere_is_refused_also_where_nothing_is_launched(
    desk: Desk, stated: dict[str, Any], code: str
) -> None:
    desk.call(name="a")
    assert desk.refuse(name="a", **stated)["error_code"] == code


@pytest.mark.parametrize("uri", ["", "  ", "qemu:///a\0b"])
def test_a_uri_that_libvirt_could_not_take_is_refused(uri: str) -> None:
    failed = refusal(InstanceTask, {**PARAMS, "name": "a", "uri": uri})
    assert failed["msg"].startswith(f"uri: {uri!r} ")


def test_a_stopped_instance_keeps_its_size_where_none_is_named(desk: Desk) -> None:
    desk.call(name="a", instance_type="t3.nano")
    desk.call(name="a", state="stopped")
    assert "leave it out" in desk.refuse(name="a", instance_type="")["msg"]
    assert desk.call(name="a")["instances"][0]["instance_type"] == "t3.nano"


def test_a_network_that_is_not_active_is_refused(desk: Desk) -> None:
    desk.hypervisor.stop_network("pocket")
    assert "not active" in desk.refuse(name="a")["msg"]


def test_addresses_that_are_leased_to_others_are_not_given(desk: Desk) -> None:
    first = desk.call(exact_count=1, tags=WEB)
    desk.call(exact_count=0, tags=WEB)
    # The lease outlives the instance, and dnsmasq would not give its address to another machine.
    assert desk.call(exact_count=1, tags=WEB)["instances"][0]["private_ip_address"] == "10.80.0.3"
    assert first["instances"][0]["private_ip_address"] == "10.80.0.2"


# Killed anywhere


def kill_after(desk: Desk, writes: int, **stated: Any) -> bool:
    """Run until so many writes were made; whether it was killed there."""
    desk.guard.left = writes
    try:
        execute(desk.task, {**PARAMS, **stated})
    except Killed:
        return True
    finally:
        desk.guard.left = None
    return False


def assert_whole(desk: Desk, count: int) -> None:
    """So many instances, each with all that belongs to it, and nothing that belongs to none."""
    instances = desk.hypervisor.instances()
    assert len(instances) == count
    assert {instance.phase for instance in instances} <= {"launched"}
    hosts = desk.hypervisor.nets["pocket"].hosts
    assert sorted(host.name for host in hosts) == sorted(instance.instance_id for instance in instances)
    assert len({host.address for host in hosts}) == len({host.mac_address for host in hosts}) == count
    directories = {path.name for path in desk.store.instance_directories()}
    assert directories == {instance.instance_id for instance in instances}
    for instance in instances:
        directory = desk.store.instance_directory(instance.instance_id)
        assert {path.name for path in directory.iterdir()} == {"disk.qcow2", "seed.iso"}


def test_killed_anywhere_in_a_launch_the_next_run_converges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1000):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            killed = kill_after(desk, number, exact_count=3, tags=WEB)
            result = desk.again(exact_count=3, tags=WEB)
            assert len(result["instance_ids"]) == 3
            assert_whole(desk, 3)
        if not killed:
            break
    assert number == 3 * 8, "the launch of an instance is eight writes, and each of them is a place to be killed at"


def test_killed_anywhere_in_a_termination_the_next_run_converges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            ids = execute(desk.task, {**PARAMS, "exact_count": 3, "tags": WEB})["instance_ids"]
            killed = kill_after(desk, number, instance_ids=ids[:2], state="terminated")
            result = desk.again(instance_ids=ids[:2], state="terminated")
            assert [one["state"]["name"] for one in result["instances"]] == ["terminated"] * 2
            assert_whole(desk, 1)
            assert desk.states() == {ids[2]: "running"}
        if not killed:
            break
    assert number == 2 * 7


def test_any_next_run_clears_what_a_killed_one_left(desk: Desk) -> None:
    assert kill_after(desk, 5, exact_count=3, tags=WEB)
    result = desk.again(state="terminated", filters={"tag:pool": "db"})
    assert result["changed"] is True
    assert_whole(desk, 0)


def test_killed_between_stop_and_start_a_restart_is_finished_by_running(desk: Desk) -> None:
    desk.call(name="a")
    for number in range(4):
        kill_after(desk, number, name="a", state="restarted")
        assert desk.again(name="a", state="running")["instances"][0]["state"]["name"] == "running"
        assert_whole(desk, 1)
