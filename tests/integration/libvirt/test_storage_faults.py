# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full disk, and SIGKILL, in the middle of each copy of a disk: nothing is left, and the next run converges."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import IDLE, Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host
from ansible_collections.pocket.cloud.tests.integration.libvirt.storage import Storage

MIB = 1 << 20
WEB = {"pool": "web"}


def heavy_image(directory: Path, mib: int) -> Path:
    """A disk from which a machine boots into idleness, full of what takes room and time to copy."""
    path = directory / "heavy.raw"
    path.write_bytes(IDLE + random.Random(7).randbytes(mib * MIB - len(IDLE)))
    return path


class FullCloud(Cloud):
    """A cloud whose store has as much room as is stated."""

    def resize(self, mib: int) -> None:
        self.host.run(["mount", "-o", f"remount,size={mib}m", self.store])

    def used(self) -> int:
        """MiB, rounded up."""
        told = self.host.run(["df", "--output=used", "--block-size=1M", self.store]).stdout
        return int(told.split()[-1])


@pytest.fixture
def full(host: Host, store: str, tmp_path: Path) -> Iterator[FullCloud]:
    host.path(store).mkdir()
    host.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=711", "tmpfs", store])
    made = FullCloud(host, store, heavy_image(tmp_path, 24))
    yield made
    made.resize(200)
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")
    host.run(["umount", "--lazy", store])


def fails(storage: Storage, module: str, **stated: Any) -> None:
    before = storage.known()
    failed = storage.host.module(module, store=storage.store, **stated)
    assert failed.get("failed"), failed
    assert "No space left on device" in failed["msg"]
    assert storage.known() == before
    storage.assert_whole()


def test_a_disk_that_is_full_in_the_middle_of_a_copy(full: FullCloud) -> None:
    storage = Storage(full)
    # Of a full clone nothing is left, neither disk nor domain nor address.
    failed = full.host.module("ec2like_instance", **full.params(name="a", disk_clone="full"))
    assert "No space left on device" in failed["msg"]
    full.assert_nothing_left()
    instance_id = full.run(name="a", tags=WEB)["instance_ids"][0]
    for state in ("running", "stopped"):
        full.run(state=state, instance_ids=[instance_id], stop_timeout=0)
        fails(storage, "ec2like_snapshot", name="s", instance_id=instance_id)
        fails(storage, "ec2like_image", name="copy", instance_id=instance_id, no_reboot=True)
        full.assert_whole(1)
    # With room the same call does what it was to do.
    full.resize(200)
    snapshot = storage.again("ec2like_snapshot", name="s", instance_id=instance_id)
    full.resize(full.used() + 8)
    volume = {"name": "v", "snapshot_id": snapshot["snapshot_id"]}
    fails(storage, "ec2like_volume", **volume)
    fails(storage, "ec2like_volume", **volume, disk_format="raw")
    mapping = {"device_name": "vdf", "ebs": {"snapshot_id": snapshot["snapshot_id"]}}
    failed = full.host.module("ec2like_instance", **full.params(name="b", volumes=[mapping]))
    assert "No space left on device" in failed["msg"]
    full.assert_whole(1)
    storage.assert_whole()
    full.resize(200)
    storage.again("ec2like_volume", **volume)
    full.run(name="b", tags=WEB, volumes=[mapping])
    full.assert_whole(2)
    storage.assert_whole()


@pytest.fixture
def heavy(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, heavy_image(tmp_path, 96))


def test_killed_in_the_middle_of_a_copy(heavy: Cloud) -> None:
    storage = Storage(heavy)
    instance_id = heavy.run(name="a", tags=WEB)["instance_ids"][0]
    images = ("ec2like_image", {"name": "copy", "instance_id": instance_id, "no_reboot": True})
    snapshots = ("ec2like_snapshot", {"name": "s", "instance_id": instance_id})
    for state in ("running", "stopped"):
        heavy.run(state=state, instance_ids=[instance_id], stop_timeout=0)
        for kind, (module, stated) in (("snapshots", snapshots), ("images", images)):
            storage.killed_when(lambda kind=kind: storage.incoming(kind), module, **stated)  # type: ignore[misc]
            assert storage.call(module, **stated)["changed"]
            assert storage.call(module, **stated)["changed"] is False
            storage.assert_whole()
            assert storage.call(module, name=stated["name"], state="absent")["changed"]
    snapshot = storage.again("ec2like_snapshot", **snapshots[1])
    volume = {"name": "v", "snapshot_id": snapshot["snapshot_id"]}
    storage.killed_when(lambda: storage.incoming("volumes"), "ec2like_volume", **volume)
    storage.again("ec2like_volume", **volume)
    storage.assert_whole()


