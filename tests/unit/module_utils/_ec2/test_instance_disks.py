# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of instances: at a launch, in place, and at the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import disk_files, volume_task
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.disks import derived_volume_id
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.images import gib
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.volume_files import Volumes
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed
from ansible_collections.pocket.cloud.tests.unit.modules import test_ec2like_snapshot
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

WEB = {"pool": "web"}
UNKNOWN = "vol-0123456789abcdef0"


def mapping(device: str, volume_id: str | None = None, **ebs: Any) -> dict[str, Any]:
    """A mapping as the module gets it, with none for what is not stated."""
    names = ("volume_size", "snapshot_id", "disk_format", "delete_on_termination")
    return {
        "device_name": device,
        "volume_id": volume_id,
        "ebs": {name: ebs.get(name) for name in names} if ebs else None,
    }


class Desk(test_ec2like_snapshot.Desk):
    """A host with two instances and a volume, and the module of instances on it."""

    def launch(self, **stated: Any) -> dict[str, Any]:
        params = {**PARAMS, "wait": False, **stated}
        before = self.snapshot()
        self.guard.forbidden = True
        foretold = execute(self.task, params, check=True)
        self.guard.forbidden = False
        assert self.snapshot() == before
        done = execute(self.task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        return done

    def launch_again(self, **stated: Any) -> dict[str, Any]:
        first = self.launch(**stated)
        assert first["changed"] is True
        assert self.launch(**stated)["changed"] is False
        return first

    def launch_refused(self, code: str, **stated: Any) -> str:
        params = {**PARAMS, "wait": False, **stated}
        before = self.snapshot()
        self.guard.forbidden = True
        told = refusal(self.task, params, check=True)
        self.guard.forbidden = False
        assert refusal(self.task, params)["msg"] == told["msg"]
        assert self.snapshot() == before
        assert told["error_code"] == code, told
        return str(told["msg"])

    def volumes(self) -> dict[str, Any]:
        return self.store.records("volume").all()

    def volume_files(self) -> set[str]:
        return {path.name for path in (self.store.root / "volumes").iterdir()}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_launch_makes_volumes_that_go_with_the_instance(desk: Desk) -> None:
    asked = {
        "tags": WEB,
        "exact_count": 2,
        "volumes": [
            mapping("/dev/sdf", volume_size=3),
            mapping("vdg", volume_size=1, disk_format="raw", delete_on_termination=False),
        ],
    }
    launched = desk.launch_again(**asked)
    assert "/dev/vdf" in launched["diff"]["after"]
    assert "vol-" not in launched["diff"]["after"]
    for instance in launched["instances"]:
        first, second = instance["block_device_mappings"]
        assert (first["device_name"], first["ebs"]["delete_on_termination"]) == ("/dev/vdf", True)
        assert (second["device_name"], second["ebs"]["delete_on_termination"]) == ("/dev/vdg", False)
        assert desk.call(volume_id=first["ebs"]["volume_id"])["volume"]["size_gib"] == 3
        assert desk.call(volume_id=second["ebs"]["volume_id"])["volume"]["disk_format"] == "raw"
    assert len(desk.volumes()) == 5
    # Of those that are not deleted nothing is lost.
    desk.launch_again(tags=WEB, state="terminated")
    kept = {one["block_device_mappings"][1]["ebs"]["volume_id"] for one in launched["instances"]}
    assert set(desk.volumes()) == {desk.volume_id, *kept}
    assert desk.volume_files() == {f"{desk.volume_id}.qcow2", *(f"{one}.raw" for one in kept)}
    assert all(desk.call(volume_id=one)["volume"]["state"] == "available" for one in kept)


def test_instances_are_found_by_their_volumes(desk: Desk) -> None:
    first = desk.launch_again(name="a", volumes=[mapping("vdf", desk.volume_id)])["instance_ids"]
    second = desk.launch_again(name="b", volumes=[mapping("vdg", volume_size=1)])["instance_ids"]

    def found(**filters: Any) -> set[str]:
        stated = {f"block-device-mapping.{name.replace('_', '-')}": value for name, value in filters.items()}
        return set(desk.launch(filters=stated)["instance_ids"])

    assert found(volume_id=desk.volume_id) == found(device_name="/dev/vdf") == set(first)
    assert found(delete_on_termination=True) == found(device_name="/dev/vdg") == set(second)
    assert found(volume_id="vol-*") == {*first, *second}


def test_a_volume_that_exists_is_attached_at_a_launch_and_outlives_it(desk: Desk) -> None:
    asked = {"name": "a", "volumes": [mapping("vdf", desk.volume_id)]}
    launched = desk.launch_again(**asked)["instances"][0]
    ebs = launched["block_device_mappings"][0]["ebs"]
    assert ebs == {"volume_id": desk.volume_id, "status": "attached", "delete_on_termination": False}
    desk.launch_refused("VolumeInUse", name="b", volumes=[mapping("vdf", desk.volume_id)])
    desk.launch_again(name="a", state="terminated")
    assert desk.call(name="data")["volume"]["state"] == "available"


def test_volumes_of_a_snapshot(desk: Desk) -> None:
    snapshot_id = desk.shoot(name="s", volume_id=desk.volume_id)["snapshot_id"]
    launched = desk.launch_again(name="a", volumes=[mapping("vdf", snapshot_id=snapshot_id)])["instances"][0]
    volume = desk.call(volume_id=launched["block_device_mappings"][0]["ebs"]["volume_id"])["volume"]
    assert (volume["snapshot_id"], volume["size_gib"]) == (snapshot_id, 2)
    desk.launch_refused(
        "InvalidBlockDeviceMapping", name="b", volumes=[mapping("vdf", snapshot_id=snapshot_id, volume_size=1)]
    )


def test_volumes_are_made_attached_and_grown_in_place(desk: Desk) -> None:
    ids = {"instance_ids": [desk.first]}
    desk.launch_again(**ids, volumes=[mapping("vdf", volume_size=1)])
    desk.launch_again(**ids, volumes=[mapping("vdg", desk.volume_id)])
    assert set(desk.attached(desk.first)) == {"vda", "vdb", "vdf", "vdg"}  # what is not stated stays
    assert [one["ebs"]["delete_on_termination"] for one in desk.mappings(desk.first)] == [True, False]
    writes = len(desk.guard.writes)
    desk.launch_again(**ids, volumes=[mapping("vdf", volume_size=2)])
    assert f"resize {desk.first}" in desk.guard.writes[writes:]
    desk.launch_again(**ids, volumes=[mapping("vdf", delete_on_termination=False)])
    desk.launch_again(**ids, volumes=[mapping("vdg", desk.volume_id, delete_on_termination=True)])
    assert [one["ebs"]["delete_on_termination"] for one in desk.mappings(desk.first)] == [False, True]
    desk.launch_refused("InvalidParameterValue", **ids, volumes=[mapping("vdf", volume_size=1)])
    desk.launch_refused("InvalidParameterValue", **ids, volumes=[mapping("vdf", desk.volume_id)])
    desk.launch_refused("InvalidParameterValue", **ids, volumes=[mapping("vdb", volume_size=1)])


def test_what_goes_with_the_instance_outlasts_a_stop_and_a_start(desk: Desk) -> None:
    desk.launch_again(instance_ids=[desk.first], state="stopped")
    desk.launch_again(instance_ids=[desk.first], state="running", volumes=[mapping("vdf", volume_size=1)])
    assert [one["ebs"]["delete_on_termination"] for one in desk.mappings(desk.first)] == [True]
    desk.launch_again(instance_ids=[desk.first], state="terminated")
    assert set(desk.volumes()) == {desk.volume_id}


def test_the_root_disk_grows_and_does_not_shrink(desk: Desk) -> None:
    ids = {"instance_ids": [desk.first]}
    desk.launch_again(**ids, root_size_gib=3)
    disk = desk.store.instance_directory(desk.first) / "disk.qcow2"
    assert disk.read_bytes()[24:32] == (3 << 30).to_bytes(8, "big")
    desk.launch_again(**ids, volumes=[mapping("/dev/sda1", volume_size=4)])
    desk.launch_refused("InvalidParameterValue", **ids, root_size_gib=2)
    desk.hypervisor.running.clear()
    qcow2(disk, 4 << 30)
    desk.launch_again(**ids, root_size_gib=5)


@pytest.mark.parametrize(
    ("stated", "name", "driver"),
    [
        ({}, "disk.qcow2", {"type": "qcow2", "discard": "unmap"}),
        ({"disk_format": "raw"}, "disk.raw", {"type": "raw", "discard": "unmap"}),
        ({"disk_clone": "full"}, "disk.qcow2", {"type": "qcow2", "discard": "unmap"}),
        (
            {"disk_cache": "writeback", "disk_discard": "ignore"},
            "disk.qcow2",
            {"type": "qcow2", "discard": "ignore", "cache": "writeback"},
        ),
    ],
)
def test_the_root_disk_is_made_as_stated(desk: Desk, stated: dict[str, Any], name: str, driver: dict[str, str]) -> None:
    writes = len(desk.guard.writes)
    instance_id = desk.launch_again(name="a", root_size_gib=2, **stated)["instance_ids"][0]
    done = desk.guard.writes[writes:]
    disk = desk.store.instance_directory(instance_id) / name
    assert disk.exists()
    full = "disk_format" in stated or stated.get("disk_clone") == "full"
    assert any(write.startswith("copy ami-" if full else "overlay") for write in done)
    if full:
        assert gib(disk.stat().st_size if name.endswith("raw") else 2 << 30) == 2
    words = {"name": "qemu", **driver}
    text = desk.hypervisor.domains[instance_id]
    line = text[text.index("<driver") : text.index(">", text.index("<driver"))]
    assert all(f'{key}="{value}"' in line for key, value in words.items())
    assert line.count("=") == len(words)


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("InvalidParameterCombination", {"disk_format": "raw", "disk_clone": "linked"}),
        ("InvalidParameterValue", {"root_size_gib": 0}),
        ("InvalidParameterValue", {"volumes": [mapping("vdf1", volume_size=1)]}),
        ("InvalidParameterValue", {"volumes": [mapping("vdf", volume_size=0)]}),
        ("InvalidParameterValue", {"volumes": [mapping("vdf", volume_size=1), mapping("/dev/sdf", volume_size=2)]}),
        ("InvalidParameterValue", {"volumes": [mapping("/dev/xvda", volume_size=2, delete_on_termination=False)]}),
        ("InvalidParameterValue", {"volumes": [mapping("/dev/xvda", UNKNOWN)]}),
        ("InvalidParameterCombination", {"volumes": [mapping("/dev/sda1", volume_size=2)], "root_size_gib": 3}),
        ("InvalidParameterCombination", {"volumes": [mapping("vdf", UNKNOWN, volume_size=2)]}),
        ("InvalidVolumeID.Malformed", {"volumes": [mapping("vdf", "vol-1")]}),
        ("InvalidVolume.NotFound", {"volumes": [mapping("vdf", UNKNOWN)]}),
        ("InvalidSnapshot.NotFound", {"volumes": [mapping("vdf", snapshot_id="snap-0123456789abcdef0")]}),
        ("InvalidSnapshotID.Malformed", {"volumes": [mapping("vdf", snapshot_id="snap")]}),
        ("MissingParameter", {"volumes": [mapping("vdf")]}),
        ("InvalidParameterValue", {"volumes": [mapping("vdb", volume_size=1)]}),
    ],
)
def test_bad_input_is_refused_before_the_first_write(desk: Desk, code: str, stated: dict[str, Any]) -> None:
    message = desk.launch_refused(code, name="new", **stated)
    assert any(option in message for option in stated)


