# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances on a real libvirtd, with guests that boot and answer; virsh, ls and a web client are the witnesses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible
import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import MODULES, PYTHON, Host, arguments

WEB = {"pool": "web"}


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    """Where guests boot and answer."""
    yield from clean_cloud(host, store, guest_image)


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    """Where machines run, but nothing in them."""
    yield from clean_cloud(host, store, idle_image(tmp_path))


def test_the_whole_life_of_three_instances(cloud: Cloud) -> None:
    asked: dict[str, Any] = {
        "exact_count": 3,
        "tags": WEB,
        "state": "running",
        "wait": True,
        "wait_port": 80,
        "user_data": "#!/bin/sh\necho told > /var/www/told\n",
    }
    launched = cloud.both(**asked)
    assert cloud.domains("--state-running") == set(launched["instance_ids"])
    cloud.assert_whole(3)
    again = cloud.both(**asked)
    assert again["changed"] is False
    assert again["instance_ids"] == launched["instance_ids"]
    for instance in launched["instances"]:
        assert_answers(cloud, instance, boots=1)
        assert cloud.host.http(instance["private_ip_address"], path="/told") == "told"
        assert instance["network_interfaces"][0]["address_source"] == "lease"
        assert cloud.reservations()[instance["instance_id"]] == instance["private_ip_address"]

    first, second, third = launched["instances"]
    stopped = cloud.both(state="stopped", instance_ids=[first["instance_id"]])["instances"][0]
    assert (stopped["state"]["name"], stopped["state_transition_reason"]) == ("stopped", "User initiated shutdown")
    assert cloud.domains("--state-shutoff") == {first["instance_id"]}
    # What runs comes back when the host reboots, what is stopped does not.
    assert cloud.domains("--all", "--autostart") == {second["instance_id"], third["instance_id"]}
    assert cloud.both(state="stopped", instance_ids=[first["instance_id"]])["changed"] is False
    # A stopped instance counts, and running starts it again.
    assert cloud.both(**{**asked, "state": "present"})["changed"] is False
    started = cloud.both(**asked)
    assert started["changed_ids"] == [first["instance_id"]]
    assert identity(started["instances"][0]) == identity(first)
    assert_answers(cloud, first, boots=2)

    restarted = cloud.both(state="restarted", filters={"private-ip-address": second["private_ip_address"]}, wait=True)
    assert restarted["changed_ids"] == [second["instance_id"]]
    ready = cloud.run(state="running", instance_ids=[second["instance_id"]], wait=True, wait_port=80)
    assert identity(ready["instances"][0]) == identity(second)
    assert_answers(cloud, second, boots=2)

    scaled = cloud.both(**{**asked, "exact_count": 1})
    assert scaled["terminated_ids"] == [third["instance_id"], second["instance_id"]]
    cloud.assert_whole(1)
    assert_answers(cloud, first, boots=2)
    cloud.both(state="terminated", tags=WEB)
    cloud.assert_nothing_left()
    info = cloud.host.ok(
        "ec2like_instance_info", store=cloud.store, filters={"instance-state-name": "terminated", "tag:pool": "web"}
    )
    assert set(info["instance_ids"]) == set(launched["instance_ids"])
    assert cloud.both(state="terminated", instance_ids=launched["instance_ids"])["changed"] is False


def identity(instance: dict[str, Any]) -> Any:
    kept = ("instance_id", "private_ip_address", "launch_time", "tags", "image_id", "reservation_id")
    return [instance[name] for name in kept] + [instance["network_interfaces"][0]["mac_address"]]


def assert_answers(cloud: Cloud, instance: dict[str, Any], boots: int) -> None:
    address = instance["private_ip_address"]
    assert cloud.host.http(address) == f"{instance['instance_id']} {address}"
    assert cloud.host.http(address, path="/boots") == str(boots)


def test_what_libvirt_holds_comes_back_unharmed(idle: Cloud) -> None:
    tags = {"a<b>&'\"": "<&\"'> ü €  two  spaces ", "émoji 🐧": "", "x": "]]>--"}
    asked = {"name": " <b>&amp; ", "tags": tags, "user_data": "#!/bin/sh\n: <ü>\n"}
    instance = idle.both(**asked)["instances"][0]
    assert instance["tags"] == {**tags, "Name": " <b>&amp; "}
    assert idle.both(**asked)["changed"] is False
    found = idle.host.ok("ec2like_instance_info", store=idle.store, filters={"tag:x": "]]>--", "tag-key": "émoji ?"})
    assert [one["tags"] for one in found["instances"]] == [instance["tags"]]
    more = idle.both(instance_ids=[instance["instance_id"]], tags={"x": "&lt;"}, purge_tags=True)
    assert more["instances"][0]["tags"] == {"Name": " <b>&amp; ", "x": "&lt;"}
    # User data is nowhere but in the seed, which others cannot read.
    seed = idle.host.path(idle.store) / "instances" / instance["instance_id"] / "seed.iso"
    assert seed.stat().st_mode & 0o077 == 0
    assert ": <ü>" not in idle.host.virsh("dumpxml", instance["instance_id"])