def test_killed_while_an_instance_is_stopped_for_its_image(heavy: Cloud) -> None:
    """Its disk is copied before it is started: the image is byte for byte that of a machine that is off."""
    storage = Storage(heavy)
    instance_id = heavy.run(name="a", tags=WEB)["instance_ids"][0]
    asked = {"name": "copy", "instance_id": instance_id, "stop_timeout": 0}
    storage.killed_when(lambda: storage.incoming("images"), "ec2like_image", **asked)
    assert heavy.domains("--state-running") == set()
    copied = storage.again("ec2like_image", **asked)["image_id"]
    assert heavy.domains("--state-running") == {instance_id}
    heavy.run(state="stopped", instance_ids=[instance_id], stop_timeout=0)
    assert storage.again("ec2like_image", name="off", instance_id=instance_id)["image_id"] == copied
    storage.assert_whole()


def test_a_copy_that_a_killed_run_has_left_to_qemu_is_ended_by_any_task_for_images(heavy: Cloud) -> None:
    storage = Storage(heavy)
    instance_id = heavy.run(name="a", tags=WEB)["instance_ids"][0]
    asked = {"name": "copy", "instance_id": instance_id, "no_reboot": True}
    storage.killed_when(lambda: storage.incoming("images"), "ec2like_image", **asked)
    assert storage.call("ec2like_image", name="none", state="absent")["changed"]
    assert heavy.host.virsh("domjobinfo", instance_id).split() == ["Job", "type:", "None"]
    storage.again("ec2like_image", **asked)
    storage.assert_whole()


def duration(storage: Storage) -> float:
    """How many seconds a run takes that does nothing."""
    begun = time.monotonic()
    storage.call("ec2like_volume", name="none", state="absent")
    return (time.monotonic() - begun) / 2


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


def test_killed_at_any_moment_of_a_volumes_life(idle: Cloud) -> None:
    """Made, attached, grown, detached and deleted, each killed somewhere and then run again."""
    storage = Storage(idle)
    instance_id = idle.run(name="a", tags=WEB)["instance_ids"][0]
    idle.run(state="stopped", instance_ids=[instance_id], stop_timeout=0)
    whole = min(duration(storage) for _number in range(3))
    killed = 0
    for point in (0.65, 0.85, 1.05):
        for stated in (
            {"size_gib": 1, "instance": instance_id, "delete_on_termination": True},
            {"size_gib": 2},
            {"instance": ""},
            {"state": "absent"},
        ):
            killed += storage.killed_after(point * whole, "ec2like_volume", name="v", **stated)
            storage.call("ec2like_volume", name="v", **stated)
            assert storage.call("ec2like_volume", name="v", **stated)["changed"] is False
        storage.assert_whole()
    assert killed >= 3
    assert storage.files("volumes") == set()


def test_killed_in_a_launch_that_copies(heavy: Cloud) -> None:
    storage = Storage(heavy)
    instance_id = heavy.run(name="a", tags=WEB)["instance_ids"][0]
    snapshot = storage.again("ec2like_snapshot", name="s", instance_id=instance_id)
    heavy.run(name="a", state="terminated")
    mapping = {"device_name": "vdf", "ebs": {"snapshot_id": snapshot["snapshot_id"]}}
    asked = heavy.params(name="b", tags=WEB, disk_clone="full", volumes=[mapping])
    directory = heavy.host.path(heavy.store) / "instances"
    for begun in (lambda: any(directory.glob("i-*/disk.qcow2")), lambda: storage.incoming("volumes")):
        storage.killed_when(begun, "ec2like_instance", **asked)
        heavy.run(**asked)
        heavy.assert_whole(1)
        storage.assert_whole()
        assert heavy.run(**asked)["changed"] is False
        heavy.run(name="b", state="terminated")
        heavy.assert_nothing_left()
        assert storage.files("volumes") == set()