def test_one_volume_cannot_go_to_two_instances(desk: Desk) -> None:
    desk.launch_refused("InvalidParameterCombination", count=2, volumes=[mapping("vdf", desk.volume_id)])
    twice = [mapping("vdf", desk.volume_id), mapping("vdg", desk.volume_id)]
    desk.launch_refused("InvalidParameterValue", name="a", volumes=twice)


def test_a_volume_of_one_instance_is_not_attached_to_another_because_it_was_made_there(desk: Desk) -> None:
    asked = {"name": "a", "volumes": [mapping("sdf", volume_size=1)]}
    launched = desk.launch_again(**asked)["instances"][0]
    volume_id = launched["block_device_mappings"][0]["ebs"]["volume_id"]
    desk.again(volume_id=volume_id, instance="")
    desk.again(volume_id=volume_id, instance=desk.second)
    assert desk.second in desk.launch_refused("VolumeInUse", **asked)
    desk.again(volume_id=volume_id, instance="")
    desk.launch_again(**asked)


def test_one_volume_cannot_go_to_two_instances_that_are_there(desk: Desk) -> None:
    asked = {"volumes": [mapping("vdf", desk.volume_id)]}
    desk.launch_refused("InvalidParameterCombination", instance_ids=[desk.first, desk.second], **asked)
    # Nor to one that is there and one that is missing.
    desk.launch_again(exact_count=1, tags=WEB)
    desk.launch_refused("InvalidParameterCombination", exact_count=2, tags=WEB, **asked)
    desk.launch_again(instance_ids=[desk.first], **asked)
    desk.launch_refused("VolumeInUse", instance_ids=[desk.first, desk.second], **asked)


