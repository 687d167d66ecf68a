# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes on a real libvirtd, with guests that write and read them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host
from ansible_collections.pocket.cloud.tests.integration.libvirt.storage import Guest, Storage

GIB_OF_SECTORS = (1 << 30) // 512


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, guest_image)


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


def test_a_volume_goes_from_guest_to_guest_and_grows_while_it_is_used(cloud: Cloud) -> None:
    storage = Storage(cloud)
    first, second = Guest(cloud), Guest(cloud)
    first.wait()
    volume = storage.volume(name="data", size_gib=1, instance=first.instance_id, device_name="/dev/sdf")
    name = first.disk(volume["serial"])
    first.sees(name, GIB_OF_SECTORS)
    first.sh(f"echo kept by the volume | dd of=/dev/{name} conv=fsync 2>/dev/null")

    storage.volume(name="data", size_gib=2)
    first.sees(name, 2 * GIB_OF_SECTORS)

    storage.volume(name="data", instance="")
    assert volume["serial"] not in first.disks()
    second.wait()
    storage.volume(name="data", instance=second.instance_id)
    name = second.disk(volume["serial"])
    assert second.sh(f"head -c 18 /dev/{name}") == "kept by the volume"
    # It is there after a stop and a start, too.
    cloud.run(state="restarted", instance_ids=[second.instance_id], stop_timeout=30)
    second.wait()
    name = second.disk(volume["serial"])
    assert second.sh(f"head -c 18 /dev/{name}; cat /sys/block/{name}/size").split("\n")[0].startswith("kept by")
    second.sees(name, 2 * GIB_OF_SECTORS)


def test_a_machine_takes_eleven_volumes_while_it_runs(cloud: Cloud) -> None:
    """As many as EC2 recommends names for: f to p."""
    storage = Storage(cloud)
    guest = Guest(cloud)
    guest.wait()
    for number in range(11):
        name = f"v{number}"
        cloud.host.ok("ec2like_volume", store=cloud.store, name=name, size_gib=1, instance=guest.instance_id)
    info = cloud.host.ok("ec2like_volume_info", store=cloud.store, filters={"status": "in-use"})
    assert len(info["volumes"]) == 11
    for volume in info["volumes"]:
        guest.disk(volume["serial"])
    assert storage.files("volumes") == {f"{one}.qcow2" for one in info["volume_ids"]}
    # One more needs a stop, and then the same call attaches it.
    more: dict[str, Any] = {"store": cloud.store, "name": "more", "size_gib": 1, "instance": guest.instance_id}
    failed = cloud.host.module("ec2like_volume", **more)
    assert failed["error_code"] == "AttachmentLimitExceeded"
    cloud.run(state="stopped", instance_ids=[guest.instance_id], stop_timeout=30)
    attached = cloud.host.ok("ec2like_volume", **more)["volume"]
    cloud.run(state="running", instance_ids=[guest.instance_id])
    guest.wait()
    guest.disk(attached["serial"])


def test_launches_do_not_wait_for_copies_of_disks(idle: Cloud) -> None:
    """One may take long: whoever makes it holds a lock of its own."""
    holder = idle.host.popen(["flock", "--no-fork", "--exclusive", f"{idle.store}/volumes.lock", "sleep", "30"])
    try:
        mapping = {"device_name": "vdf", "ebs": {"volume_size": 1}}
        launched = idle.run(name="a", tags={"a": "b"}, volumes=[mapping])["instances"][0]
        idle.run(name="a", state="terminated")
    finally:
        idle.host.kill(holder)
    assert launched["block_device_mappings"][0]["device_name"] == "/dev/vdf"
    assert Storage(idle).files("volumes") == set()


def test_one_run_alone_makes_the_volume_of_a_place(idle: Cloud) -> None:
    """Else the one that ends later takes away the file that a guest has from the other."""
    storage = Storage(idle)
    instance_id = idle.run(name="a")["instance_ids"][0]
    source = storage.volume(name="source", size_gib=1, disk_format="raw")
    with idle.host.path(source["path"]).open("r+b") as disk:
        disk.write(os.urandom(64 << 20))
    snapshot_id = storage.again("ec2like_snapshot", name="s", volume_id=source["volume_id"])["snapshot_id"]
    place = {"instance": instance_id, "device_name": "/dev/sdf"}
    with storage.held_when(
        lambda: storage.incoming("volumes"), "ec2like_volume", **place, snapshot_id=snapshot_id
    ) as copied:
        refused = idle.refused(
            instance_ids=[instance_id], volumes=[{"device_name": "/dev/sdf", "ebs": {"volume_size": 10}}]
        )
        assert refused["error_code"] == "IncorrectState"
        idle.both(instance_ids=[instance_id], volumes=[{"device_name": "/dev/sdg", "ebs": {"volume_size": 1}}])
    assert copied["changed"] is True, copied
    assert copied["volume"]["snapshot_id"] == snapshot_id
    assert refused["msg"].startswith(f"volumes: {copied['volume_id']} is creating")
    storage.assert_whole()
    assert copied["volume"]["path"] in idle.host.virsh("domblklist", instance_id)
    assert copied["volume"]["attachments"][0]["device_name"] == "/dev/vdf"
    idle.run(name="a", state="terminated")
    for identity in ({"volume_id": copied["volume_id"]}, {"name": "source"}):
        storage.again("ec2like_volume", **identity, state="absent")
    storage.again("ec2like_snapshot", name="s", state="absent")


