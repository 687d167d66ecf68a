# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses on a real libvirtd: virsh, DHCP clients, a machine beside the instances and guests are the witnesses."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.machines import Machine
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import (
    FETCH,
    PYTHON,
    Host,
    wait_until,
)

LAN = {
    "name": "lan",
    "mode": "bridge",
    "bridge": "lan0",
    "cidr": "192.0.2.0/24",
    "address_range": "192.0.2.20-192.0.2.29",
    "gateway": "192.0.2.1",
    "dns": ["192.0.2.53"],
}


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path, tmp_path: Path) -> Iterator[Cloud]:
    """A host with the networks C(pocket), which has IPv6, C(second), and C(lan) on a bridge of the host's."""
    host.ok("ec2like_network", store=store, ipv6_cidr="fd00:80::/64")
    host.ok("ec2like_network", store=store, name="second", cidr="10.81.0.0/24")
    host.run(["ip", "link", "add", "lan0", "type", "bridge"])
    host.run(["ip", "link", "set", "lan0", "up"])
    host.ok("ec2like_network", store=store, **LAN)
    made = Cloud(host, store, guest_image)
    host.ok("ec2like_image", store=store, name="idle", path=str(idle_image(tmp_path)))
    yield made
    left = made.domains()
    for domain in left:
        host.run(["virsh", "destroy", domain], check=False)
        host.run(["virsh", "undefine", domain], check=False)
    for name in ("pocket", "second", "lan"):
        host.ok("ec2like_network", store=store, name=name, state="absent")
    host.run(["ip", "link", "del", "lan0"])
    assert left == set()


def leases(host: Host, network: str) -> dict[str, str]:
    """Which MAC address has which IPv4 address, as libvirt tells."""
    rows = [line.split() for line in host.virsh("net-dhcp-leases", network).splitlines()]
    return {row[2]: row[4].split("/")[0] for row in rows if "ipv4" in row}


def sources(instance: dict[str, Any]) -> list[str]:
    return [interface["address_source"] for interface in instance["network_interfaces"]]


def test_a_guest_has_all_its_interfaces_in_three_kinds_of_networks(cloud: Cloud) -> None:
    host = cloud.host
    host.run(["ip", "address", "add", "192.0.2.1/24", "dev", "lan0"])
    wanted = {
        "name": "a",
        "network_interfaces": [
            {"private_ip_address": "10.80.0.9", "ipv6_address": "fd00:80::9"},
            {"network": "second"},
            {"network": "lan"},
        ],
    }
    ready = {"wait": True, "wait_port": 80, "wait_timeout": 180}
    (instance,) = cloud.both(**wanted, **ready)["instances"]
    cards = instance["network_interfaces"]
    assert [one["private_ip_address"] for one in cards] == ["10.80.0.9", "10.81.0.2", "192.0.2.20"]
    assert [one["given_by"] for one in cards] == ["dhcp", "dhcp", "seed"]
    listed = [line.split() for line in host.virsh("domiflist", instance["instance_id"]).splitlines()]
    assert [(row[2], row[4]) for row in listed] == [(one["network"], one["mac_address"]) for one in cards]
    for address in ("10.80.0.9", "10.81.0.2", "192.0.2.20", "[fd00:80::9]"):
        told = wait_until(f"an answer at {address}", functools.partial(host.http, address))
        assert told.split() == [instance["instance_id"], "10.80.0.9"]
    assert leases(host, "pocket")[cards[0]["mac_address"]] == "10.80.0.9"
    assert leases(host, "second")[cards[1]["mac_address"]] == "10.81.0.2"
    again = cloud.both(**wanted, **ready)
    assert again["changed"] is False
    assert sources(again["instances"][0]) == ["lease", "lease", "arp"]
    assert again["instances"][0]["network_interfaces"][0]["ipv6_address_source"] == "ndp"
    (listed_there,) = host.ok("ec2like_instance_info", store=cloud.store)["instances"]
    assert listed_there["network_interfaces"] == again["instances"][0]["network_interfaces"]
    (changed,) = cloud.both(name="a", state="restarted", stop_timeout=20, **ready)["instances"]
    kept = ("network", "mac_address", "private_ip_address", "ipv6_address", "given_by")
    assert [[one[name] for name in kept] for one in changed["network_interfaces"]] == [
        [one[name] for name in kept] for one in cards
    ]
    cloud.both(name="a", state="terminated")
    for network in ("pocket", "second"):
        assert instance["instance_id"] not in host.virsh("net-dumpxml", network)
        assert leases(host, network) == {}


