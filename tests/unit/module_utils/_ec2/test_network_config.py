# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import yaml

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Interface
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_config import network_config
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import Network
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import network

MAC = "52:54:00:00:00:01"
NETWORK = replace(network(), ipv6=ipaddress.IPv6Interface("fd00:80::1/64"))
BARE = Network(
    "lan",
    "br0",
    ipaddress.IPv4Interface("192.0.2.0/25"),
    mode="bridge",
    dhcp=False,
    gateway=ipaddress.IPv4Address("192.0.2.1"),
    dns=(ipaddress.IPv4Address("192.0.2.53"), ipaddress.IPv6Address("fd00::53")),
    ipv6=ipaddress.IPv6Interface("fd00:2::/64"),
)


def read(*interfaces: Interface) -> Any:
    told = network_config(interfaces, (NETWORK, BARE))
    assert told is not None
    config = yaml.safe_load(told)
    assert config["version"] == 2
    return config["ethernets"]


def test_a_guest_that_asks_on_its_one_interface_is_told_nothing() -> None:
    assert network_config((Interface("pocket", MAC, "10.80.0.2"),), (NETWORK,)) is None


def test_a_static_address_comes_with_the_way_out_and_name_servers() -> None:
    assert read(Interface("lan", MAC, "192.0.2.9", given_by="seed")) == {
        "eth0": {
            "match": {"macaddress": MAC},
            "set-name": "eth0",
            "dhcp4": False,
            "addresses": ["192.0.2.9/25"],
            "gateway4": "192.0.2.1",
            "nameservers": {"addresses": ["192.0.2.53", "fd00::53"]},
        }
    }
    # The network's own bridge is gateway and name server where nothing else is said.
    card = read(Interface("pocket", MAC, "10.80.0.9", given_by="seed"))["eth0"]
    assert (card["gateway4"], card["nameservers"]) == ("10.80.0.1", {"addresses": ["10.80.0.1"]})


def test_an_ipv6_address_is_static_beside_dhcp() -> None:
    assert read(Interface("pocket", MAC, "10.80.0.2", "fd00:80::9")) == {
        "eth0": {
            "match": {"macaddress": MAC},
            "set-name": "eth0",
            "dhcp4": True,
            "addresses": ["fd00:80::9/64"],
            "accept-ra": False,
            "gateway6": "fd00:80::1",
        }
    }
    card = read(Interface("lan", MAC, "192.0.2.9", "fd00:2::9", "seed"))["eth0"]
    assert card["addresses"] == ["192.0.2.9/25", "fd00:2::9/64"]
    assert card["accept-ra"] is True
    assert "gateway6" not in card


def test_the_way_out_is_the_first_interfaces() -> None:
    cards = read(
        Interface("pocket", MAC, "10.80.0.2"),
        Interface("pocket", "52:54:00:00:00:02", "10.80.0.3", "fd00:80::3"),
        Interface("lan", "52:54:00:00:00:03", "192.0.2.9", given_by="seed"),
    )
    assert [sorted(card) for card in cards.values()] == [
        ["dhcp4", "match", "set-name"],
        ["accept-ra", "addresses", "dhcp4", "dhcp4-overrides", "match", "set-name"],
        ["addresses", "dhcp4", "match", "nameservers", "set-name"],
    ]
    assert cards["eth1"]["dhcp4-overrides"] == {"route-metric": 200}