def test_a_guest_that_hears_no_power_button_is_powered_off(idle: Cloud) -> None:
    launched = idle.run(name="a")
    stopped = idle.both(name="a", state="stopped", stop_timeout=0)["instances"][0]
    assert "powered off" in stopped["state_transition_reason"]
    assert idle.domains("--state-shutoff") == set(launched["instance_ids"])


def test_a_wait_in_vain_says_what_the_console_says(cloud: Cloud) -> None:
    failed = cloud.host.module(
        "ec2like_instance", **cloud.params(name="a", wait=True, wait_port=81, wait_timeout=1, vcpus=1)
    )
    assert failed["failed"]
    assert failed["changed"] is True
    (instance,) = failed["instances"]
    assert (
        f"{instance['instance_id']} (a) did not answer on TCP port 81 at {instance['private_ip_address']}"
        in (failed["msg"])
    )
    assert [(one["instance_id"], one["action"]) for one in failed["failures"]] == [(instance["instance_id"], "wait")]
    cloud.run(name="a", wait=True, wait_for="ip")
    failed = cloud.refused(name="a", wait=True, wait_port=81, wait_timeout=1)
    assert "its console's last lines:\n" in failed["msg"]
    assert len(failed["msg"].split("last lines:\n")[1].splitlines()) >= 3
    assert all(character.isprintable() or character == "\n" for character in failed["msg"])
    # Nobody gets ready who is stopped: the wait ends at once.
    process = cloud.start(name="a", wait=True, wait_port=81, wait_timeout=600)
    time.sleep(8)  # it has looked at the host by now
    assert process.poll() is None
    cloud.host.virsh("destroy", instance["instance_id"])
    failed = json.loads(process.communicate(timeout=60)[0])
    assert "is stopped instead of running" in failed["msg"]


def test_two_runs_at_once_make_exactly_three(idle: Cloud) -> None:
    processes = [idle.start(exact_count=3, tags=WEB) for _number in range(2)]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert sorted(result["changed"] for result in results) == [False, True]
    assert set(results[0]["instance_ids"]) == set(results[1]["instance_ids"])
    idle.assert_whole(3)


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"count": 0}, "count: 0", "InvalidParameterValue"),
        ({"count": -1}, "count: -1", "InvalidParameterValue"),
        ({"name": "a", "image_id": "none"}, "'none'", "InvalidAMIID.NotFound"),
        ({"name": "a", "vcpus": None, "memory_mib": None, "instance_type": "t9"}, "'t9'", "InvalidParameterValue"),
        ({"name": "a", "tags": {"k": "v" * 257}}, "257 characters", "InvalidParameterValue"),
        ({"name": "a", "user_data": "x" * 16385}, "16385 bytes", "InvalidParameterValue"),
        ({"name": "a", "network": "none"}, "'none'", "InvalidSubnetID.NotFound"),
        ({"instance_ids": ["i-" + "1" * 17], "state": "stopped"}, "i-1111", "InvalidInstanceID.NotFound"),
        ({"count": 1, "uri": "qemu+nonsense:///"}, "qemu+nonsense", "InvalidParameterValue"),
        ({"count": 1, "accel": "kvm"}, "/dev/kvm", "Unsupported"),
        ({"count": 1, "uri": "nonsense"}, "nonsense", "InvalidParameterValue"),
        ({"count": 1, "machine_type": "q35\0"}, "NUL", "InvalidParameterValue"),
        ({"count": 1, "exact_count": 1}, "mutually exclusive", "InvalidParameterCombination"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    idle: Cloud, stated: dict[str, Any], said: str, code: str
) -> None:
    failed = idle.refused(**stated)
    assert said in failed["msg"]
    assert failed["error_code"] == code
    assert "\n" not in failed["msg"]
    idle.assert_nothing_left()


def test_without_libvirtd_it_says_so(idle: Cloud) -> None:
    idle.host.stop_libvirtd()
    try:
        failed = idle.refused(name="a")
        assert "libvirtd isn't running" in failed["msg"]
        assert "systemctl start libvirtd" in failed["msg"]
        assert "isn't running" in idle.host.refused("ec2like_instance_info", store=idle.store)["msg"]
        assert "isn't running" in idle.host.refused("ec2like_network", store=idle.store)["msg"]
    finally:
        idle.host.start_libvirt()


def test_without_permission_it_says_so(idle: Cloud) -> None:
    # A user of the host's, who can read what the module is made of, but not the tests' directories.
    place = "/run/nobody"
    collection = f"{place}/ansible_collections/pocket/cloud"
    idle.host.run(["mkdir", "-p", collection])
    idle.host.run(["cp", "-rL", Path(ansible.__file__).parent, place])
    idle.host.run(["cp", "-rL", MODULES.parent, collection])
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/tmp", f"PYTHONPATH={place}"]
    for name, params in (("ec2like_instance_info", {}), ("ec2like_instance", idle.params(name="a"))):
        for check in (True, False):
            text = arguments({**params, "store": idle.store}, check)
            done = idle.host.run([*nobody, PYTHON, f"{collection}/plugins/modules/{name}.py"], text=text, check=False)
            failed = json.loads(done.stdout)
            assert failed["failed"]
            assert "ermission denied" in failed["msg"] or "not permitted" in failed["msg"]
            assert "become" in failed["msg"]
            assert "Traceback" not in done.stdout + done.stderr
