# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on a host, on a real libvirtd: it is said, nothing is lost, nothing is left over."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host, wait_until

WEB = {"pool": "web"}


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    """Where machines run, but nothing in them."""
    for cloud in clean_cloud(host, store, idle_image(tmp_path)):
        (host.path(store) / "capacity.json").write_text('{"boots_at_once": 10}')  # nothing boots there
        yield cloud


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    """Where guests boot and answer."""
    yield from clean_cloud(host, store, guest_image)


def test_libvirtd_restarted_in_the_middle_of_a_launch(idle: Cloud) -> None:
    asked: dict[str, Any] = {"exact_count": 6, "tags": WEB}
    took = idle.duration(**asked)
    idle.run(state="terminated", tags=WEB)
    for share in (0.4, 0.7):
        process = idle.start(**asked)
        time.sleep(took * share)
        idle.host.stop_libvirtd()
        idle.host.start_libvirt()
        result = json.loads(process.communicate(timeout=120)[0])
        if result.get("failed"):
            assert "libvirt" in result["msg"]
            assert "\n" not in result["msg"]
        assert len(idle.run(**asked)["instance_ids"]) == 6
        idle.assert_whole(6)
        idle.run(state="terminated", tags=WEB)
        idle.assert_nothing_left()


@pytest.fixture
def small(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    """A store with room for a few instances."""
    host.run(["mkdir", "-p", store])
    host.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=711", "tmpfs", store])
    for cloud in clean_cloud(host, store, idle_image(tmp_path)):
        (host.path(store) / "capacity.json").write_text('{"boots_at_once": 10}')
        yield cloud
    host.run(["umount", store])


def test_a_disk_that_fills_up_in_the_middle_of_a_launch(small: Cloud) -> None:
    failed = small.host.module("ec2like_instance", **small.params(exact_count=8, tags=WEB))
    assert failed["failed"]
    assert "o space left on device" in failed["msg"]
    assert 0 < len(failed["instance_ids"]) < 8
    assert len(failed["instance_ids"]) + len(failed["failures"]) == 8
    small.assert_whole(len(failed["instance_ids"]))
    small.host.run(["mount", "-o", "remount,size=64m", small.store])
    whole = small.run(exact_count=8, tags=WEB)
    assert set(failed["instance_ids"]) < set(whole["instance_ids"])
    small.assert_whole(8)


@pytest.fixture
def narrow(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    """A store with room for one guest that boots, and for little of what it writes."""
    host.run(["mkdir", "-p", store])
    room = (2 * guest_image.stat().st_size >> 20) + 8
    host.run(["mount", "-t", "tmpfs", "-o", f"size={room}m,mode=711", "tmpfs", store])
    yield from clean_cloud(host, store, guest_image)
    host.run(["umount", store])


def test_a_guest_whose_disk_finds_no_room_stands_still_and_goes_on_when_there_is(narrow: Cloud) -> None:
    fill = "#!/bin/sh\ndd if=/dev/urandom of=/filled bs=1M count=32\nsync\n"
    (one,) = narrow.run(name="a", user_data=fill)["instance_ids"]
    wait_until("the guest to stand still", lambda: narrow.domains("--state-paused") == {one})
    asked: dict[str, Any] = {"name": "a", "state": "running", "wait": True, "wait_port": 80}
    assert narrow.run(check=True, **asked)["changed"] is True
    failed = narrow.host.module("ec2like_instance", **narrow.params(**asked))
    assert failed["failed"]
    assert "is paused again: vda has no space left on its file system" in failed["msg"]
    narrow.host.run(["mount", "-o", "remount,size=256m", narrow.store])
    assert narrow.both(**asked)["changed_ids"] == [one]
    assert narrow.both(**asked)["changed"] is False


def test_a_base_image_that_is_damaged_or_missing_is_named_before_anything_is_made(idle: Cloud) -> None:
    (image,) = (idle.host.path(idle.store) / "images").iterdir()
    content = image.read_bytes()
    image.chmod(0o644)
    for damage in (lambda: image.write_bytes(content[:-512]), image.unlink):
        damage()
        failed = idle.refused(count=2, tags=WEB)
        assert failed["error_code"] == "InvalidAMIID.Unavailable"
        assert image.name in failed["msg"]
        idle.assert_nothing_left()
    image.write_bytes(content)
    idle.both(count=1, tags=WEB)


def test_names_and_addresses_that_somebody_has_are_not_given_again(idle: Cloud) -> None:
    (first,) = idle.run(name="a", private_ip_address="10.80.0.9")["instances"]
    failed = idle.refused(name="b", private_ip_address="10.80.0.9")
    assert failed["error_code"] == "InvalidIPAddress.InUse"
    # a host of somebody else's reservation, and a domain of somebody else
    other = "<host mac='52:54:00:00:00:01' name='printer' ip='10.80.0.2'/>"
    idle.host.virsh("net-update", "pocket", "add-last", "ip-dhcp-host", other, "--live", "--config")
    (second,) = idle.run(name="b")["instances"]
    assert second["private_ip_address"] not in ("10.80.0.2", first["private_ip_address"])
    idle.host.virsh("net-update", "pocket", "delete", "ip-dhcp-host", other, "--live", "--config")


def test_plays_that_launch_and_terminate_at_once_do_not_meet(idle: Cloud) -> None:
    idle.run(count=2, tags={"pool": "old"})
    started = [
        idle.start(exact_count=4, tags=WEB),
        idle.start(count=2, tags={"pool": "more"}),
        idle.start(state="terminated", tags={"pool": "old"}),
        idle.start(exact_count=4, tags=WEB),
    ]
    results = [json.loads(process.communicate(timeout=180)[0]) for process in started]
    assert not any(result.get("failed") for result in results), results
    assert sorted(result["changed"] for result in (results[0], results[3])) == [False, True]
    assert set(results[0]["instance_ids"]) == set(results[3]["instance_ids"])
    idle.assert_whole(6)


def test_a_guest_that_crashes_in_boot_is_told_by_its_console(cloud: Cloud) -> None:
    crash = "#!/bin/sh\necho c > /proc/sysrq-trigger\n"
    (one,) = cloud.run(name="a", user_data=crash)["instance_ids"]
    console = cloud.host.path(cloud.store) / "instances" / one / "console.log"
    wait_until("the guest's panic", lambda: "Kernel panic" in console.read_text(errors="replace"))
    failed = cloud.refused(name="a", wait=True, wait_port=80, wait_timeout=1)
    assert "did not answer on TCP port 80" in failed["msg"]
    assert "Kernel panic" in failed["msg"]
    assert len(failed["instance_ids"]) == 1
    cloud.assert_whole(1)


def test_check_mode_waits_for_a_run_that_is_writing_and_then_tells_the_truth(idle: Cloud) -> None:
    process = idle.start(exact_count=3, tags=WEB)
    time.sleep(1)  # it has begun by now, or else check mode foretells the launch
    foretold = idle.run(check=True, exact_count=3, tags=WEB)
    done = json.loads(process.communicate(timeout=60)[0])
    assert "unfinished" not in foretold["diff"]["before"]
    if not foretold["changed"]:
        assert set(foretold["instance_ids"]) == set(done["instance_ids"])
