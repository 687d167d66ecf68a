# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of disks of guests that run and of those that do not, on a real libvirtd, and what they are good for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host, wait_until
from ansible_collections.pocket.cloud.tests.integration.libvirt.storage import Guest, Storage


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, guest_image)


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


def test_what_a_running_guest_wrote_is_read_by_another_from_a_volume_of_the_snapshot(cloud: Cloud) -> None:
    storage = Storage(cloud)
    first, second = Guest(cloud), Guest(cloud)
    first.wait()
    volume = storage.volume(name="data", size_gib=1, instance=first.instance_id)
    name = first.disk(volume["serial"])
    first.sh(f"dd if=/dev/urandom of=/dev/{name} bs=1M count=8 conv=fsync 2>/dev/null")
    digest = first.sh(f"head -c 8388608 /dev/{name} | sha256sum").split()[0]
    made = storage.again("ec2like_snapshot", name="then", volume_id=volume["volume_id"])
    assert (made["snapshot"]["state"], made["snapshot"]["volume_size"]) == ("completed", 1)
    first.sh(f"dd if=/dev/zero of=/dev/{name} bs=1M count=8 conv=fsync 2>/dev/null")  # what came later is not in it

    second.wait()
    copy = storage.volume(name="copy", snapshot_id=made["snapshot_id"], size_gib=2, instance=second.instance_id)
    name = second.disk(copy["serial"])
    assert second.sh(f"head -c 8388608 /dev/{name} | sha256sum").split()[0] == digest
    second.sees(name, (2 << 30) // 512)
    # The root disk stands alone in its snapshot, though it is a clone of an image.
    root = storage.again("ec2like_snapshot", name="root", instance_id=first.instance_id)["snapshot"]
    about = json.loads(cloud.host.run(["qemu-img", "info", "--output=json", "-f", "qcow2", root["path"]]).stdout)
    assert "backing-filename" not in about
    assert about["virtual-size"] == 128 << 20
    assert cloud.host.run(["qemu-img", "check", "-q", "-f", "qcow2", root["path"]]).returncode == 0
    assert storage.files("snapshots") == {Path(one["path"]).name for one in (made["snapshot"], root)}
    frozen = cloud.host.refused("ec2like_snapshot", store=cloud.store, instance_id=first.instance_id, freeze=True)
    assert "agent" in frozen["msg"]  # this guest has none
    assert len(storage.files("snapshots")) == 2
    assert first.sh("echo still here") == "still here"


def needs_recovery(host: Host, path: str) -> bool:
    """Whether the ext4 in the last partition of a disk has a journal that is to be replayed."""

    def read(offset: int) -> bytes:
        skip = offset // 512
        where = ["bs=512", f"skip={skip}", f"count={skip + 2}"]  # qemu-img counts what is skipped, too
        host.run(["qemu-img", "dd", "-f", "qcow2", "-O", "raw", *where, f"if={path}", "of=/var/sectors"])
        return host.path("/var/sectors").read_bytes()

    table = read(0)[446:510]
    start = max(int.from_bytes(table[entry + 8 : entry + 12], "little") for entry in (0, 16, 32, 48))
    superblock = read(start * 512 + 1024)
    assert superblock[56:58] == b"\x53\xef"
    return bool(int.from_bytes(superblock[96:100], "little") & 4)  # ext4's INCOMPAT_RECOVER


@pytest.fixture
def debian(host: Host, store: str, debian_image: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, debian_image)


def test_file_systems_that_were_frozen_are_clean(debian: Cloud) -> None:
    """A Debian with its agent, whose root file system is mounted: its journal is empty only while it is frozen."""
    host, storage = debian.host, Storage(debian)
    instance_id = debian.run(name="debian", vcpus=2, memory_mib=512)["instance_ids"][0]
    agent = ["virsh", "-q", "-c", "qemu:///system", "qemu-agent-command", instance_id]
    ping = [*agent, '{"execute": "guest-ping"}']
    wait_until("the guest's agent", lambda: host.run(ping, check=False).returncode == 0, 240, 2)
    host.virsh("domfsfreeze", instance_id)  # as a run leaves it that is killed before it could thaw it
    asked = {"instance_id": instance_id, "freeze": True}
    frozen = storage.again("ec2like_snapshot", name="frozen", **asked)["snapshot"]
    assert "thawed" in host.run([*agent, '{"execute": "guest-fsfreeze-status"}']).stdout
    image = storage.again("ec2like_image", name="frozen", no_reboot=True, **asked)["image"]
    assert "thawed" in host.run([*agent, '{"execute": "guest-fsfreeze-status"}']).stdout
    assert needs_recovery(host, image["path"]) is False
    running = storage.again("ec2like_snapshot", name="running", instance_id=instance_id)["snapshot"]
    assert needs_recovery(host, frozen["path"]) is False
    assert needs_recovery(host, running["path"]) is True


@pytest.mark.parametrize("disk_format", ["qcow2", "raw"])
def test_of_a_volume_that_nothing_has(idle: Cloud, disk_format: str) -> None:
    storage = Storage(idle)
    volume = storage.volume(name="data", size_gib=1, disk_format=disk_format)
    content = hashlib.sha256(b"x").digest() * 32768
    write = ["qemu-io", "-f", disk_format, "-c", "write -s /var/content 0 1M", volume["path"]]
    idle.host.path("/var/content").write_bytes(content)
    idle.host.run(write)
    made = storage.again("ec2like_snapshot", name="s", volume_id=volume["volume_id"])["snapshot"]
    storage.again("ec2like_volume", name="data", state="absent")
    other = {"qcow2": "raw", "raw": "qcow2"}[disk_format]
    copy = storage.volume(name="copy", snapshot_id=made["snapshot_id"], disk_format=other)
    storage.again("ec2like_snapshot", name="s", state="absent")
    idle.host.run(["qemu-img", "convert", "-f", other, "-O", "raw", copy["path"], "/var/back"])
    back = idle.host.path("/var/back")
    assert back.stat().st_size == 1 << 30
    with back.open("rb") as stream:
        assert stream.read(1 << 20) == content
    assert storage.files("snapshots") == set()
    assert storage.files("volumes") == {Path(copy["path"]).name}


def test_of_a_disk_whose_image_is_gone_or_damaged(idle: Cloud) -> None:
    """What the disk is a clone of cannot be read: that is said, nothing is left, and it works when it is back."""
    storage = Storage(idle)
    instance_id = idle.run(count=1, tags={"a": "b"})["instance_ids"][0]
    idle.run(state="stopped", instance_ids=[instance_id], stop_timeout=0)
    base = storage.root / "images" / next(iter(storage.files("images")))
    asked = {"name": "s", "instance_id": instance_id}
    away = base.with_name("away")
    base.rename(away)
    for module in ("ec2like_snapshot", "ec2like_image"):
        failed = idle.host.module(module, store=idle.store, **{**asked, "name": "new"})
        assert failed.get("failed")
        assert base.name in failed["msg"]
    assert storage.files("snapshots") == set()
    assert storage.files("images") == {"away"}
    assert idle.refused(name="b")["error_code"] == "InvalidAMIID.Unavailable"
    away.rename(base)
    storage.again("ec2like_snapshot", **asked)
    idle.run(state="running", instance_ids=[instance_id])


def test_a_disk_whose_header_was_made_to_lead_elsewhere_is_refused(idle: Cloud) -> None:
    storage = Storage(idle)
    instance_id = idle.run(count=1, tags={"a": "b"})["instance_ids"][0]
    idle.run(state="stopped", instance_ids=[instance_id], stop_timeout=0)
    disk = f"{idle.store}/instances/{instance_id}/disk.qcow2"
    idle.host.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", disk])
    refused = storage.refused("ec2like_snapshot", name="s", instance_id=instance_id)
    assert refused["error_code"] == "InvalidParameterValue"
    assert "/etc/shadow" in refused["msg"]
    assert storage.files("snapshots") == set()