def test_on_a_bridge_without_dhcp_nobodys_address_is_given_and_a_guests_is_confirmed_by_asking(
    cloud: Cloud, machine: Callable[..., Machine]
) -> None:
    host = cloud.host
    beside = machine("beside", "lan0")
    beside.address("192.0.2.20/24")
    beside.address("192.0.2.22/24")
    assert "192.0.2" not in host.run(["ip", "neighbour"]).stdout, "the host has no address there, and knows nobody"
    failed = cloud.refused(name="a", network="lan", private_ip_address="192.0.2.22")
    assert failed["error_code"] == "InvalidIPAddress.InUse"
    assert f"the machine {beside.mac} answers for it" in failed["msg"]
    result = cloud.both(exact_count=2, tags={"a": "b"}, network="lan", wait=True, wait_for="ip", wait_timeout=180)
    addresses = [one["private_ip_address"] for one in result["instances"]]
    assert addresses == ["192.0.2.21", "192.0.2.23"]
    assert [sources(one) for one in result["instances"]] == [["arp"], ["arp"]]
    for instance in result["instances"]:
        fetch = (PYTHON, "-I", "-c", FETCH, f"http://{instance['private_ip_address']}/", "5")
        # It answers for its address before its server runs.
        answer = wait_until("its server", functools.partial(beside.run, *fetch, check=False))
        assert answer.split() == [instance["instance_id"], instance["private_ip_address"]]
    assert cloud.both(exact_count=2, tags={"a": "b"}, network="lan")["changed"] is False
    (network,) = host.ok("ec2like_network_info", store=cloud.store, names=["lan"])["networks"]
    # Of ten addresses two are the instances' and none is told of otherwise: the machine beside is not the host's.
    assert network["available_ip_address_count"] == 8
    assert network["instance_ids"] == result["instance_ids"]
    cloud.both(exact_count=0, tags={"a": "b"})


def test_the_address_of_a_terminated_instance_is_free_at_once_and_dnsmasq_gives_it(
    cloud: Cloud, machine: Callable[..., Machine]
) -> None:
    host = cloud.host
    idle = {"image_id": "idle", "private_ip_address": "10.80.0.50"}
    (first,) = cloud.both(name="first", **idle)["instances"]
    one = machine("one", "pocket0", first["network_interfaces"][0]["mac_address"])
    assert one.dhcp(tries=20)[0] == "10.80.0.50"
    # dnsmasq tells libvirt of it by another process, after its answer.
    wait_until("its lease", lambda: leases(host, "pocket") == {one.mac: "10.80.0.50"})
    assert cloud.refused(name="second", **idle)["error_code"] == "InvalidIPAddress.InUse"
    cloud.both(name="first", state="terminated")
    assert leases(host, "pocket") == {}
    one.remove()
    (second,) = cloud.both(name="second", **idle)["instances"]
    two = machine("two", "pocket0", second["network_interfaces"][0]["mac_address"])
    assert two.dhcp(tries=20)[0] == "10.80.0.50"
    cloud.both(name="second", state="terminated")
    # Unasked for, others come first.
    (third,) = cloud.both(name="third", image_id="idle")["instances"]
    assert third["private_ip_address"] == "10.80.0.2"
    cloud.both(name="third", state="terminated")
    (fourth,) = cloud.both(name="fourth", image_id="idle")["instances"]
    assert fourth["private_ip_address"] == "10.80.0.3"
    cloud.both(name="fourth", state="terminated")


def test_an_ipv6_address_is_reserved_for_those_that_ask_by_their_mac_address(
    cloud: Cloud, machine: Callable[..., Machine]
) -> None:
    (instance,) = cloud.both(name="a", image_id="idle")["instances"]
    card = instance["network_interfaces"][0]
    assert (card["address_source"], card["ipv6_address_source"]) == ("reservation", "seed")
    one = machine("one", "pocket0", card["mac_address"])
    wait_until("an answer", lambda: one.dhcp6() == [card["ipv6_address"]])
    (listed,) = cloud.host.ok("ec2like_instance_info", store=cloud.store)["instances"]
    assert listed["network_interfaces"][0]["ipv6_address_source"] == "lease"
    other = machine("other", "pocket0", "52:54:00:0a:0b:0d")
    assert other.dhcp6(timeout=2) == []
    failed = cloud.refused(name="b", image_id="idle", ipv6_address=card["ipv6_address"])
    assert failed["error_code"] == "InvalidIPAddress.InUse"
    cloud.both(name="a", state="terminated")
    assert card["ipv6_address"] not in cloud.host.virsh("net-dumpxml", "pocket")