def test_a_volume_that_is_attached_again_is_as_stated_after_one_run(desk: Desk) -> None:
    asked = {"name": "a", "volumes": [mapping("vdf", volume_size=2)]}
    launched = desk.launch_again(**asked)["instances"][0]
    volume_id = launched["block_device_mappings"][0]["ebs"]["volume_id"]
    for running in (True, False):
        desk.again(volume_id=volume_id, instance="")
        for code, stated in (
            ("InvalidParameterValue", {"volume_size": 1}),
            ("InvalidParameterValue", {"volume_size": 2, "disk_format": "raw"}),
            ("InvalidParameterValue", {"snapshot_id": "snap-0123456789abcdef0"}),
        ):
            message = desk.launch_refused(code, name="a", volumes=[mapping("vdf", **stated)])
            assert list(stated)[-1] in message
        if not running:
            desk.hypervisor.running.clear()
        size = 5 if running else 6
        desk.launch_again(name="a", volumes=[mapping("vdf", volume_size=size)])
        assert desk.call(volume_id=volume_id)["volume"]["size_gib"] == size


@pytest.mark.parametrize("damage", ["lost", "link", "foreign backing file"])
def test_a_volume_whose_file_is_not_what_it_was_is_refused_before_the_first_write(
    desk: Desk, tmp_path: Path, damage: str
) -> None:
    path = desk.store.root / "volumes" / f"{desk.volume_id}.qcow2"
    secret = qcow2(tmp_path / "secret")
    if damage == "foreign backing file":
        qcow2(path, 2 << 30, backing=str(secret))
    else:
        path.unlink()
    if damage == "link":
        path.symlink_to(secret)
    code = "IncorrectState" if damage == "lost" else "InvalidParameterValue"
    asked = {"volumes": [mapping("vdf", desk.volume_id, delete_on_termination=True)]}
    assert str(path) in desk.launch_refused(code, instance_ids=[desk.first], **asked)
    assert str(path) in desk.launch_refused(code, count=1, **asked)


