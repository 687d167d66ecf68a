# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do to instances with virsh, behind the modules' back, on a real libvirtd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.domain_xml import METADATA_URI
from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host, wait_until
from ansible_collections.pocket.cloud.tests.integration.libvirt.storage import Storage

WEB = {"pool": "web"}


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    """Where machines run, but nothing in them."""
    yield from clean_cloud(host, store, idle_image(tmp_path))


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    """With guests that boot."""
    yield from clean_cloud(host, store, guest_image)


def test_a_running_one_that_was_undefined_can_be_changed_stopped_and_terminated(idle: Cloud) -> None:
    virsh = idle.host.virsh
    (one,) = idle.run(name="a")["instance_ids"]
    virsh("undefine", one)
    idle.both(instance_ids=[one], tags={"x": "y"})
    assert idle.domains("--persistent") == {one}
    virsh("undefine", one)
    idle.both(name="a", state="stopped", stop_timeout=0)
    idle.assert_whole(1)  # it is off, and still there
    idle.both(name="a", state="running")
    virsh("undefine", one)
    idle.both(name="a", state="terminated")
    idle.assert_nothing_left()


def test_what_is_left_of_one_that_was_undefined_is_listed_and_taken_away_by_its_id(idle: Cloud) -> None:
    (one,) = idle.run(name="a", state="running", private_ip_address="10.80.0.9")["instance_ids"]
    idle.run(name="a", state="stopped", stop_timeout=0)
    idle.host.virsh("undefine", one)
    (orphan,) = idle.host.ok("ec2like_host_info", store=idle.store)["host"]["orphans"]
    assert orphan == {
        "instance_id": one,
        "directory": f"{idle.store}/instances/{one}",
        "reservations": [{"network": "pocket", "address": "10.80.0.9"}],
    }
    assert orphan["directory"] in idle.refused(instance_ids=[one], state="running")["msg"]
    assert idle.both(instance_ids=[one], state="terminated")["terminated_ids"] == [one]
    idle.assert_nothing_left()
    assert idle.both(instance_ids=[one], state="terminated")["changed"] is False
    assert idle.host.ok("ec2like_host_info", store=idle.store)["host"]["orphans"] == []


def test_what_a_renamed_domain_has_is_nobodys_remains(idle: Cloud) -> None:
    (one,) = idle.run(name="a")["instance_ids"]
    idle.run(name="a", state="stopped", stop_timeout=0)
    idle.host.virsh("domrename", one, "renamed")
    assert idle.host.ok("ec2like_host_info", store=idle.store)["host"]["orphans"] == []
    failed = idle.refused(instance_ids=[one], state="terminated")
    assert failed["error_code"] == "InvalidInstanceID.NotFound"
    idle.host.virsh("domrename", "renamed", one)
    idle.both(name="a", state="running")
    idle.both(name="a", state="terminated")


def test_one_that_was_kept_from_starting_at_boot_starts_again_there(idle: Cloud) -> None:
    (one,) = idle.run(name="a")["instance_ids"]
    idle.host.virsh("autostart", "--disable", one)
    assert idle.both(name="a")["changed_ids"] == [one]
    assert idle.domains("--all", "--autostart") == {one}
    assert idle.both(name="a", state="running")["changed"] is False


def test_a_paused_one_can_be_stopped(idle: Cloud) -> None:
    (one,) = idle.run(name="a")["instance_ids"]
    idle.host.virsh("suspend", one)
    idle.both(name="a", state="stopped", stop_timeout=1)
    assert idle.domains("--state-shutoff") == {one}


def test_a_paused_one_is_told_and_resumed_where_it_is_to_run(idle: Cloud) -> None:
    (one,) = idle.run(name="a")["instance_ids"]
    idle.host.virsh("suspend", one)
    (shown,) = idle.host.ok("ec2like_instance_info", store=idle.store)["instances"]
    assert (shown["state"]["name"], shown["state_transition_reason"]) == ("running", "Paused by hand")
    left = idle.both(name="a", wait=True)
    assert (left["changed"], idle.domains("--state-paused")) == (False, {one})
    assert "state: running lets it go on" in str(left["warnings"])
    assert idle.both(name="a", state="running", wait=True)["changed_ids"] == [one]
    assert idle.domains("--state-running") == {one}
    assert idle.both(name="a", state="running")["changed"] is False
    # Hibernated while it is paused, by whomever, it goes on at its start all the same.
    for hibernate in (
        lambda: idle.both(name="a", state="stopped", hibernate=True),
        lambda: virsh_hibernates(idle, one),
    ):
        idle.host.virsh("suspend", one)
        hibernate()
        idle.both(name="a", state="running")
        assert idle.domains("--state-running") == {one}