def test_an_address_that_a_neighbour_has_is_refused_before_boot(cloud: Cloud, machine: Callable[..., Machine]) -> None:
    squatter = machine("squatter", "pocket0")
    squatter.address("10.80.0.2/24")
    failed = cloud.refused(name="a", image_id="idle", private_ip_address="10.80.0.2")
    assert (failed["error_code"], squatter.mac in failed["msg"]) == ("InvalidIPAddress.InUse", True)
    assert cloud.domains() == set()
    squatter.run(PYTHON, "-c", "import socket; socket.socket().connect_ex(('10.80.0.1', 9))")  # is heard of
    (instance,) = cloud.both(name="a", image_id="idle")["instances"]
    assert instance["private_ip_address"] == "10.80.0.3"
    cloud.both(name="a", state="terminated")


def test_an_address_that_a_machine_of_somebody_elses_has_is_not_given(
    cloud: Cloud, machine: Callable[..., Machine]
) -> None:
    stranger = (
        "<domain type='qemu'><name>printer</name><memory unit='MiB'>32</memory>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os><devices/></domain>"
    )
    cloud.host.path("/tmp/printer.xml").write_text(stranger)
    cloud.host.virsh("create", "/tmp/printer.xml")  # and this answers in its place, unheard of before
    machine("answers", "pocket0").address("10.80.0.2/24")
    (instance,) = cloud.both(name="a", image_id="idle")["instances"]
    assert instance["private_ip_address"] == "10.80.0.3"
    cloud.both(name="a", state="terminated")
    assert cloud.domains() == {"printer"}
    cloud.host.virsh("destroy", "printer")


def said_by_agent(host: Host, instance_id: str, *command: str) -> str:
    """What a command in the guest prints; its guest agent runs it."""

    def ask(execute: str, **arguments: Any) -> Any:
        asked = json.dumps({"execute": execute, "arguments": arguments})
        return json.loads(host.virsh("qemu-agent-command", instance_id, asked))["return"]

    words = {"path": command[0], "arg": command[1:], "capture-output": True}
    pid = ask("guest-exec", **words)["pid"]
    done = wait_until("the command's end", lambda: (told := ask("guest-exec-status", pid=pid))["exited"] and told)
    return base64.b64decode(done.get("out-data", "")).decode()


def test_cloud_init_of_a_real_debian_takes_the_seeds_addresses_and_its_agent_confirms_them(
    cloud: Cloud, debian_image: Path
) -> None:
    host = cloud.host
    host.ok("ec2like_image", store=cloud.store, name="debian", path=str(debian_image))
    wanted = {
        "name": "a",
        "image_id": "debian",
        "vcpus": 2,
        "memory_mib": 512,
        "network_interfaces": [{"network": "lan"}, {"ipv6_address": "fd00:80::9"}],
    }
    (instance,) = cloud.both(**wanted, wait=True, wait_for="ip", wait_timeout=240)["instances"]
    mine = instance["instance_id"]
    # The host has no address on that bridge: it is the guest that says so, or that answers for its address.
    assert sources(instance)[0] in ("agent", "arp")
    wait_until(
        "the agent",
        lambda: "fd00:80::9" in host.run(["virsh", "domifaddr", mine, "--source", "agent"], check=False).stdout,
        interval=1,
    )
    shown = host.virsh("domifaddr", mine, "--source", "agent")
    second = instance["network_interfaces"][1]["private_ip_address"]
    for address in ("192.0.2.20/24", f"{second}/24", "fd00:80::9/64"):
        assert address in shown
    (confirmed,) = cloud.both(**wanted, wait=True, wait_for="ip")["instances"]
    assert sources(confirmed) == [confirmed["network_interfaces"][0]["address_source"], "lease"]
    routes = said_by_agent(host, mine, "/usr/sbin/ip", "route", "show", "default").splitlines()
    assert routes[0].startswith("default via 192.0.2.1 dev eth0")
    assert "fd00:80::1" not in said_by_agent(host, mine, "/usr/sbin/ip", "-6", "route", "show", "default")
    assert "192.0.2.53" in said_by_agent(host, mine, "/usr/bin/resolvectl", "dns", "eth0")
    cloud.both(name="a", state="terminated")
