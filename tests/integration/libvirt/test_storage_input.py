# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of volumes, snapshots, images, keys and groups are given on a real host, be it wrong or strange."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host
from ansible_collections.pocket.cloud.tests.integration.libvirt.storage import Storage

STRANGE = "v<&>\"' ключ \N{SNOWMAN} {{ 1 + 1 }}"
NOBODY = "0" * 17


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


def test_strange_names_tags_and_descriptions_come_back_unharmed(idle: Cloud) -> None:
    storage = Storage(idle)
    instance_id = idle.run(name=STRANGE, tags={STRANGE: STRANGE})["instance_ids"][0]
    tags = {STRANGE: STRANGE, "empty": ""}
    volume = storage.volume(name=STRANGE, size_gib=1, tags=tags, instance=instance_id)
    snapshot = storage.again("ec2like_snapshot", name=STRANGE, volume_id=volume["volume_id"], description=STRANGE)
    image = storage.again(
        "ec2like_image", name="a (b) [c] ./d-'@_", description=STRANGE, instance_id=instance_id, no_reboot=True
    )
    key = storage.again("ec2like_key", name="k<&>\"' {{ 1 }}", tags=tags)["key"]
    storage.again("ec2like_security_group", name="g<&>\"' {{ 1 }}", description="<&>\"'", tags=tags)
    wanted: dict[str, dict[str, Any]] = {
        "volume": {"filters": {f"tag:{STRANGE}": STRANGE}},
        "snapshot": {"filters": {"description": STRANGE}},
        "image": {"filters": {"description": STRANGE}},
        "key": {"names": [key["key_name"]]},
        "security_group": {"filters": {f"tag:{STRANGE}": STRANGE}},
    }
    told = {kind: idle.host.ok(f"ec2like_{kind}_info", store=idle.store, **by) for kind, by in wanted.items()}
    assert [(one["volume_id"], one["tags"]["Name"]) for one in told["volume"]["volumes"]] == [
        (volume["volume_id"], STRANGE)
    ]
    assert told["snapshot"]["snapshot_ids"] == [snapshot["snapshot_id"]]
    assert told["image"]["image_ids"] == [image["image_id"]]
    assert [one["tags"] for one in told["key"]["keypairs"]] == [tags]
    (group,) = told["security_group"]["security_groups"]
    assert (group["group_name"], group["description"], group["tags"]) == ("g<&>\"' {{ 1 }}", "<&>\"'", tags)
    storage.again("ec2like_security_group", group_id=group["group_id"], rules_egress=[])
    assert storage.call("ec2like_security_group", group_id=group["group_id"], state="absent")["changed"]


def test_what_cannot_be_is_refused_with_ec2s_code_before_anything_is_written(idle: Cloud) -> None:
    storage = Storage(idle)
    instance_id, other = idle.run(count=2, tags={"a": "b"})["instance_ids"]
    volume_id = storage.volume(name="data", size_gib=2, instance=instance_id)["volume_id"]
    snapshot_id = storage.again("ec2like_snapshot", name="s", instance_id=instance_id)["snapshot_id"]
    before = storage.known()
    disk: dict[str, Any] = {"name": "new", "size_gib": 1}
    refusals: list[tuple[str, str, dict[str, Any]]] = [
        ("volume", "VolumeInUse", {"name": "data", "state": "absent"}),
        ("volume", "VolumeInUse", {"name": "data", "instance": other}),
        ("volume", "InvalidParameterValue", {"name": "data", "size_gib": 1}),
        ("volume", "InvalidParameterValue", {"name": "data", "disk_format": "raw"}),
        ("volume", "InvalidParameterValue", {"name": "data", "snapshot_id": snapshot_id}),
        ("volume", "InvalidAttachment.NotFound", {"name": "data", "instance": "", "device_name": "sdz"}),
        ("volume", "InvalidParameterValue", {**disk, "instance": instance_id, "device_name": "/dev/vdb"}),
        ("volume", "InvalidParameterValue", {**disk, "instance": instance_id, "device_name": "/dev/sda1"}),
        ("volume", "InvalidInstanceID.NotFound", {**disk, "instance": f"i-{NOBODY}"}),
        ("volume", "InvalidSnapshot.NotFound", {**disk, "snapshot_id": f"snap-{NOBODY}"}),
        ("volume", "InvalidVolume.NotFound", {"volume_id": f"vol-{NOBODY}"}),
        ("volume", "InvalidVolume.NotFound", {"name": "none", "instance": ""}),
        ("volume", "MissingParameter", {**disk, "device_name": "sdf"}),
        ("snapshot", "InvalidVolume.NotFound", {"volume_id": f"vol-{NOBODY}"}),
        ("snapshot", "InvalidParameterValue", {"instance_id": instance_id, "device_name": "/dev/sdb"}),
        ("snapshot", "InvalidParameterValue", {"instance_id": instance_id, "device_name": "/dev/sdz"}),
        ("snapshot", "InvalidParameterValue", {"name": "s", "volume_id": volume_id}),
        ("snapshot", "InvalidParameterCombination", {"volume_id": volume_id, "instance_id": instance_id}),
        ("image", "DependencyViolation", {"name": "guest", "state": "absent"}),
        ("image", "InvalidAMIName.Duplicate", {"name": "guest", "instance_id": instance_id}),
        ("image", "InvalidInstanceID.NotFound", {"name": "new", "instance_id": f"i-{NOBODY}"}),
        ("image", "InvalidParameterCombination", {"name": "new", "instance_id": instance_id, "freeze": True}),
    ]
    for module, code, stated in refusals:
        refused = storage.refused(f"ec2like_{module}", **stated)
        assert refused["error_code"] == code, (stated, refused)
    assert storage.known() == before
    storage.assert_whole()
    # What a hibernated machine goes on with stays as it was; what is in no machine is free to change.
    idle.run(state="stopped", instance_ids=[instance_id], hibernate=True)
    for stated in (
        {"name": "data", "size_gib": 3},
        {"name": "data", "instance": ""},
        {**disk, "instance": instance_id},
    ):
        assert storage.refused("ec2like_volume", **stated)["error_code"] == "IncorrectInstanceState"
    storage.again("ec2like_volume", name="data", tags={"c": "d"})
    storage.again("ec2like_snapshot", name="asleep", volume_id=volume_id)
    storage.again("ec2like_snapshot", name="root asleep", instance_id=instance_id)
    storage.again("ec2like_image", name="asleep", instance_id=instance_id)
    assert idle.run(state="running", instance_ids=[instance_id])["changed"]
    storage.assert_whole()
