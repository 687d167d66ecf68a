# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_VOLUME
from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import store
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.volume_task import VolumeTask
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

UNKNOWN = "vol-0123456789abcdef0"
ABSENT_INSTANCE = "i-0123456789abcdef0"
EXTERNAL_DATA = 4


class Desk(KvmHost):
    """A host with two instances, and the module on it; each call is made in check mode first."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(place, monkeypatch)
        launched = execute(self.task, {**PARAMS, "count": 2, "wait": False})
        self.first, self.second = launched["instance_ids"]

    def params(self, **stated: Any) -> dict[str, Any]:
        unstated = {name: option.get("default") for name, option in EC2LIKE_VOLUME.items()}
        return {**unstated, "uri": "fake:///", "store": "", **stated}

    def volume_task(self, params: dict[str, Any]) -> VolumeTask:
        return VolumeTask(params, self.hypervisor, self.store)

    def call(self, **stated: Any) -> dict[str, Any]:
        params = self.params(**stated)
        before = self.snapshot()
        self.guard.forbidden = True
        foretold = execute(self.volume_task, params, check=True)
        self.guard.forbidden = False
        assert self.snapshot() == before
        done = execute(self.volume_task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        for key, value in (foretold["volume"] or {}).items():
            assert value in (None, done["volume"][key])
        return done

    def again(self, **stated: Any) -> dict[str, Any]:
        first = self.call(**stated)
        assert first["changed"] is True
        second = self.call(**stated)
        assert second["changed"] is False
        assert second["volume"] == first["volume"]
        return first

    def refuse(self, code: str, *words: str, **stated: Any) -> str:
        before = self.snapshot()
        self.guard.forbidden = True
        told = refusal(self.volume_task, self.params(**stated), check=True)
        self.guard.forbidden = False
        done = refusal(self.volume_task, self.params(**stated))
        assert told == done
        assert done["changed"] is False
        assert done["error_code"] == code
        assert all(word in done["msg"] for word in words), done["msg"]
        assert self.snapshot() == before
        return str(done["msg"])

    def attached(self, instance_id: str) -> dict[str, str | None]:
        instance = next(one for one in self.hypervisor.instances() if one.instance_id == instance_id)
        return {disk.device_name: disk.volume_id for disk in instance.disks}

    def mappings(self, instance_id: str) -> Any:
        instance = next(one for one in self.hypervisor.instances() if one.instance_id == instance_id)
        return instance.ec2()["block_device_mappings"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


@pytest.mark.parametrize("disk_format", ["qcow2", "raw"])
def test_make_again_and_delete_again(desk: Desk, disk_format: str) -> None:
    made = desk.again(name="data", size_gib=3, disk_format=disk_format)
    volume = made["volume"]
    assert made["volume_id"] == volume["volume_id"]
    assert (volume["state"], volume["size_gib"], volume["disk_format"]) == ("available", 3, disk_format)
    assert volume["tags"] == {"Name": "data"}
    assert volume["serial"] == volume["volume_id"].replace("-", "")
    assert len(volume["serial"]) == 20
    path = Path(volume["path"])
    assert path.name == f"{volume['volume_id']}.{disk_format}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert made["diff"]["before"] == ""

    gone = desk.call(name="data", state="absent")
    assert gone["volume"] == {**volume, "state": "deleted"}
    assert not path.exists()
    assert desk.call(name="data", state="absent")["changed"] is False
    assert desk.call(volume_id=volume["volume_id"], state="absent")["volume"] is None


def test_the_format_of_a_new_volume_is_qcow2_and_stays(desk: Desk) -> None:
    desk.again(name="data", size_gib=1)
    assert desk.call(name="data")["volume"]["disk_format"] == "qcow2"
    desk.refuse("InvalidParameterValue", "disk_format", "qcow2, not raw", name="data", disk_format="raw")


def test_attach_grow_and_detach(desk: Desk) -> None:
    made = desk.again(name="data", size_gib=1, instance=desk.first, device_name="/dev/sdf")
    volume_id = made["volume_id"]
    attachment = {"instance_id": desk.first, "device_name": "/dev/vdf", "delete_on_termination": False}
    assert made["volume"]["attachments"] == [attachment]
    assert made["volume"]["state"] == "in-use"
    assert desk.attached(desk.first) == {"vda": None, "vdb": None, "vdf": volume_id}
    # What is not stated stays.
    assert desk.call(name="data")["changed"] is False
    assert desk.call(instance=desk.first, device_name="vdf")["volume_id"] == volume_id

    # Online for a machine that runs, else its file.
    writes = len(desk.guard.writes)
    assert desk.again(name="data", size_gib=2)["volume"]["size_gib"] == 2
    assert desk.guard.writes[writes:] == [f"resize {desk.first}"]
    desk.hypervisor.running.clear()
    assert desk.again(volume_id=volume_id, size_gib=3)["volume"]["attachments"] == [attachment]

    gone = desk.again(name="data", instance="")
    assert (gone["volume"]["state"], gone["volume"]["attachments"]) == ("available", [])
    assert desk.attached(desk.first) == {"vda": None, "vdb": None}
    moved = desk.again(name="data", instance=desk.second)
    assert moved["volume"]["attachments"][0]["device_name"] == "/dev/vdf"


def test_check_mode_waits_for_whoever_copies(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "COPY_TIMEOUT", 0.1)
    with desk.store.volumes_lock():
        assert "in use" in refusal(desk.volume_task, desk.params(name="data", size_gib=1), check=True)["msg"]


def test_without_a_name_it_is_the_volume_of_its_place(desk: Desk) -> None:
    place = {"instance": desk.first, "device_name": "/dev/sdf"}
    made = desk.again(**place, size_gib=1)
    desk.again(volume_id=made["volume_id"], instance="")
    assert desk.again(**place, size_gib=2)["volume_id"] == made["volume_id"]
    desk.again(volume_id=made["volume_id"], instance="")
    desk.again(volume_id=made["volume_id"], instance=desk.second)
    desk.refuse("VolumeInUse", desk.second, **place, size_gib=2)


def test_the_volume_that_was_made_for_a_place_is_deleted_by_it(desk: Desk) -> None:
    place = {"instance": desk.first, "device_name": "/dev/sdf"}
    made = desk.again(**place, size_gib=1)
    kept = desk.again(instance=desk.first, device_name="/dev/sdg", size_gib=1)["volume_id"]
    named = desk.again(name="data", size_gib=1)["volume_id"]
    desk.refuse("VolumeInUse", desk.first, **place, state="absent")
    # It is as safe as by its id: neither what is attached elsewhere goes, nor what only a machine has.
    desk.again(volume_id=made["volume_id"], instance="")
    desk.again(volume_id=made["volume_id"], instance=desk.second)
    desk.refuse("VolumeInUse", desk.second, **place, state="absent")
    desk.again(volume_id=made["volume_id"], instance="")
    desk.hypervisor.held[desk.second, "vdf"] = Path(made["volume"]["path"])
    desk.refuse("VolumeInUse", desk.second, **place, state="absent")
    desk.hypervisor.held.clear()
    # What is attached there now is what is meant, whatever was made for it.
    desk.again(volume_id=named, instance=desk.first, device_name="/dev/sdf")
    desk.refuse("VolumeInUse", named, **place, state="absent")
    desk.again(volume_id=named, instance="")

    gone = desk.call(**place, state="absent")
    assert (gone["changed"], gone["volume_id"], gone["volume"]["state"]) == (True, made["volume_id"], "deleted")
    assert desk.call(**place, state="absent")["changed"] is False
    assert set(desk.store.records("volume").all()) == {kept, named}
    # Of an instance that is gone, too.
    execute(desk.task, {**PARAMS, "state": "terminated", "instance_ids": [desk.first]})
    assert desk.call(instance=desk.first, device_name="sdg", state="absent")["volume_id"] == kept


def test_a_volume_without_a_name_that_could_not_be_attached_is_found_again(desk: Desk) -> None:
    asked = desk.params(instance=desk.first, device_name="vdf", size_gib=1)
    desk.hypervisor.broken["attach"] = desk.first
    for _number in range(2):
        assert refusal(desk.volume_task, asked)["changed"] is (_number == 0)
    desk.hypervisor.broken.clear()
    done = execute(desk.volume_task, asked)
    assert list(desk.store.records("volume").all()) == [done["volume_id"]]
    assert desk.attached(desk.first)["vdf"] == done["volume_id"]


def test_a_failure_after_a_write_says_that_something_was_changed(desk: Desk) -> None:
    asked = desk.params(name="data", instance=desk.first, delete_on_termination=True)
    desk.again(name="data", size_gib=1)
    desk.hypervisor.broken["describe"] = desk.first  # the first write
    assert refusal(desk.volume_task, asked)["changed"] is False
    desk.hypervisor.broken = {"attach": desk.first}  # the flag is written by then
    assert refusal(desk.volume_task, asked)["changed"] is True
    desk.hypervisor.broken = {}
    execute(desk.volume_task, asked)
    detach = desk.params(name="data", instance="")
    desk.hypervisor.broken = {"detach": desk.first}
    assert refusal(desk.volume_task, detach)["changed"] is False
    desk.hypervisor.broken = {"describe": desk.first}
    assert refusal(desk.volume_task, detach)["changed"] is True
    assert "vdf" not in desk.attached(desk.first)


def test_tags_are_added_and_purged(desk: Desk) -> None:
    made = desk.again(name="data", size_gib=1, tags={"a": "1", "b": "2"})
    assert desk.call(name="data", purge_tags=True)["changed"] is False  # without tags there is nothing to compare
    assert desk.again(name="data", tags={"a": "3"})["volume"]["tags"] == {"Name": "data", "a": "3", "b": "2"}
    assert desk.again(name="data", tags={"a": "3"}, purge_tags=True)["volume"]["tags"] == {"Name": "data", "a": "3"}
    renamed = desk.again(volume_id=made["volume_id"], name="other")
    assert renamed["volume"]["tags"] == {"Name": "other", "a": "3"}
    assert renamed["diff"]["before"] != renamed["diff"]["after"]
    # As many as EC2 allows, whether they come at once or one after the other.
    many = {str(number): "" for number in range(48)}
    desk.again(volume_id=made["volume_id"], tags=many)
    for more in ({"c": ""}, {**many, "c": ""}):
        desk.refuse("TagLimitExceeded", "51 tags", volume_id=made["volume_id"], tags=more)


def test_whether_it_goes_with_the_instance_can_be_changed(desk: Desk) -> None:
    def goes() -> list[bool]:
        return [mapping["ebs"]["delete_on_termination"] for mapping in desk.mappings(desk.first)]

    desk.again(name="data", size_gib=1, instance=desk.first, delete_on_termination=True)
    assert goes() == [True]
    desk.again(name="data", delete_on_termination=False)
    assert goes() == [False]
    desk.again(name="data", delete_on_termination=True)
    desk.again(name="data", instance="")
    # Attached again it is as any other.
    desk.again(name="data", instance=desk.first)
    assert goes() == [False]


def test_device_names_are_taken_once(desk: Desk) -> None:
    desk.again(name="a", size_gib=1, instance=desk.first)
    second = desk.again(name="b", size_gib=1, instance=desk.first)
    assert second["volume"]["attachments"][0]["device_name"] == "/dev/vdg"
    for taken in ("/dev/xvdf", "vdg", "/dev/sdb"):
        desk.refuse("InvalidParameterValue", "is taken", name="c", size_gib=1, instance=desk.first, device_name=taken)


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("MissingParameter", {"size_gib": 1}),
        ("MissingParameter", {"name": "new"}),
        ("MissingParameter", {"name": "data", "device_name": "vdf"}),
        ("MissingParameter", {"name": "data", "delete_on_termination": True}),
        ("InvalidVolumeID.Malformed", {"volume_id": "vol-1"}),
        ("InvalidVolume.NotFound", {"volume_id": UNKNOWN}),
        ("InvalidVolume.NotFound", {"name": "new", "size_gib": 1, "instance": ""}),
        ("InvalidSnapshotID.Malformed", {"name": "new", "snapshot_id": "snap"}),
        ("InvalidSnapshot.NotFound", {"name": "new", "snapshot_id": "snap-0123456789abcdef0"}),
        ("InvalidInstanceID.Malformed", {"name": "data", "instance": "i-1"}),
        ("InvalidInstanceID.NotFound", {"name": "data", "instance": ABSENT_INSTANCE}),
        ("InvalidInstanceID.NotFound", {"name": "new", "size_gib": 1, "instance": ABSENT_INSTANCE}),
        ("InvalidParameterValue", {"name": "data", "size_gib": 1}),
        ("InvalidParameterValue", {"name": "data", "size_gib": 0}),
        ("InvalidParameterValue", {"name": "data", "size_gib": 65537}),
        ("InvalidParameterValue", {"name": "data", "device_name": "/dev/sda1"}),
        ("InvalidParameterValue", {"name": "data", "device_name": "../vdf"}),
        ("InvalidParameterValue", {"name": "data", "device_name": "vdf1"}),
        ("InvalidParameterValue", {"name": ""}),
        ("InvalidParameterValue", {"name": "data", "tags": {"aws:x": "1"}}),
        ("InvalidParameterValue", {"name": "data", "wait_timeout": -1}),
    ],
)
def test_bad_input_is_refused_before_the_first_write(desk: Desk, code: str, stated: dict[str, Any]) -> None:
    desk.again(name="data", size_gib=2)
    message = desk.refuse(code, **stated)
    assert code == "MissingParameter" or any(option in message for option in stated)


def test_a_uri_and_a_store_that_nothing_can_be_called_are_refused(desk: Desk) -> None:
    for stated in ({"uri": "qemu:///\0"}, {"store": "/a\0"}):
        asked = desk.params(name="data", size_gib=1, **{"uri": "fake:///", "store": "/s", **stated})
        assert next(iter(stated)) in refusal(VolumeTask, asked)["msg"]


def test_an_attached_volume_is_neither_deleted_nor_attached_elsewhere(desk: Desk) -> None:
    desk.again(name="data", size_gib=1, instance=desk.first)
    desk.refuse("VolumeInUse", desk.first, name="data", state="absent")
    desk.refuse("VolumeInUse", desk.first, name="data", instance=desk.second)
    desk.refuse("InvalidParameterValue", "/dev/vdf", name="data", device_name="vdg")
    desk.refuse("InvalidAttachment.NotFound", "/dev/vdf", name="data", instance="", device_name="vdg")


def test_a_name_of_several_volumes_needs_the_id(desk: Desk) -> None:
    first = desk.again(name="data", size_gib=1)["volume_id"]
    second = desk.again(name="other", size_gib=1)["volume_id"]
    desk.again(volume_id=second, name="data")
    desk.refuse("InvalidParameterValue", first, second, name="data")
    assert desk.call(volume_id=first)["changed"] is False


def test_a_file_that_leads_elsewhere_is_refused(desk: Desk, tmp_path: Path) -> None:
    path = Path(desk.again(name="data", size_gib=1)["volume"]["path"])
    secret = tmp_path / "secret"
    secret.write_text("s")
    qcow2(path, 1 << 30, backing=str(secret))
    desk.refuse("InvalidParameterValue", "backing file", str(secret), name="data", instance=desk.first)
    qcow2(path, 1 << 30, features=EXTERNAL_DATA)
    desk.refuse("InvalidParameterValue", "its content is in another file", name="data", instance=desk.first)
    path.unlink()
    os.symlink(secret, path)
    before = desk.snapshot()
    assert "symbolic link" in refusal(desk.volume_task, desk.params(name="data", instance=desk.first))["msg"]
    assert desk.snapshot() == before
    path.unlink()
    assert (
        execute(desk.volume_task, desk.params(name="data", state="absent"), check=True)["volume"]["state"] == "deleted"
    )
    desk.refuse("IncorrectState", str(path), name="data", instance=desk.first)
    os.symlink(secret, path)
    # It can still be deleted, and what it led to stays.
    assert desk.call(name="data", state="absent")["changed"]
    assert secret.read_text() == "s"


def test_a_volume_whose_file_is_gone_can_be_detached_and_deleted(desk: Desk) -> None:
    path = Path(desk.again(name="data", size_gib=1, instance=desk.first)["volume"]["path"])
    path.unlink()
    desk.refuse("IncorrectState", str(path), name="data", size_gib=2)
    desk.again(name="data", instance="")
    assert desk.call(name="data", state="absent")["changed"]


def test_what_only_a_running_machine_has_is_in_use_until_it_is_defined_or_detached(desk: Desk) -> None:
    """As a daemon leaves it that is killed between the two halves of an attachment."""
    for name in ("defined", "detached"):
        path = Path(desk.again(name=name, size_gib=1)["volume"]["path"])
        desk.hypervisor.held[desk.first, "vdf"] = path
        desk.refuse("VolumeInUse", desk.first, name=name, state="absent")
        desk.refuse("VolumeInUse", desk.first, name=name, instance=desk.second)
        desk.refuse("InvalidParameterValue", "/dev/vdf", name=name, instance=desk.first, device_name="vdg")
        assert desk.call(name=name)["changed"] is False
        assert path.exists()
        if name == "defined":
            attached = desk.again(name=name, instance=desk.first)["volume"]["attachments"][0]
            assert (attached["instance_id"], attached["device_name"]) == (desk.first, "/dev/vdf")
        desk.again(name=name, instance="")
        assert desk.call(name=name, state="absent")["changed"]


def test_a_volume_that_a_qemu_has_open_stays(desk: Desk) -> None:
    path = Path(desk.again(name="data", size_gib=1)["volume"]["path"])
    with path.open("rb") as stream:
        fcntl.fcntl(stream, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0))
        desk.refuse("VolumeInUse", "by a QEMU that libvirt knows nothing of", name="data", state="absent")
        desk.refuse("VolumeInUse", "by a QEMU that libvirt knows nothing of", name="data", instance=desk.first)
    assert path.exists()
    assert desk.call(name="data", state="absent")["changed"]


def test_a_volume_that_is_a_disk_of_somebody_elses_stays(desk: Desk) -> None:
    path = Path(desk.again(name="data", size_gib=1)["volume"]["path"])
    desk.hypervisor.held["theirs", "sdb"] = path
    desk.refuse("VolumeInUse", "the domain theirs, which is none", name="data", state="absent")
    desk.refuse("VolumeInUse", "the domain theirs, which is none", name="data", instance=desk.first)
    assert desk.call(name="data")["changed"] is False


@pytest.mark.parametrize("identity", [{"name": "data"}, {"device_name": "vdf"}], ids=["named", "nameless"])
@pytest.mark.parametrize("left", range(5))
def test_killed_anywhere_the_next_run_converges(desk: Desk, left: int, identity: dict[str, str]) -> None:
    asked = {**identity, "size_gib": 1, "instance": desk.first, "delete_on_termination": True}
    desk.guard.left = left
    with pytest.raises(Killed):
        execute(desk.volume_task, desk.params(**asked))
    desk.guard.left = None
    done = execute(desk.volume_task, desk.params(**asked))
    assert done["volume"]["state"] == "in-use"
    assert [path.name for path in (desk.store.root / "volumes").iterdir()] == [f"{done['volume_id']}.qcow2"]
    assert list(desk.store.records("volume").all()) == [done["volume_id"]]
    assert desk.call(**asked)["changed"] is False


def test_what_a_dead_run_left_goes_with_the_next(desk: Desk) -> None:
    desk.again(name="data", size_gib=1)
    directory = desk.store.root / "volumes"
    for name in (".incoming-vol-11111111111111111.qcow2", "vol-22222222222222222.raw", "notes.txt"):
        (directory / name).write_text("")
    desk.store.records("volume").put(
        "vol-33333333333333333",
        {"size_gib": 1, "disk_format": "raw", "create_time": "", "snapshot_id": None, "tags": {}, "complete": False},
    )
    swept = desk.again(name="data")
    assert swept["diff"]["before"].count("leftover") == 3
    assert len(desk.store.records("volume").all()) == 1
    assert sorted(path.name for path in directory.iterdir()) == ["notes.txt", f"{swept['volume_id']}.qcow2"]
