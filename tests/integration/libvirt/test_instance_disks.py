# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of instances on a real libvirtd: root disks of a size and kind, volumes at a launch, images of instances."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host, wait_until
from ansible_collections.pocket.cloud.tests.integration.libvirt.storage import Guest, Storage

GIB_OF_SECTORS = (1 << 30) // 512
WEB = {"pool": "web"}


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, guest_image)


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


def test_disks_of_a_guest_from_its_launch_to_an_image_of_it(cloud: Cloud) -> None:
    storage = Storage(cloud)
    guest = Guest(cloud, root_size_gib=1, volumes=[{"device_name": "/dev/sdf", "ebs": {"volume_size": 1}}])
    guest.wait()
    guest.sees("vda", GIB_OF_SECTORS)
    (serial,) = [one for one in guest.disks() if one.startswith("vol")]
    guest.sees(guest.disk(serial), GIB_OF_SECTORS)

    # Its disks grow and become more while it runs.
    volumes = [
        {"device_name": "/dev/sdf", "ebs": {"volume_size": 2}},
        {"device_name": "/dev/sdg", "ebs": {"volume_size": 1, "disk_format": "raw"}},
    ]
    ids: dict[str, Any] = {"instance_ids": [guest.instance_id]}
    mapped = cloud.both(**ids, root_size_gib=3, volumes=volumes)["instances"][0]["block_device_mappings"]
    assert cloud.both(**ids, root_size_gib=3, volumes=volumes)["changed"] is False
    guest.sees("vda", 3 * GIB_OF_SECTORS)
    guest.sees(guest.disk(serial), 2 * GIB_OF_SECTORS)
    serials = {one["ebs"]["volume_id"].replace("-", "") for one in mapped}
    wait_until("both disks", lambda: serials == {one for one in guest.disks() if one.startswith("vol")})

    # What it writes goes to a file of its own; the image stays what it was registered as.
    base = cloud.host.ok("ec2like_image_info", store=cloud.store, filters={"name": "guest"})["images"][0]
    content = cloud.host.path(base["path"]).read_bytes()
    assert base["checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"

    # An image of it has what is on its root disk, and the guest goes on.
    guest.sh("echo kept by the image >/var/lib/mark; sync")
    image = storage.again("ec2like_image", name="copy", instance_id=guest.instance_id, no_reboot=True)
    about = json.loads(cloud.host.run(["qemu-img", "info", "--output=json", image["image"]["path"]]).stdout)
    assert "backing-filename" not in about
    second = Guest(cloud, image_id="copy")
    second.wait()
    assert second.sh("cat /var/lib/mark") == "kept by the image"
    assert guest.sh("cat /var/www/boots") == "1"
    listed = cloud.host.ok("ec2like_image_info", store=cloud.store, filters={"name": "copy"})["images"][0]
    assert (listed["instance_ids"], listed["source"]) == ([second.instance_id], guest.instance_id)
    refused = storage.refused("ec2like_image", name="copy", state="absent")
    assert refused["error_code"] == "DependencyViolation"

    cloud.run(state="terminated", **ids)
    assert storage.files("volumes") == set()


def test_an_image_of_an_instance_that_is_stopped_for_it(idle: Cloud) -> None:
    storage = Storage(idle)
    launched = idle.run(count=1, tags=WEB)["instance_ids"]
    image = storage.again("ec2like_image", name="copy", instance_id=launched[0], stop_timeout=0)["image"]
    assert idle.domains() == idle.domains("--state-running") == set(launched)
    assert idle.run(count=1, tags=WEB, image_id=image["image_id"])["changed"]
    idle.assert_whole(2)


def test_an_instance_that_could_not_be_started_again_is_not_stopped_for_an_image(idle: Cloud) -> None:
    storage = Storage(idle)
    instance_id = idle.run(count=1, tags=WEB)["instance_ids"][0]
    asked = {"name": "copy", "instance_id": instance_id, "stop_timeout": 0}
    seed = storage.root / "instances" / instance_id / "seed.iso"
    away = seed.with_name("away")
    seed.rename(away)
    refused = storage.refused("ec2like_image", **asked)
    assert refused["error_code"] == "IncorrectInstanceState"
    assert seed.name in refused["msg"]
    assert idle.domains("--state-running") == {instance_id}
    away.rename(seed)
    idle.host.virsh("net-destroy", "pocket")
    assert storage.refused("ec2like_image", **asked)["error_code"] == "IncorrectState"
    assert idle.domains("--state-running") == {instance_id}
    idle.host.virsh("net-start", "pocket")
    idle.host.virsh("suspend", instance_id)
    frozen = storage.refused("ec2like_image", **{**asked, "no_reboot": True, "freeze": True})
    assert frozen["error_code"] == "IncorrectInstanceState"
    idle.host.virsh("resume", instance_id)
    storage.again("ec2like_image", **asked)
    idle.assert_whole(1)


def modes(storage: Storage, host: Host) -> dict[str, set[tuple[str, str]]]:
    """The modes and the owners of all disks in the store, by directory."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in host.run(["find", storage.store, "-type", "f", "-printf", "%P %m %u\\n"]).stdout.splitlines():
        name, mode, owner = line.split()
        found.setdefault(name.partition("/")[0], set()).add((mode, owner))
    return found


def test_nobody_but_root_and_qemu_may_read_disks(cloud: Cloud) -> None:
    storage = Storage(cloud)
    volumes = [{"device_name": "/dev/sdf", "ebs": {"volume_size": 1}}]
    linked = Guest(cloud, volumes=volumes)
    copied = Guest(cloud, disk_clone="full")
    raw = Guest(cloud, disk_format="raw")
    for guest in (linked, copied, raw):
        guest.wait()
    storage.again("ec2like_image", name="copy", instance_id=linked.instance_id, no_reboot=True)
    found = modes(storage, cloud.host)
    assert found["volumes"] == {("600", "libvirt-qemu")}
    assert found["instances"] == {("600", "libvirt-qemu"), ("600", "root")}
    # libvirt hands the image behind a disk to QEMU's user, too; the others stay root's.
    assert found["images"] == {("400", "libvirt-qemu"), ("400", "root")}
    # So it is for machines that start again after others that shared the image have ended.
    ids = [guest.instance_id for guest in (linked, copied)]
    cloud.run(state="stopped", instance_ids=ids, stop_timeout=0)
    assert {mode for kind in modes(storage, cloud.host).values() for mode, _owner in kind} == {"400", "600"}
    cloud.run(state="running", instance_ids=ids)
    linked.wait()


def driver(cloud: Cloud, instance_id: str) -> Any:
    root = ET.fromstring(cloud.host.virsh("dumpxml", "--inactive", instance_id))
    return {key: value for key, value in root.find("devices/disk/driver").attrib.items() if key != "name"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, {"type": "qcow2", "discard": "unmap"}),
        ({"disk_clone": "full"}, {"type": "qcow2", "discard": "unmap"}),
        ({"disk_format": "raw"}, {"type": "raw", "discard": "unmap"}),
        (
            {"disk_cache": "unsafe", "disk_discard": "ignore"},
            {"type": "qcow2", "discard": "ignore", "cache": "unsafe"},
        ),
    ],
    ids=["linked", "full", "raw", "cache"],
)
def test_kinds_of_root_disks(idle: Cloud, stated: dict[str, Any], expected: dict[str, str]) -> None:
    launched = idle.run(count=1, tags=WEB, root_size_gib=2, **stated)["instance_ids"][0]
    assert driver(idle, launched) == expected
    path = idle.host.virsh("domblklist", launched).split()[1]
    about = json.loads(idle.host.run(["qemu-img", "info", "-U", "--output=json", "-f", expected["type"], path]).stdout)
    assert about["virtual-size"] == 2 << 30
    full = "disk_format" in stated or "disk_clone" in stated
    assert ("backing-filename" in about) is not full
    # A full copy needs its image no more.
    gone = idle.host.module("ec2like_image", store=idle.store, name="guest", state="absent")
    assert gone.get("error_code") == (None if full else "DependencyViolation")
    idle.run(state="stopped", instance_ids=[launched], stop_timeout=0)
    idle.run(state="running", instance_ids=[launched], root_size_gib=3)
    assert idle.host.virsh("domblkinfo", launched, "vda").split()[1] == str(3 << 30)
