# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_SNAPSHOT
from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import store
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.snapshot_task import SnapshotTask
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed
from ansible_collections.pocket.cloud.tests.unit.modules import test_ec2like_volume
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_volume import ABSENT_INSTANCE, UNKNOWN
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


class Desk(test_ec2like_volume.Desk):
    """A host with two instances and a volume of 2 GiB, and the module on it."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(place, monkeypatch)
        self.volume_id = self.again(name="data", size_gib=2, tags={"for": "tests"})["volume_id"]

    def snapshot_params(self, **stated: Any) -> dict[str, Any]:
        unstated = {name: option.get("default") for name, option in EC2LIKE_SNAPSHOT.items()}
        return {**unstated, "uri": "fake:///", "store": "", **stated}

    def snapshot_task(self, params: dict[str, Any]) -> SnapshotTask:
        return SnapshotTask(params, self.hypervisor, self.store)

    def shoot(self, **stated: Any) -> dict[str, Any]:
        params = self.snapshot_params(**stated)
        before = self.snapshot()
        self.guard.forbidden = True
        foretold = execute(self.snapshot_task, params, check=True)
        self.guard.forbidden = False
        assert self.snapshot() == before
        done = execute(self.snapshot_task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        for key, value in (foretold["snapshot"] or {}).items():
            assert value in (None, done["snapshot"][key])
        return done

    def shoot_again(self, **stated: Any) -> dict[str, Any]:
        first = self.shoot(**stated)
        assert first["changed"] is True
        second = self.shoot(**stated)
        assert second["changed"] is False
        assert second["snapshot"] == first["snapshot"]
        return first

    def shot_refused(self, code: str, **stated: Any) -> str:
        before = self.snapshot()
        self.guard.forbidden = True
        told = refusal(self.snapshot_task, self.snapshot_params(**stated), check=True)
        self.guard.forbidden = False
        assert refusal(self.snapshot_task, self.snapshot_params(**stated)) == told
        assert self.snapshot() == before
        assert told["error_code"] == code
        return str(told["msg"])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_of_a_volume_that_nothing_has(desk: Desk) -> None:
    writes = len(desk.guard.writes)
    made = desk.shoot_again(name="s", volume_id=desk.volume_id, description="d", tags={"a": "b"})
    assert f"copy {desk.volume_id}.qcow2" in desk.guard.writes[writes:]
    snapshot = made["snapshot"]
    assert (snapshot["state"], snapshot["progress"], snapshot["volume_size"]) == ("completed", "100%", 2)
    assert (snapshot["volume_id"], snapshot["instance_id"]) == (desk.volume_id, None)
    assert (snapshot["description"], snapshot["tags"]) == ("d", {"Name": "s", "a": "b"})
    path = Path(snapshot["path"])
    assert path.name == f"{made['snapshot_id']}.qcow2"
    assert path.stat().st_mode & 0o777 == 0o600
    gone = desk.shoot(name="s", state="absent")
    assert gone["snapshot"]["state"] == "deleted"
    assert not path.exists()
    assert desk.shoot(snapshot_id=made["snapshot_id"], state="absent")["changed"] is False


def test_a_running_machine_makes_the_copy_itself(desk: Desk) -> None:
    desk.again(name="data", instance=desk.first)
    for stated, instance_id in (
        ({"volume_id": desk.volume_id}, desk.first),
        ({"instance_id": desk.second}, desk.second),
    ):
        writes = len(desk.guard.writes)
        made = desk.shoot_again(name=str(stated), **stated)
        assert f"back up {instance_id}" in desk.guard.writes[writes:]
        assert made["snapshot"]["instance_id"] == instance_id
    assert made["snapshot"]["volume_id"] is None
    named = desk.shoot_again(name="device", instance_id=desk.first, device_name="/dev/sdf")
    assert named["snapshot"]["volume_id"] == desk.volume_id


def test_file_systems_are_frozen_on_request(desk: Desk) -> None:
    writes = len(desk.guard.writes)
    desk.shoot_again(name="s", instance_id=desk.first, freeze=True)
    assert f"freeze and back up {desk.first}" in desk.guard.writes[writes:]
    stated = {"name": "t", "instance_id": desk.first, "freeze": True}
    desk.hypervisor.paused[desk.first] = "Paused by hand"
    assert "(Paused by hand); let it go on" in desk.shot_refused("IncorrectInstanceState", **stated)
    desk.hypervisor.running.clear()
    assert "is stopped; leave it out" in desk.shot_refused("InvalidParameterCombination", **stated)
    unattached = {"name": "t", "volume_id": desk.volume_id, "freeze": True}
    assert "attached to none" in desk.shot_refused("InvalidParameterCombination", **unattached)


def test_how_far_it_is_can_be_seen(desk: Desk) -> None:
    desk.guard.left = 3  # entered as begun, then killed after the copy was noted to be half made
    with pytest.raises(Killed):
        execute(desk.snapshot_task, desk.snapshot_params(name="s", instance_id=desk.first))
    desk.guard.left = None
    records = desk.store.records("snapshot").all()
    assert [(record["complete"], record["progress"]) for record in records.values()] == [(False, 50)]


def test_check_mode_waits_for_whoever_copies(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "COPY_TIMEOUT", 0.1)
    with desk.store.volumes_lock():
        asked = desk.snapshot_params(volume_id=desk.volume_id)
        assert "in use" in refusal(desk.snapshot_task, asked, check=True)["msg"]


def test_without_a_name_each_run_makes_another(desk: Desk) -> None:
    ids = {desk.shoot(volume_id=desk.volume_id)["snapshot_id"] for _number in range(3)}
    assert len(ids) == 3


def test_the_newest_one_may_be_young_enough(desk: Desk) -> None:
    first = desk.shoot_again(volume_id=desk.volume_id, last_snapshot_min_age=10)["snapshot_id"]
    root = desk.shoot_again(instance_id=desk.first, last_snapshot_min_age=10)["snapshot_id"]
    assert desk.shoot_again(instance_id=desk.second, last_snapshot_min_age=10)["snapshot_id"] not in (first, root)
    records = desk.store.records("snapshot")
    records.put(first, {**(records.get(first) or {}), "start_time": "2026-01-01T00:00:00Z"})
    assert desk.shoot_again(volume_id=desk.volume_id, last_snapshot_min_age=10)["snapshot_id"] != first


def test_it_is_known_by_its_disk_wherever_that_was_then(desk: Desk) -> None:
    loose = desk.shoot_again(volume_id=desk.volume_id, last_snapshot_min_age=10)["snapshot_id"]
    desk.again(name="data", instance=desk.first, device_name="vdf")
    place = {"instance_id": desk.first, "device_name": "vdf"}
    assert desk.shoot(**place, last_snapshot_min_age=10)["snapshot_id"] == loose
    assert desk.shoot(snapshot_id=loose, **place)["changed"] is False


def test_a_snapshot_of_another_disk_of_the_instance_is_refused(desk: Desk) -> None:
    place = {"instance_id": desk.first, "device_name": "vdf"}
    desk.again(name="data", instance=desk.first, device_name="vdf")
    desk.shoot_again(name="root", instance_id=desk.first)
    desk.shoot_again(name="data", **place)
    for stated in ({"name": "root", **place}, {"name": "data", "instance_id": desk.first}):
        message = desk.shot_refused("InvalidParameterValue", **stated)
        assert "device_name" in message
        assert desk.volume_id in message or "/dev/vdf" in message
    # Detached it is still the volume that the instance had.
    desk.again(name="data", instance="")
    assert desk.shoot(name="data", **place)["changed"] is False
    other = desk.again(name="other", size_gib=1, instance=desk.first, device_name="vdf")["volume_id"]
    assert other not in desk.shot_refused("InvalidParameterValue", name="data", **place)


def test_the_seed_is_no_disk_to_keep(desk: Desk) -> None:
    desk.shot_refused("InvalidParameterValue", name="s", instance_id=desk.first, device_name="vdb")


def test_description_and_tags_can_be_changed(desk: Desk) -> None:
    made = desk.shoot_again(name="s", volume_id=desk.volume_id, tags={"a": "1"})
    changed = desk.shoot_again(name="s", description="d", tags={"b": "2"})["snapshot"]
    assert changed == {**made["snapshot"], "description": "d", "tags": {"Name": "s", "a": "1", "b": "2"}}
    assert desk.shoot(name="s", purge_tags=True)["changed"] is False  # without tags there is nothing to compare
    purged = desk.shoot_again(snapshot_id=made["snapshot_id"], tags={"b": "2"}, purge_tags=True)["snapshot"]
    assert purged["tags"] == {"Name": "s", "b": "2"}
    assert desk.shoot_again(snapshot_id=made["snapshot_id"], description="")["snapshot"]["description"] == ""


@pytest.mark.parametrize("damage", ["lost", "link", "content elsewhere"])
def test_no_volume_is_begun_of_one_whose_file_is_not_what_it_was(desk: Desk, tmp_path: Path, damage: str) -> None:
    made = desk.shoot(name="s", volume_id=desk.volume_id)["snapshot"]
    path = Path(made["path"])
    path.unlink()
    if damage == "link":
        path.symlink_to(qcow2(tmp_path / "secret"))
    elif damage == "content elsewhere":
        qcow2(path, 2 << 30, features=4)
    # What is not there counts as no snapshot, though it is found to be edited or deleted.
    edited = desk.shoot(name="s", description=damage)["snapshot"]
    assert edited["state"] == ("error" if damage == "lost" else "completed")
    young = desk.shoot(volume_id=desk.volume_id, last_snapshot_min_age=60)
    assert young["changed"] is (damage == "lost")
    code = "IncorrectState" if damage == "lost" else "InvalidParameterValue"
    desk.refuse(code, str(path), name="copy", snapshot_id=made["snapshot_id"])
    ebs = {**dict.fromkeys(("volume_size", "disk_format", "delete_on_termination")), "snapshot_id": made["snapshot_id"]}
    volumes = [{"device_name": "vdf", "volume_id": None, "ebs": ebs}]
    for stated in ({"count": 1}, {"instance_ids": [desk.first]}):
        params = {**PARAMS, **stated, "volumes": volumes}
        told = refusal(desk.task, params, check=True)
        assert (told["error_code"], told["changed"]) == (code, False)
        assert refusal(desk.task, params) == told


def test_a_volume_is_made_of_it_as_large_or_larger(desk: Desk) -> None:
    snapshot_id = desk.shoot(name="s", volume_id=desk.volume_id)["snapshot_id"]
    made = desk.again(name="copy", snapshot_id=snapshot_id)["volume"]
    assert (made["size_gib"], made["snapshot_id"]) == (2, snapshot_id)
    assert desk.again(name="larger", snapshot_id=snapshot_id, size_gib=3, disk_format="raw")["volume"]["size_gib"] == 3
    desk.refuse("InvalidParameterValue", "size_gib", "2 GiB", name="less", snapshot_id=snapshot_id, size_gib=1)
    desk.refuse("InvalidParameterValue", "snapshot_id", name="data", snapshot_id=snapshot_id)
    # The copies live on without it.
    desk.shoot(name="s", state="absent")
    assert desk.call(name="copy")["changed"] is False


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("MissingParameter", {}),
        ("MissingParameter", {"name": "new"}),
        ("MissingParameter", {"state": "absent"}),
        ("MissingParameter", {"volume_id": UNKNOWN, "device_name": "vdf"}),
        ("InvalidParameterCombination", {"volume_id": UNKNOWN, "instance_id": ABSENT_INSTANCE}),
        ("InvalidVolume.NotFound", {"volume_id": UNKNOWN}),
        ("InvalidVolumeID.Malformed", {"volume_id": "vol"}),
        ("InvalidInstanceID.NotFound", {"instance_id": ABSENT_INSTANCE}),
        ("InvalidInstanceID.Malformed", {"instance_id": "i"}),
        ("InvalidSnapshotID.Malformed", {"snapshot_id": "snap-"}),
        ("InvalidSnapshot.NotFound", {"snapshot_id": "snap-0123456789abcdef0"}),
        ("InvalidParameterValue", {"name": ""}),
        ("InvalidParameterValue", {"volume_id": UNKNOWN, "last_snapshot_min_age": -1}),
        ("InvalidParameterValue", {"volume_id": UNKNOWN, "last_snapshot_min_age": 2_000_000_000}),
        ("InvalidParameterValue", {"name": "new", "description": "\ud800"}),
        ("InvalidParameterValue", {"name": "\ud800"}),
        ("InvalidParameterCombination", {"name": "s", "last_snapshot_min_age": 1}),
        ("InvalidParameterValue", {"name": "new", "description": "d" * 256}),
        ("InvalidParameterValue", {"name": "s", "volume_id": UNKNOWN}),
    ],
)
def test_bad_input_is_refused_before_the_first_write(desk: Desk, code: str, stated: dict[str, Any]) -> None:
    desk.shoot(name="s", volume_id=desk.volume_id)
    message = desk.shot_refused(code, **stated)
    assert code == "MissingParameter" or any(option in message for option in stated)


def test_a_device_that_the_instance_has_not_is_refused(desk: Desk) -> None:
    message = desk.shot_refused("InvalidParameterValue", instance_id=desk.first, device_name="vdf")
    assert "/dev/vda" in message


def test_a_disk_that_leads_elsewhere_is_refused(desk: Desk, tmp_path: Path) -> None:
    """A known way to read the host's files: a disk whose header names one of them as its backing file."""
    disk = desk.store.instance_directory(desk.first) / "disk.qcow2"
    qcow2(disk, backing="/etc/shadow")
    assert "/etc/shadow" in desk.shot_refused("InvalidParameterValue", instance_id=desk.first)
    qcow2(disk, backing=str(desk.store.image_directory / "x.raw"))
    desk.shoot_again(name="s", instance_id=desk.first)


