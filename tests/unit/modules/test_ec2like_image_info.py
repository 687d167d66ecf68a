# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of instances: behind ec2like_image, as ec2like_image_info shows them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import disk_files, store
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.image_capture import CaptureTask, image_task
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.image_info import ImageInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.image_task import ImageTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.lifecycle import Lifecycle
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed
from ansible_collections.pocket.cloud.tests.unit.modules import test_ec2like_volume
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


class Desk(test_ec2like_volume.Desk):
    """A host with two instances, and the module of images on it."""

    def image_params(self, **stated: Any) -> dict[str, Any]:
        unstated = dict.fromkeys(("path", "url", "checksum", "description"))
        own = {"name": "web", "instance_id": self.first, "no_reboot": False, "freeze": False, "stop_timeout": 0.1}
        return {**unstated, **own, "state": "present", "disk_format": "auto", "uri": "fake:///", "store": "", **stated}

    def capture_task(self, params: dict[str, Any]) -> CaptureTask:
        lifecycle = Lifecycle(self.hypervisor, self.store, threads=1)
        return CaptureTask(params, self.hypervisor, self.store, lifecycle)

    def shot(self) -> Any:
        files = sorted(path.name for path in self.store.image_directory.iterdir())
        return self.snapshot(), files, self.store.images()

    def capture(self, **stated: Any) -> dict[str, Any]:
        params = self.image_params(**stated)
        before = self.shot()
        self.guard.forbidden = True
        foretold = execute(self.capture_task, params, check=True)
        self.guard.forbidden = False
        assert self.shot() == before
        done = execute(self.capture_task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        for key, value in foretold["image"].items():
            assert value in (None, done["image"][key])
        return done

    def capture_again(self, **stated: Any) -> dict[str, Any]:
        first = self.capture(**stated)
        assert first["changed"] is True
        second = self.capture(**stated)
        assert second["changed"] is False
        assert second["image"] == first["image"]
        return first

    def capture_refused(self, code: str, **stated: Any) -> str:
        before = self.shot()
        self.guard.forbidden = True
        told = refusal(self.capture_task, self.image_params(**stated), check=True)
        self.guard.forbidden = False
        assert refusal(self.capture_task, self.image_params(**stated)) == told
        assert self.shot() == before
        assert told["error_code"] == code
        return str(told["msg"])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(shutil, "which", lambda _program: None)  # qemu-img is not what is under test
    return Desk(tmp_path, monkeypatch)


def test_which_task_it_is_depends_on_what_the_image_is_made_of(desk: Desk) -> None:
    assert isinstance(image_task(desk.image_params(store="/s")), CaptureTask)
    of_a_file = desk.image_params(instance_id=None, path="/x", store="/s")
    assert isinstance(image_task(of_a_file), ImageTask)
    assert refusal(image_task, {**of_a_file, "freeze": True})["error_code"] == "InvalidParameterCombination"


def test_the_guest_goes_on_where_that_is_stated(desk: Desk) -> None:
    writes = len(desk.guard.writes)
    image = desk.capture_again(no_reboot=True, description="d")["image"]
    assert desk.guard.writes[writes:] == [f"back up {desk.first}"]
    assert (image["name"], image["source"], image["description"]) == ("web", desk.first, "d")
    path = Path(image["path"])
    assert image["image_id"] == "ami-" + hashlib.sha256(path.read_bytes()).hexdigest()[:17]
    assert path.stat().st_mode & 0o777 == 0o400
    assert desk.capture_again(no_reboot=True, description="e")["image"]["description"] == "e"


def test_its_file_systems_are_frozen_on_request(desk: Desk) -> None:
    writes = len(desk.guard.writes)
    desk.capture_again(no_reboot=True, freeze=True)
    assert desk.guard.writes[writes:] == [f"freeze and back up {desk.first}"]
    assert "state no_reboot: true" in desk.capture_refused("InvalidParameterCombination", name="other", freeze=True)
    stated = {"name": "other", "freeze": True, "no_reboot": True}
    desk.hypervisor.paused[desk.first] = "Paused by hand"
    assert "(Paused by hand); let it go on" in desk.capture_refused("IncorrectInstanceState", **stated)
    desk.hypervisor.running.clear()
    assert "is stopped; leave it out" in desk.capture_refused("InvalidParameterCombination", **stated)
    assert desk.capture(no_reboot=True, freeze=True)["changed"] is False  # it is there


def test_else_it_is_stopped_and_started_again(desk: Desk) -> None:
    desk.capture_again()
    done = " ".join(desk.guard.writes)
    order = [done.index(f"{what} ") for what in (f"press {desk.first}", "copy disk.qcow2", f"start {desk.first}")]
    assert done.rindex(f"start {desk.first}") > order[1] > order[0]
    assert desk.first in desk.hypervisor.running


def stopped_by_a_capture_that_was_killed(desk: Desk) -> None:
    def killed(*_disks: object) -> None:
        desk.guard.left = 0
        desk.guard.write("copy")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk_files, "copy", killed)
        with pytest.raises(Killed):
            execute(desk.capture_task, desk.image_params())
    desk.guard.left = None
    assert desk.first not in desk.hypervisor.running


