# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consoles of real guests, and pictures of their screens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    made = Cloud(host, store, guest_image)
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")


def console(cloud: Cloud, check: bool = False, **stated: Any) -> dict[str, Any]:
    return cloud.host.ok("ec2like_console", check=check, store=cloud.store, **stated)


def test_what_a_guest_says_and_shows(cloud: Cloud) -> None:
    ready = cloud.run(name="a", video="vga", wait=True, wait_port=80)
    (instance_id,) = ready["instance_ids"]
    address = ready["instances"][0]["private_ip_address"]
    said = console(cloud, instance_id=instance_id)
    assert f"pocket-cloud guest {instance_id} {address} is ready (boot 1)" in said["output"]
    assert "\x1b" not in said["output"]
    assert said["changed"] is False
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["timestamp"])
    assert len(console(cloud, instance_id=instance_id, lines=2)["output"].splitlines()) == 2
    log = cloud.host.path(cloud.store) / "instances" / instance_id / "console.log"
    assert console(cloud, instance_id=instance_id, raw=True)["output"] == log.read_bytes().decode(errors="replace")

    asked = {"instance_id": instance_id, "screenshot": "/run/screen.png"}
    path = cloud.host.path("/run/screen.png")
    foretold = console(cloud, check=True, **asked)
    assert foretold["changed"] is True
    assert not path.exists()
    taken = console(cloud, **asked)
    assert taken["changed"] is True
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_mode & 0o777 == 0o600
    assert taken["screenshot"]["size_bytes"] == path.stat().st_size
    assert (taken["screenshot"]["width"], taken["screenshot"]["height"]) >= (640, 400)
    path.unlink()
    # What it said is there after its end, too, and after its next beginning.
    cloud.run(name="a", state="stopped", stop_timeout=30)
    kept = console(cloud, instance_id=instance_id)
    assert kept["output"].startswith(said["output"].rstrip())
    assert kept["timestamp"] >= said["timestamp"]
    cloud.run(name="a", state="running", wait=True, wait_port=80)
    assert "is ready (boot 2)" in console(cloud, instance_id=instance_id)["output"]


def test_without_a_screen_it_says_so(cloud: Cloud) -> None:
    (instance_id,) = cloud.run(name="a")["instance_ids"]
    asked = {"store": cloud.store, "instance_id": instance_id, "screenshot": "/run/screen.png"}
    failed = cloud.host.refused("ec2like_console", **asked)
    assert "has no screen" in failed["msg"]
    assert failed["error_code"] == "UnsupportedOperation"
    cloud.run(name="a", state="stopped", stop_timeout=0)
    assert "does not run" in cloud.host.refused("ec2like_console", **asked)["msg"]
    assert cloud.host.virsh("domstate", instance_id) == "shut off"
    cloud.run(name="a", state="terminated")
    assert "is terminated" in cloud.host.refused("ec2like_console", **asked)["msg"]