def test_a_disk_outside_the_store_is_refused(desk: Desk, tmp_path: Path) -> None:
    """Whoever may edit a domain could else have any file of the host's copied."""
    secret = tmp_path / "secret"
    secret.write_text("s")
    domains = desk.hypervisor.domains
    disk = desk.store.instance_directory(desk.first) / "disk.qcow2"
    domains[desk.first] = domains[desk.first].replace(str(disk), str(secret))
    assert str(secret) in desk.shot_refused("InvalidParameterValue", instance_id=desk.first)
    disk.unlink()
    disk.symlink_to(secret)
    domains[desk.first] = domains[desk.first].replace(str(secret), str(disk))
    assert str(disk) in desk.shot_refused("InvalidParameterValue", instance_id=desk.first)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("left", range(4))
def test_killed_anywhere_the_next_run_converges(desk: Desk, left: int, running: bool) -> None:
    if not running:
        desk.hypervisor.running.clear()
    asked = {"name": "s", "instance_id": desk.first}
    desk.guard.left = left
    with pytest.raises(Killed):
        execute(desk.snapshot_task, desk.snapshot_params(**asked))
    desk.guard.left = None
    done = execute(desk.snapshot_task, desk.snapshot_params(**asked))
    assert [path.name for path in (desk.store.root / "snapshots").iterdir()] == [f"{done['snapshot_id']}.qcow2"]
    assert list(desk.store.records("snapshot").all()) == [done["snapshot_id"]]
    assert desk.shoot(**asked)["changed"] is False


def test_a_copy_that_a_dead_run_left_to_qemu_is_ended(desk: Desk) -> None:
    directory = desk.store.root / "snapshots"
    directory.mkdir()
    name = ".incoming-snap-11111111111111111.qcow2"
    (directory / name).write_text("")
    writes = len(desk.guard.writes)
    desk.shoot(name="s", state="absent")
    assert {f"abort {desk.first}", f"abort {desk.second}"} <= set(desk.guard.writes[writes:])
    assert list(directory.iterdir()) == []