def test_a_root_disk_smaller_than_its_image_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    image = desk.store.images()[0]
    larger = type(image)(**{**vars(image), "virtual_size": 3 << 30, "size_gib": 3})
    desk.store.register(larger)
    desk.launch_refused("InvalidBlockDeviceMapping", name="a", root_size_gib=2)
    desk.launch_again(name="a", root_size_gib=3)


def test_a_hibernated_machine_keeps_its_disks(desk: Desk) -> None:
    desk.launch(instance_ids=[desk.first], state="stopped", hibernate=True)
    ids = {"instance_ids": [desk.first]}
    desk.launch_refused("IncorrectInstanceState", **ids, volumes=[mapping("vdf", volume_size=1)])
    desk.refuse("IncorrectInstanceState", "hibernated", name="data", instance=desk.first)


def test_what_a_hibernated_machine_goes_on_with_is_not_changed_by_the_run_that_hibernates_it(desk: Desk) -> None:
    sleep: dict[str, Any] = {"instance_ids": [desk.first], "state": "stopped", "hibernate": True}
    for stated in (
        {"instance_type": "t3.small"},
        {"user_data": "#!/bin/sh"},
        {"root_size_gib": 3},
        {"volumes": [mapping("vdf", volume_size=1)]},
    ):
        qcow2(desk.store.instance_directory(desk.first) / "disk.qcow2", 2 << 30)
        message = desk.launch_refused("InvalidParameterCombination", **sleep, **stated)
        assert message.startswith("hibernate: ")
    desk.launch_again(**sleep, instance_type="t2.micro")  # which it has


