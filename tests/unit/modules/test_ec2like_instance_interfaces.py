# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_instance says and does about network interfaces and their addresses."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import network_uuid
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import network_of, network_xml
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import AddressRange, Network
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import Killed
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_instance import Desk

OTHER = "02:00:00:00:00:07"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A host with three networks: C(pocket) with IPv6, C(second) beside it, and C(lan) on a bridge of the host's."""
    made = Desk(tmp_path, monkeypatch)
    nets = made.hypervisor.nets
    for network in (
        replace(made.network(), ipv6=ipaddress.IPv6Interface("fd00:80::1/64"), xml=""),
        made.network("second", "10.81.0.1/24"),
        Network(
            "lan",
            "br0",
            ipaddress.IPv4Interface("198.51.100.0/24"),
            mode="bridge",
            dhcp=False,
            address_range=AddressRange.of("198.51.100.20-198.51.100.29", "address_range"),
            uuid=network_uuid("lan"),
        ),
    ):
        read = network_of(network_xml(network), active=True, autostart=True)
        nets[network.name] = replace(read, live_bridge=read.bridge)
    return made


def hosts(desk: Desk, network: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for host in desk.hypervisor.nets[network].hosts:
        found.setdefault(host.name, []).append(str(host.address))
    return found


def test_each_interface_has_its_own_address_and_reservation(desk: Desk) -> None:
    wanted = [{"network": "pocket", "private_ip_address": "10.80.0.9", "ipv6_address": "fd00:80::9"}, {}]
    result = desk.again(name="a", network_interfaces=[*wanted, {"network": "second"}, {"network": "lan"}])
    (instance,) = result["instances"]
    mine = instance["instance_id"]
    shown = [
        (one["device_index"], one["network"], one["private_ip_address"], one["given_by"], one["address_source"])
        for one in instance["network_interfaces"]
    ]
    assert shown == [
        (0, "pocket", "10.80.0.9", "dhcp", "lease"),
        (1, "pocket", "10.80.0.2", "dhcp", "lease"),
        (2, "second", "10.81.0.2", "dhcp", "lease"),
        (3, "lan", "198.51.100.20", "seed", "seed"),
    ]
    assert (instance["private_ip_address"], instance["ipv6_address"]) == ("10.80.0.9", "fd00:80::9")
    second = instance["network_interfaces"][1]["ipv6_address"]
    assert hosts(desk, "pocket") == {mine: ["10.80.0.9", "fd00:80::9"], f"{mine}-1": ["10.80.0.2", second]}
    assert hosts(desk, "second") == {f"{mine}-2": ["10.81.0.2"]}
    assert hosts(desk, "lan") == {}
    told = desk.seeds[mine]["network_config"]
    assert '"198.51.100.20/24"' in told
    assert '"fd00:80::9/64"' in told
    for state in ("stopped", "running", "restarted"):
        kept = desk.call(name="a", state=state)["instances"][0]["network_interfaces"]
        assert [one["mac_address"] for one in kept] == [one["mac_address"] for one in instance["network_interfaces"]]
        assert [one["ipv6_address"] for one in kept][:2] == ["fd00:80::9", second]
    desk.again(name="a", state="terminated")
    assert [hosts(desk, name) for name in ("pocket", "second", "lan")] == [{}, {}, {}]


def test_the_diff_of_a_launch_shows_networks_and_no_address(desk: Desk) -> None:
    result = desk.call(name="a", network_interfaces=[{"network": "pocket"}, {"network": "second"}])
    assert "second" in result["diff"]["after"]
    for interface in result["instances"][0]["network_interfaces"]:
        for name in ("mac_address", "private_ip_address", "ipv6_address"):
            assert interface[name] is None or interface[name] not in result["diff"]["after"]


def test_one_interface_with_dhcp_needs_no_network_configuration(desk: Desk) -> None:
    ids = desk.again(name="a", network="second")["instance_ids"]
    assert desk.seeds[ids[0]]["network_config"] is None


def test_filters_look_at_every_interface(desk: Desk) -> None:
    first = desk.call(name="a", network_interfaces=[{"network": "pocket"}, {"network": "lan"}])["instance_ids"]
    ids = desk.call(name="b", network="lan")["instance_ids"]
    both = desk.call(state="running", filters={"network": "lan"})["instance_ids"]
    assert sorted(both) == sorted([*first, *ids])
    found = desk.call(state="running", filters={"network-interface.addresses.private-ip-address": "198.51.100.21"})
    assert found["instance_ids"] == ids
    address = desk.call(state="running", filters={"network": "pocket"})["instances"][0]["ipv6_address"]
    assert desk.call(state="running", filters={"ipv6-address": address})["instance_ids"] == first


def test_an_address_that_another_machine_answers_for_is_not_given(desk: Desk) -> None:
    for number in (20, 21, 23):
        desk.hypervisor.link[ipaddress.ip_address(f"198.51.100.{number}")] = OTHER
    desk.hypervisor.table[ipaddress.ip_address("10.80.0.2")] = OTHER
    result = desk.again(exact_count=2, tags={"a": "b"}, network_interfaces=[{"network": "lan"}, {}])
    shown = [[one["private_ip_address"] for one in made["network_interfaces"]] for made in result["instances"]]
    assert shown == [["198.51.100.22", "10.80.0.3"], ["198.51.100.24", "10.80.0.4"]]
    failed = desk.refuse(name="c", network="lan", private_ip_address="198.51.100.21")
    assert (failed["error_code"], OTHER in failed["msg"]) == ("InvalidIPAddress.InUse", True)
    failed = desk.refuse(name="c", private_ip_address="10.80.0.2")
    assert (failed["error_code"], OTHER in failed["msg"]) == ("InvalidIPAddress.InUse", True)
    # Nobody else is in a network of our own, so nobody is asked there, unless for an address that was stated.
    assert {name for name, _addresses in desk.hypervisor.asked} == {"lan"}
    desk.call(name="c", private_ip_address="10.80.0.77", wait=False)
    assert ("pocket", ["10.80.0.77"]) in desk.hypervisor.asked
    # Where others run machines beside, one of them may be there.
    desk.hypervisor.size = replace(desk.hypervisor.size, others_mib=64)
    desk.hypervisor.link[ipaddress.ip_address("10.80.0.5")] = OTHER
    assert desk.call(name="d")["instances"][0]["private_ip_address"] == "10.80.0.6"


def test_a_neighbour_that_is_one_of_ours_is_no_conflict(desk: Desk) -> None:
    first = desk.call(name="a", private_ip_address="10.80.0.5")["instances"][0]
    mac = first["network_interfaces"][0]["mac_address"]
    desk.hypervisor.table[ipaddress.ip_address("10.80.0.5")] = mac
    desk.call(name="a", state="terminated")
    assert desk.again(name="b", private_ip_address="10.80.0.5")["changed"] is True


def test_the_seeds_address_is_confirmed_by_whoever_sees_it(desk: Desk) -> None:
    (instance,) = desk.call(name="a", network="lan", wait=False)["instances"]
    mine, mac = instance["instance_id"], instance["network_interfaces"][0]["mac_address"]

    def source() -> Any:
        (shown,) = desk.call(name="a", wait_for="ip")["instances"]
        return shown["network_interfaces"][0]["address_source"]

    desk.hypervisor.agents[mine] = ["198.51.100.20"]
    assert source() == "agent"
    desk.hypervisor.agents.clear()
    desk.hypervisor.link[ipaddress.ip_address("198.51.100.20")] = mac
    assert source() == "arp"
    desk.hypervisor.link.clear()
    desk.hypervisor.table[ipaddress.ip_address("198.51.100.20")] = mac
    assert source() == "arp"


def test_ipv6_is_confirmed_apart_from_ipv4(desk: Desk) -> None:
    (instance,) = desk.call(name="a", wait=False)["instances"]
    interface = instance["network_interfaces"][0]
    assert (interface["address_source"], interface["ipv6_address_source"]) == ("lease", "seed")
    desk.hypervisor.table[ipaddress.ip_address(interface["ipv6_address"])] = interface["mac_address"]
    interface = desk.call(name="a")["instances"][0]["network_interfaces"][0]
    assert (interface["address_source"], interface["ipv6_address_source"]) == ("lease", "ndp")


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"network_interfaces": []}, "network_interfaces: 0 cannot be made", "InvalidParameterValue"),
        ({"network_interfaces": [{}] * 9}, "network_interfaces: 9 cannot be made", "InvalidParameterValue"),
        (
            {"network_interfaces": [{}], "network": "second"},
            "network: second cannot be combined with network_interfaces",
            "InvalidParameterCombination",
        ),
        (
            {"network_interfaces": [{}], "ipv6_address": "fd00:80::7"},
            "ipv6_address: fd00:80::7 cannot be combined",
            "InvalidParameterCombination",
        ),
        ({"network_interfaces": [{}, {"network": "x"}]}, "no network 'x'", "InvalidSubnetID.NotFound"),
        ({"network": "second", "ipv6_address": "fd00:80::7"}, "has no IPv6 subnet", "InvalidParameterValue"),
        ({"network": "lan", "private_ip_address": "198.51.100.0"}, "no machine's address", "InvalidParameterValue"),
    ],
)
def test_bad_interfaces_are_refused_with_a_sentence(desk: Desk, stated: dict[str, Any], said: str, code: str) -> None:
    failed = desk.refuse(name="a", **stated)
    assert said in failed["msg"]
    assert failed["error_code"] == code


def test_killed_anywhere_no_reservation_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    wanted = {"exact_count": 1, "tags": {"a": "b"}, "network_interfaces": [{}, {"network": "second"}]}
    for number in range(100):
        desk.guard.left = number
        killed = False
        try:
            desk.call(**wanted)
        except Killed:
            killed = True
        finally:
            desk.guard.left = None
            desk.guard.forbidden = False
        ids = desk.call(**wanted)["instance_ids"]
        assert set(hosts(desk, "pocket")) == set(ids)
        assert set(hosts(desk, "second")) == {f"{ids[0]}-1"}
        desk.call(exact_count=0, tags={"a": "b"})
        assert hosts(desk, "pocket") == hosts(desk, "second") == {}
        if not killed:
            break
    assert number > 5