def state(desk: Desk, instance_id: str, asked: str) -> None:
    execute(desk.task, {**PARAMS, "wait": False, "instance_ids": [instance_id], "state": asked})


def test_the_next_one_starts_what_a_dead_one_has_stopped(desk: Desk) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    desk.capture_again(name="other", instance_id=desk.second)
    assert desk.hypervisor.running == {desk.first, desk.second}


def test_what_was_started_and_stopped_since_stays_stopped(desk: Desk) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    state(desk, desk.first, "running")
    state(desk, desk.first, "stopped")
    desk.capture_again(name="other", instance_id=desk.second)
    assert desk.hypervisor.running == {desk.second}


def test_what_was_terminated_since_is_owed_nothing(desk: Desk) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    state(desk, desk.first, "terminated")
    desk.capture_again(name="other", instance_id=desk.second)
    assert desk.hypervisor.running == {desk.second}


def test_a_stopped_one_stays_stopped(desk: Desk) -> None:
    desk.hypervisor.running.clear()
    desk.capture_again()
    assert desk.hypervisor.running == set()


@pytest.mark.parametrize("lock", ["images_lock", "volumes_lock"])
def test_check_mode_waits_for_whoever_copies(desk: Desk, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    monkeypatch.setattr(store, "COPY_TIMEOUT", 0.1)
    with getattr(desk.store, lock)():
        assert "in use" in refusal(desk.capture_task, desk.image_params(), check=True)["msg"]


def test_a_name_belongs_to_one_instance(desk: Desk) -> None:
    desk.capture_again(no_reboot=True)
    assert desk.first in desk.capture_refused("InvalidAMIName.Duplicate", instance_id=desk.second)
    desk.capture_refused("InvalidAMIName.Duplicate", name="guest")


def test_a_damaged_one_is_made_anew(desk: Desk) -> None:
    path = Path(desk.capture_again(no_reboot=True)["image"]["path"])
    path.unlink()
    assert Path(desk.capture_again(no_reboot=True)["image"]["path"]).exists()


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("InvalidAMIName.Malformed", {"name": "a"}),
        ("InvalidInstanceID.Malformed", {"instance_id": "i-1"}),
        ("InvalidInstanceID.NotFound", {"instance_id": test_ec2like_volume.ABSENT_INSTANCE}),
        ("InvalidParameterCombination", {"path": "/disk"}),
        ("InvalidParameterCombination", {"url": "https://x/"}),
        ("InvalidParameterCombination", {"checksum": "sha256:0"}),
        ("InvalidParameterCombination", {"state": "absent"}),
        ("InvalidParameterValue", {"disk_format": "raw"}),
        ("InvalidParameterValue", {"description": "d" * 256}),
        ("InvalidParameterValue", {"description": "\ud800"}),
        ("InvalidParameterValue", {"stop_timeout": -1}),
    ],
)
def test_bad_input_is_refused_before_the_first_write(desk: Desk, code: str, stated: dict[str, Any]) -> None:
    assert str(next(iter(stated))) in desk.capture_refused(code, **stated)


def test_a_disk_that_leads_elsewhere_is_refused(desk: Desk) -> None:
    qcow2(desk.store.instance_directory(desk.first) / "disk.qcow2", backing="/etc/shadow")
    assert "/etc/shadow" in desk.capture_refused("InvalidParameterValue")