def test_one_whose_guest_suspended_itself_is_told_and_woken_for_what_is_asked(cloud: Cloud) -> None:
    asked: dict[str, Any] = {"user_data": "#!/bin/sh\necho mem > /sys/power/state\n", "wait": False}
    ids = [cloud.run(name=name, **asked)["instance_ids"][0] for name in ("a", "b")]
    wait_until("the guests to suspend themselves", lambda: all(suspended(cloud, one) for one in ids), 240)
    (shown,) = cloud.host.ok("ec2like_instance_info", store=cloud.store, instance_ids=ids[:1])["instances"]
    assert (shown["state"]["name"], shown["state_transition_reason"]) == ("running", "Suspended by its guest")
    assert cloud.both(name="a", state="running")["changed_ids"] == ids[:1]
    cloud.both(name="b", state="stopped", hibernate=True)
    assert cloud.both(name="b", state="running")["changed_ids"] == ids[1:]
    assert not any(suspended(cloud, one) for one in ids)
    for name in ("a", "b"):
        assert cloud.both(name=name, state="running", wait=True, wait_port=80, wait_timeout=240)["changed"] is False
    cloud.both(name="b", state="stopped", stop_timeout=1)


def suspended(cloud: Cloud, instance_id: str) -> bool:
    return cloud.host.virsh("domstate", instance_id) == "pmsuspended"


def virsh_hibernates(cloud: Cloud, instance_id: str) -> None:
    cloud.host.virsh("managedsave", instance_id)


def test_a_copy_of_an_instance_is_somebodys_own(idle: Cloud) -> None:
    """Its metadata came with it, so it says that it is the instance."""
    (one,) = idle.run(name="a", tags=WEB)["instance_ids"]
    xml = idle.host.virsh("dumpxml", "--inactive", one)
    copy = re.sub(r"<uuid>.*?</uuid>|<mac address=.*?/>|<filterref.*?/>", "", xml)
    copy = copy.replace(f"<name>{one}</name>", f"<name>{one}-clone</name>")
    idle.host.path("/run/copy.xml").write_text(copy)
    idle.host.virsh("define", "/run/copy.xml")
    assert idle.both(exact_count=1, tags=WEB)["changed"] is False
    (listed,) = idle.host.ok("ec2like_instance_info", store=idle.store)["instances"]
    assert (listed["instance_id"], listed["state"]["name"]) == (one, "running")
    assert idle.both(exact_count=0, tags=WEB)["terminated_ids"] == [one]
    assert idle.domains("--all") == {f"{one}-clone"}
    idle.host.virsh("undefine", f"{one}-clone")


def test_files_that_somebody_took_away_are_missed_before_anything_is_stopped_or_started(idle: Cloud) -> None:
    storage = Storage(idle)
    (one,) = idle.run(name="a")["instance_ids"]
    volume = storage.volume(name="data", size_gib=1, instance=one)
    directory = idle.host.path(idle.store) / "instances" / one
    image = storage.root / "images" / next(iter(storage.files("images")))
    files = [directory / "disk.qcow2", directory / "seed.iso", image, idle.host.path(volume["path"])]
    for state, asked in (("running", {"state": "restarted"}), ("shutoff", {"state": "running"})):
        for file in files:
            file.rename(file.with_name("away"))
            refused = idle.refused(instance_ids=[one], **asked)
            assert refused["error_code"] == "IncorrectInstanceState"
            assert refused["changed"] is False
            assert file.name in refused["msg"]
            assert ("while it runs" in refused["msg"]) == (state == "running")
            assert idle.domains(f"--state-{state}") == {one}
            file.with_name("away").rename(file)
        idle.run(instance_ids=[one], state="stopped", stop_timeout=0)
    # Each way out is one.
    files[1].unlink()
    idle.both(instance_ids=[one], user_data="#!/bin/true", state="running")
    idle.run(instance_ids=[one], state="stopped", stop_timeout=0)
    files[3].unlink()
    assert "ec2like_volume" in idle.refused(instance_ids=[one], state="running")["msg"]
    storage.volume(name="data", instance="")
    idle.both(instance_ids=[one], state="running")
    storage.again("ec2like_volume", name="data", state="absent")


def test_one_that_lost_its_metadata_stands_in_nobodys_way(idle: Cloud) -> None:
    virsh = idle.host.virsh
    (lost,) = idle.run(name="a")["instance_ids"]
    xml = virsh("dumpxml", "--inactive", lost)
    virsh("metadata", lost, "--uri", METADATA_URI, "--remove", "--live", "--config")
    assert idle.run(exact_count=1, tags=WEB)["changed"] is True
    assert idle.both(exact_count=1, tags=WEB)["changed"] is False
    idle.both(state="terminated", tags=WEB)
    idle.host.path("/tmp/given-back.xml").write_text(xml)
    virsh("define", "/tmp/given-back.xml")
    virsh("destroy", lost)
    idle.both(name="a", state="terminated")


def test_reservations_that_went_with_their_network_come_back(idle: Cloud) -> None:
    (one,) = idle.run(name="a")["instances"]
    idle.run(name="a", state="stopped", stop_timeout=0)
    idle.host.virsh("net-destroy", "pocket")
    idle.host.virsh("net-undefine", "pocket")
    idle.host.ok("ec2like_network", store=idle.store)
    idle.both(name="a", state="running")
    assert idle.reservations() == {one["instance_id"]: one["private_ip_address"]}
    assert idle.both(name="a", state="running")["changed"] is False
    idle.assert_whole(1)