ASKED: dict[str, Any] = {"exact_count": 2, "tags": WEB, "volumes": [mapping("vdf", volume_size=1)]}


@pytest.mark.parametrize("left", range(0, 40, 2))
def test_killed_anywhere_in_a_launch_no_volume_is_lost_or_left(desk: Desk, left: int) -> None:
    desk.guard.left = left
    try:
        execute(desk.task, {**PARAMS, "wait": False, **ASKED})
    except Killed:
        pass
    else:
        assert left >= 20
    desk.guard.left = None
    if left % 4:
        execute(desk.task, {**PARAMS, "wait": False, **ASKED, "exact_count": 0})
        assert set(desk.volumes()) == {desk.volume_id}
        assert desk.volume_files() == {f"{desk.volume_id}.qcow2"}
    done = execute(desk.task, {**PARAMS, "wait": False, **ASKED})
    made = {one["block_device_mappings"][0]["ebs"]["volume_id"] for one in done["instances"]}
    assert len(made) == 2
    assert set(desk.volumes()) == {desk.volume_id, *made}
    assert all(record["complete"] for record in desk.volumes().values())
    assert desk.volume_files() == {f"{one}.qcow2" for one in (desk.volume_id, *made)}
    assert desk.launch(**ASKED)["changed"] is False


@pytest.mark.parametrize("left", range(9))
def test_killed_anywhere_in_a_termination_no_volume_is_left(desk: Desk, left: int) -> None:
    desk.launch(**{**ASKED, "exact_count": 1})
    gone = {**PARAMS, "wait": False, "tags": WEB, "state": "terminated"}
    desk.guard.left = left
    try:
        execute(desk.task, gone)
    except Killed:
        pass
    else:
        assert left > 5
    desk.guard.left = None
    execute(desk.task, gone)
    assert set(desk.volumes()) == {desk.volume_id}
    assert desk.volume_files() == {f"{desk.volume_id}.qcow2"}


@pytest.mark.parametrize("left", range(5))
def test_killed_anywhere_in_place_the_next_run_attaches_what_was_made(desk: Desk, left: int) -> None:
    asked = {**PARAMS, "wait": False, "instance_ids": [desk.first], "volumes": [mapping("vdf", volume_size=1)]}
    desk.guard.left = left
    with pytest.raises(Killed):
        execute(desk.task, asked)
    desk.guard.left = None
    done = execute(desk.task, asked)
    made = done["instances"][0]["block_device_mappings"][0]["ebs"]["volume_id"]
    assert set(desk.volumes()) == {desk.volume_id, made}
    assert all(record["complete"] for record in desk.volumes().values())
    assert execute(desk.task, asked)["changed"] is False


def beside_a_copy(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *moments: str) -> None:
    """Have something done at moments of a run that copies a snapshot to a volume.

    :param moments: C(released) is when it has just let launches go on, C(copying) in the middle, C(copied) at the end.
    """
    real = disk_files.copy

    class Released(ExitStack):
        def close(self) -> None:
            super().close()
            if "released" in moments:
                act()

    def copy(source: Path, source_format: str, path: Path, disk_format: str, size: int | None = None) -> None:
        real(source, source_format, path, disk_format, size)
        if "copying" in moments:
            act()

    class Observed(Volumes):
        def make(self, *volume: Any) -> None:
            super().make(*volume)
            if "copied" in moments:
                act()

    monkeypatch.setattr(volume_task, "ExitStack", Released)
    monkeypatch.setattr(volume_task, "Volumes", Observed)
    monkeypatch.setattr(disk_files, "copy", copy)


