# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where images and instances meet: an image in use, a damaged one, and a store that is full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host

WEB = {"pool": "web"}


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    made = Cloud(host, store, guest_image)
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")


def test_an_image_goes_only_after_its_last_instance(cloud: Cloud) -> None:
    launched = cloud.run(exact_count=2, tags=WEB)["instances"]
    ids = [instance["instance_id"] for instance in launched]
    absent = {"store": cloud.store, "name": "guest", "state": "absent"}
    refused = cloud.host.refused("ec2like_image", **absent)
    assert refused == cloud.host.refused("ec2like_image", check=True, **absent)
    assert refused["error_code"] == "DependencyViolation"
    assert all(instance_id in refused["msg"] for instance_id in ids)
    cloud.run(state="stopped", instance_ids=ids, stop_timeout=0)
    assert ids[0] in cloud.host.refused("ec2like_image", **absent)["msg"]
    cloud.run(state="terminated", instance_ids=ids)
    assert cloud.host.ok("ec2like_image", **absent)["changed"]
    failed = cloud.refused(name="a")
    assert failed["error_code"] == "InvalidAMIID.NotFound"


def test_from_a_damaged_image_nothing_is_launched_until_it_is_repaired(cloud: Cloud, guest_image: Path) -> None:
    image = {"store": cloud.store, "name": "guest", "path": str(guest_image)}
    kept = cloud.host.path(cloud.host.ok("ec2like_image", **image)["image"]["path"])
    kept.chmod(0o600)
    with kept.open("r+b") as stream:
        stream.truncate(1 << 20)
    failed = cloud.refused(name="a")
    assert failed["error_code"] == "InvalidAMIID.Unavailable"
    assert "damaged" in failed["msg"]
    cloud.assert_nothing_left()
    repaired = cloud.host.ok("ec2like_image", **image)
    assert repaired["changed"]
    assert kept.read_bytes() == guest_image.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o400
    assert cloud.run(image_id=repaired["image_id"], tags=WEB, exact_count=1)["changed"]
    cloud.assert_whole(1)


def test_an_image_is_registered_while_instances_are_locked(cloud: Cloud, guest_image: Path) -> None:
    """Fetching one may take minutes; launches must not wait for it, nor it for them."""
    holder = cloud.host.popen(["flock", "--no-fork", "--exclusive", f"{cloud.store}/lock", "sleep", "30"])
    try:
        second = {"store": cloud.store, "name": "second", "path": str(guest_image)}
        assert cloud.host.ok("ec2like_image", timeout=20, **second)["changed"]
    finally:
        cloud.host.kill(holder)


@pytest.fixture
def full_cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    """A cloud whose store has room for the image and a disk or two."""
    host.path(store).mkdir()
    room = guest_image.stat().st_size + (2 << 20)
    host.run(["mount", "-t", "tmpfs", "-o", f"size={room},mode=711", "tmpfs", store])
    made = Cloud(host, store, guest_image)
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")
    host.run(["umount", "--lazy", store])


def test_a_store_that_is_full_keeps_what_it_has_and_half_of_nothing(full_cloud: Cloud) -> None:
    failed = full_cloud.host.module("ec2like_instance", **full_cloud.params(exact_count=8, tags=WEB))
    assert failed["failed"]
    assert "No space left on device" in failed["msg"]
    assert failed["failures"]
    full_cloud.assert_whole(len(failed["instance_ids"]))
    # What was launched can be taken away, though there is hardly room to write that down.
    full_cloud.run(state="terminated", tags=WEB)
    full_cloud.assert_nothing_left()