@pytest.mark.parametrize("disk_format", ["qcow2", "raw"])
def test_the_life_of_a_volume_with_a_stopped_machine(idle: Cloud, disk_format: str) -> None:
    storage = Storage(idle)
    instance_id = idle.run(count=1, tags={"a": "b"}, state="running")["instance_ids"][0]
    idle.run(state="stopped", instance_ids=[instance_id], stop_timeout=0)
    volume = storage.volume(name="data", size_gib=1, disk_format=disk_format, instance=instance_id)
    about = json.loads(idle.host.run(["qemu-img", "info", "--output=json", "-f", disk_format, volume["path"]]).stdout)
    assert (about["virtual-size"], about["format"]) == (1 << 30, disk_format)
    assert about["actual-size"] < 1 << 20
    storage.volume(name="data", size_gib=3)
    assert f"<serial>{volume['serial']}</serial>" in idle.host.virsh("dumpxml", instance_id)
    refused = storage.refused("ec2like_volume", name="data", size_gib=2)
    assert refused["error_code"] == "InvalidParameterValue"
    assert storage.refused("ec2like_volume", name="data", state="absent")["error_code"] == "VolumeInUse"
    idle.run(state="running", instance_ids=[instance_id])
    assert volume["path"] in idle.host.virsh("domblklist", instance_id)
    # A machine whose guest hears nothing does not let go; the volume stays attached, and the task says so.
    failed = idle.host.module("ec2like_volume", store=idle.store, name="data", instance="", wait_timeout=1)
    assert failed["failed"]
    assert "did not let vdf go" in failed["msg"]
    assert storage.call("ec2like_volume", name="data")["volume"]["state"] == "in-use"
    idle.run(state="terminated", instance_ids=[instance_id])
    assert storage.call("ec2like_volume", name="data")["volume"]["state"] == "available"
    storage.again("ec2like_volume", name="data", state="absent")
    assert storage.files("volumes") == set()


def test_what_only_the_running_machine_has_is_not_deleted_and_can_be_defined_again(idle: Cloud) -> None:
    """As libvirtd leaves it when it is killed between the two halves of an attachment."""
    storage = Storage(idle)
    instance_id, other = idle.run(count=2, tags={"a": "b"})["instance_ids"]
    volume = storage.volume(name="data", size_gib=1, instance=instance_id)
    idle.host.virsh("detach-disk", instance_id, "vdf", "--config")
    assert storage.refused("ec2like_volume", name="data", state="absent")["error_code"] == "VolumeInUse"
    assert storage.refused("ec2like_volume", name="data", instance=other)["error_code"] == "VolumeInUse"
    again = storage.volume(name="data", instance=instance_id)
    assert again["attachments"] == volume["attachments"]
    assert volume["path"] in idle.host.virsh("domblklist", "--inactive", instance_id)
    # Somebody else's machine is not asked to let go.
    idle.run(state="terminated", instance_ids=[instance_id, other])
    source = f"<disk type='file'><source file='{volume['path']}'/><target dev='sda'/></disk>"
    theirs = f"<domain type='qemu'><name>theirs</name><memory>9999</memory><os><type>hvm</type></os><devices>{source}</devices></domain>"  # noqa: E501
    idle.host.path("/run/theirs.xml").write_text(theirs)
    idle.host.virsh("define", "/run/theirs.xml")
    assert "is a disk of the domain theirs" in storage.refused("ec2like_volume", name="data", state="absent")["msg"]
    idle.host.virsh("undefine", "theirs")
    # Nor is a QEMU that libvirt does not know of.
    pipe = subprocess.PIPE
    open_in = idle.host.popen(["qemu-io", "-f", "qcow2", volume["path"]], stdin=pipe, stdout=pipe)
    assert open_in.stdout is not None
    assert open_in.stdout.read(8) == "qemu-io>"
    assert (
        "by a QEMU that libvirt knows nothing of"
        in storage.refused("ec2like_volume", name="data", state="absent")["msg"]
    )
    open_in.communicate("quit\n")
    storage.again("ec2like_volume", name="data", state="absent")


def test_a_volume_whose_file_is_gone_is_named_and_can_be_given_up(idle: Cloud) -> None:
    """Else its instance could neither start nor be freed of it."""
    storage = Storage(idle)
    instance_id = idle.run(count=1, tags={"a": "b"})["instance_ids"][0]
    volume = storage.volume(name="data", size_gib=1, instance=instance_id)
    idle.run(state="stopped", instance_ids=[instance_id], stop_timeout=0)
    idle.host.path(volume["path"]).unlink()
    assert volume["path"] in idle.refused(image_id=None, state="running", instance_ids=[instance_id])["msg"]
    assert storage.refused("ec2like_volume", name="data", size_gib=2)["error_code"] == "IncorrectState"
    info = idle.host.ok("ec2like_volume_info", store=idle.store, filters={"status": "error"})
    assert info["volume_ids"] == [volume["volume_id"]]
    storage.again("ec2like_volume", name="data", instance="")
    storage.again("ec2like_volume", name="data", state="absent")
    idle.run(state="running", instance_ids=[instance_id])