@pytest.mark.parametrize("mode", ["stopped", "running", "frozen"])
@pytest.mark.parametrize("left", range(9))
def test_killed_anywhere_the_next_run_converges(desk: Desk, left: int, mode: str) -> None:
    stated = {"no_reboot": mode != "stopped", "freeze": mode == "frozen"}
    writes = len(desk.guard.writes)
    desk.guard.left = left
    try:
        execute(desk.capture_task, desk.image_params(**stated))
    except Killed:
        pass
    else:
        assert left >= (6 if mode == "stopped" else 1)
    desk.guard.left = None
    done = execute(desk.capture_task, desk.image_params(**stated))
    # A guest that is shut down for the copy is off whichever run makes it, and one that goes on is frozen if asked.
    made = {"stopped": "copy disk.qcow2", "running": f"back up {desk.first}"}.get(
        mode, f"freeze and back up {desk.first}"
    )
    assert {one for one in desk.guard.writes[writes:] if one.startswith(("copy", "back up", "freeze"))} == {made}
    assert desk.hypervisor.running == {desk.first, desk.second}
    assert sorted(path.name for path in desk.store.image_directory.iterdir()) == sorted(
        [Path(done["image"]["path"]).name, "ami-0123456789abcdef0.raw"]
    )
    assert desk.capture(**stated)["changed"] is False


@pytest.fixture
def removal(desk: Desk) -> Any:
    """A task for a file that meets the copy of an instance's disk that a dead run was making."""
    (desk.store.image_directory / ".incoming-0").touch()
    params = desk.image_params(name="none", instance_id=None, state="absent")
    return lambda _asked: ImageTask(params, desk.store, desk.hypervisor)


def test_a_copy_that_a_dead_run_has_left_to_qemu_is_ended_by_tasks_for_files_too(desk: Desk, removal: Any) -> None:
    writes = len(desk.guard.writes)
    assert execute(removal, {})["changed"] is True
    assert desk.guard.writes[writes:] == [f"abort {desk.first}", f"abort {desk.second}"]
    assert not (desk.store.image_directory / ".incoming-0").exists()
    assert execute(removal, {})["changed"] is False


@pytest.mark.parametrize("writing", [True, False])
def test_a_copy_to_which_qemu_may_write_stays_until_that_is_ended(
    desk: Desk, removal: Any, monkeypatch: pytest.MonkeyPatch, writing: bool
) -> None:
    monkeypatch.setattr(disk_files, "is_open_in_qemu", lambda _path: writing)
    desk.hypervisor.broken["abort"] = desk.first  # as where there is no libvirt
    if writing:
        assert "Cannot abort" in refusal(removal, {})["msg"]
    else:
        execute(removal, {})
    assert (desk.store.image_directory / ".incoming-0").exists() is writing


def listed(desk: Desk, **stated: Any) -> dict[str, Any]:
    return execute(lambda asked: ImageInfoTask(asked, desk.store), {"image_ids": None, "filters": None, **stated})


def test_images_are_listed_with_their_users(desk: Desk) -> None:
    made = desk.capture(no_reboot=True, description="of an instance")["image"]
    base = str(desk.store.image_path("ami-0123456789abcdef0", "raw"))
    qcow2(desk.store.instance_directory(desk.first) / "disk.qcow2", backing=base)
    images = {image["name"]: image for image in listed(desk)["images"]}
    assert images["web"] == {**made, "instance_ids": [], "instance_count": 0}
    assert (images["guest"]["instance_ids"], images["guest"]["instance_count"]) == ([desk.first], 1)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["guest", "web"]),
        ({"name": "w?b"}, ["web"]),
        ({"description": "of *"}, ["web"]),
        ({"source-instance-id": "i-*"}, ["web"]),
        ({"image-id": "ami-0123456789abcdef0"}, ["guest"]),
        ({"state": "available", "creation-date": "2026-01*"}, ["guest"]),
        ({"state": "failed"}, []),
    ],
)
def test_filters_select(desk: Desk, filters: dict[str, Any], names: list[str]) -> None:
    desk.capture(no_reboot=True, description="of an instance")
    assert [image["name"] for image in listed(desk, filters=filters)["images"]] == names


def test_a_damaged_image_is_shown_as_failed(desk: Desk) -> None:
    path = desk.store.image_path("ami-0123456789abcdef0", "raw")
    path.write_bytes(b"")
    assert listed(desk, image_ids=["ami-0123456789abcdef0"])["images"][0]["state"] == "failed"


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("InvalidAMIID.Malformed", {"image_ids": ["ami-1"]}),
        ("InvalidAMIID.NotFound", {"image_ids": ["ami-11111111111111111"]}),
        ("InvalidParameterValue", {"filters": {"owner-id": "x"}}),
        ("InvalidParameterValue", {"filters": {"tag:env": "x"}}),
    ],
)
def test_bad_input_of_the_list_is_refused(desk: Desk, code: str, stated: dict[str, Any]) -> None:
    params = {"image_ids": None, "filters": None, **stated}
    failed = refusal(lambda asked: ImageInfoTask(asked, desk.store), params)
    assert failed["error_code"] == code
