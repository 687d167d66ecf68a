# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_image stops to make an image of it, and starts again: if that can be, and after runs that died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import disk_files
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.capacity import HostSize
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2
from ansible_collections.pocket.cloud.tests.unit.modules import test_ec2like_image_info
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_image_info import (
    Desk,
    state,
    stopped_by_a_capture_that_was_killed,
)
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

desk = test_ec2like_image_info.desk


def warnings(desk: Desk, **stated: Any) -> str:
    task = desk.capture_task(desk.image_params(**stated))
    current = task.read()
    return " ".join(task.warnings(task.plan(current), current))


def order(desk: Desk, since: int) -> list[str]:
    """The copies, and what was started and stopped for them."""
    of_interest = ("press", "copy", "back up", "freeze", "start")
    return [write for write in desk.guard.writes[since:] if write.startswith(of_interest)]


@pytest.mark.parametrize("stated", [{}, {"no_reboot": True}, {"no_reboot": True, "freeze": True}])
def test_what_a_dead_run_has_stopped_is_copied_before_it_is_started(desk: Desk, stated: dict[str, Any]) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    writes = len(desk.guard.writes)
    assert "its disk is copied as it is, and it is started again then" in warnings(desk, **stated)
    done = desk.capture_again(**stated)
    assert order(desk, writes) == ["copy disk.qcow2", f"start {desk.first}"]
    assert desk.hypervisor.running == {desk.first, desk.second}
    for when, has in (("before", "stopped"), ("after", "running")):
        assert f"{desk.first}:\n  state: {has}" in done["diff"][when]


def test_others_that_a_dead_run_has_stopped_need_not_wait_for_the_copy(desk: Desk) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    writes = len(desk.guard.writes)
    desk.capture_again(name="other", instance_id=desk.second, no_reboot=True)
    assert order(desk, writes) == [f"start {desk.first}", f"back up {desk.second}"]


def test_it_is_started_though_its_image_cannot_be_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_by_a_capture_that_was_killed(desk)

    def full(*_disks: object) -> None:
        raise PocketError("Cannot copy the disk: No space left on device")

    monkeypatch.setattr(disk_files, "copy", full)
    failed = refusal(desk.capture_task, desk.image_params())
    assert "No space left" in failed["msg"]
    assert failed["changed"] is True
    assert desk.hypervisor.running == {desk.first, desk.second}


def test_that_it_could_not_be_started_either_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_disks: object) -> None:
        raise PocketError("Cannot copy the disk: No space left on device")

    monkeypatch.setattr(disk_files, "copy", full)
    desk.hypervisor.broken["start"] = desk.first
    failed = refusal(desk.capture_task, desk.image_params())
    assert "No space left on device; and the instance could not be started again: Cannot start" in failed["msg"]
    assert failed["changed"] is True


def test_it_is_said_that_there_is_the_image_of_one_that_could_not_be_started(desk: Desk) -> None:
    desk.hypervisor.broken["start"] = desk.first
    failed = refusal(desk.capture_task, desk.image_params())
    assert "Cannot start" in failed["msg"]
    assert failed["changed"] is True
    desk.hypervisor.broken.clear()
    assert execute(desk.capture_task, desk.image_params())["changed"] is True
    assert desk.hypervisor.running == {desk.first, desk.second}
    assert desk.capture()["changed"] is False


def test_one_that_somebody_starts_meanwhile_is_not_copied(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.hypervisor.running.discard(desk.first)
    params = desk.image_params()
    task = desk.capture_task(params)
    plan = task.plan(task.read())
    desk.hypervisor.running.add(desk.first)
    with task.exclusive(), pytest.raises(PocketError, match="somebody has started it meanwhile"):
        task.apply(plan)
    assert desk.store.images() == [image for image in desk.store.images() if image.name == "guest"]


# Refused before the stop


def lose_seed(desk: Desk, instance_id: str) -> str:
    path = desk.store.instance_directory(instance_id) / "seed.iso"
    path.unlink()
    return str(path)


def lose_image(desk: Desk, instance_id: str) -> str:
    path = desk.store.image_path("ami-0123456789abcdef0", "raw")
    qcow2(desk.store.instance_directory(instance_id) / "disk.qcow2", backing=str(path))
    path.unlink()
    return str(path)


def lose_volume(desk: Desk, instance_id: str) -> str:
    path = Path(desk.call(name="data", size_gib=1, instance=instance_id)["volume"]["path"])
    path.unlink()
    return str(path)


def lose_network(desk: Desk, _instance_id: str) -> str:
    desk.hypervisor.nets["pocket"] = replace(desk.hypervisor.nets["pocket"], active=False)
    return "start it with ec2like_network"


LOSSES: list[tuple[Callable[[Desk, str], str], str]] = [
    (lose_seed, "IncorrectInstanceState"),
    (lose_image, "IncorrectInstanceState"),
    (lose_volume, "IncorrectInstanceState"),
    (lose_network, "IncorrectState"),
]


@pytest.mark.parametrize(("lose", "code"), LOSSES)
def test_one_that_could_not_be_started_again_is_not_stopped(desk: Desk, lose: Any, code: str) -> None:
    lost = lose(desk, desk.first)
    writes = len(desk.guard.writes)
    told = desk.capture_refused(code)
    assert desk.guard.writes[writes:] == []
    assert lost in told
    assert "could not be started again" in told
    assert "or state no_reboot: true" in told
    desk.capture_again(no_reboot=True)


@pytest.mark.parametrize(("lose", "code"), LOSSES)
def test_one_that_a_dead_run_has_stopped_is_owed_its_start(desk: Desk, lose: Any, code: str) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    lost = lose(desk, desk.first)
    told = desk.capture_refused(code)
    assert lost in told
    assert "stays stopped" in told
    state(desk, desk.first, "stopped")  # the way out that is told
    desk.hypervisor.nets["pocket"] = desk.network()
    if lose is not lose_image:  # of which nothing can be read
        desk.capture_again()
        assert desk.hypervisor.running == {desk.second}


@pytest.mark.parametrize(("lose", "_code"), LOSSES[:3])
def test_others_that_cannot_be_started_stay_stopped_and_that_is_said(desk: Desk, lose: Any, _code: str) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    lost = lose(desk, desk.first)
    stated = {"name": "other", "instance_id": desk.second}
    assert lost in warnings(desk, **stated)
    desk.capture_again(**stated)
    assert desk.hypervisor.running == {desk.second}


def test_others_that_there_is_no_room_for_stay_stopped(desk: Desk) -> None:
    stopped_by_a_capture_that_was_killed(desk)
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=256 + 1024)
    stated = {"name": "other", "instance_id": desk.second, "no_reboot": True}
    assert "this host has room for" in warnings(desk, **stated)
    desk.capture_again(**stated)
    assert "room for" in desk.capture_refused("InsufficientInstanceCapacity")
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=256 + 2048)
    desk.capture_again()
    assert desk.hypervisor.running == {desk.first, desk.second}


def test_room_for_one_that_runs_is_there(desk: Desk) -> None:
    desk.hypervisor.size = HostSize(cpus=2, memory_mib=256)
    execute(desk.capture_task, desk.image_params())
    assert desk.hypervisor.running == {desk.first, desk.second}