@pytest.mark.parametrize("moment", ["released", "copying"])
def test_a_volume_that_another_run_copies_is_left_to_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    snapshot_id = desk.shoot(name="s", volume_id=desk.volume_id)["snapshot_id"]
    copied = derived_volume_id(desk.first, "vdf")
    told = []

    def meanwhile() -> None:
        for stated in (mapping("vdf", volume_size=10), mapping("vdg", copied)):
            told.append(desk.launch_refused("IncorrectState", instance_ids=[desk.first], volumes=[stated]))
        # Its place at another instance, and other places of this one, have to do with nobody.
        desk.launch_again(instance_ids=[desk.first], volumes=[mapping("vdh", volume_size=1)])
        desk.launch_again(instance_ids=[desk.second], volumes=[mapping("vdf", volume_size=1)])

    beside_a_copy(monkeypatch, meanwhile, moment)
    done = execute(desk.volume_task, desk.params(instance=desk.first, device_name="vdf", snapshot_id=snapshot_id))
    assert all(f"volumes: {copied} is creating" in one for one in told)
    assert len(told) == 2
    assert (done["volume_id"], done["volume"]["snapshot_id"]) == (copied, snapshot_id)
    assert desk.attached(desk.first) == {
        "vda": None,
        "vdb": None,
        "vdf": copied,
        "vdh": desk.attached(desk.first)["vdh"],
    }
    assert {f"{one}.qcow2" for one in desk.volumes()} == desk.volume_files()
    assert all(record["complete"] for record in desk.volumes().values())


def test_a_volume_that_a_run_which_died_was_copying_is_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot_id = desk.shoot(name="s", volume_id=desk.volume_id)["snapshot_id"]

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patches:
        beside_a_copy(patches, die, "copying")
        with pytest.raises(Killed):
            execute(desk.volume_task, desk.params(instance=desk.first, device_name="vdf", snapshot_id=snapshot_id))
    asked = {"instance_ids": [desk.first], "volumes": [mapping("vdf", volume_size=10)]}
    with desk.store.volumes_lock():
        desk.launch_refused("IncorrectState", **asked)
    desk.launch_again(**asked)
    assert {f"{one}.qcow2" for one in desk.volumes()} == desk.volume_files()


@pytest.mark.parametrize("where", ["its place", "another"])
def test_a_copy_that_another_run_attaches_as_soon_as_it_is_whole_is_not_attached_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Nothing keeps an instance that is stopped from having what another has, too."""
    snapshot_id = desk.shoot(name="s", volume_id=desk.volume_id)["snapshot_id"]
    asked = desk.params(instance=desk.first, device_name="vdf", snapshot_id=snapshot_id)
    copied = derived_volume_id(desk.first, "vdf")
    taken = {"instance_ids": [desk.first if where == "its place" else desk.second], "volumes": [mapping("vdf", copied)]}
    with monkeypatch.context() as patches:
        beside_a_copy(patches, lambda: assert_changed(desk.launch(**taken)), "copied")
        failed = refusal(desk.volume_task, asked)
    assert failed["changed"] is True
    assert failed["error_code"] == ("IncorrectState" if where == "its place" else "VolumeInUse")
    has = [one for one in (desk.first, desk.second) if desk.attached(one).get("vdf") == copied]
    assert has == taken["instance_ids"]
    if where == "its place":
        assert execute(desk.volume_task, asked)["changed"] is False


def test_a_copy_whose_run_does_not_get_the_lock_again_is_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot_id = desk.shoot(name="s", volume_id=desk.volume_id)["snapshot_id"]
    asked = desk.params(name="copy", instance=desk.first, snapshot_id=snapshot_id)
    with ExitStack() as held, monkeypatch.context() as patches:
        beside_a_copy(patches, lambda: held.enter_context(desk.store.lock()), "copied")
        patches.setattr(desk.store, "lock", partial(desk.store.lock, timeout=0.1))
        failed = refusal(desk.volume_task, asked)
    assert "is in use by process" in failed["msg"]
    assert failed["changed"] is True
    assert execute(desk.volume_task, asked)["volume"]["state"] == "in-use"
    assert len(desk.volumes()) == 2


def assert_changed(result: dict[str, Any]) -> None:
    assert result["changed"] is True
