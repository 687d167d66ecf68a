# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of the host's tables, and that a link that cannot be used tells nothing; the rest needs real links."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import link
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_calls import NetworkCalls

NEIGHBOURS = [
    {"dst": "10.80.0.2", "dev": "pocket0", "lladdr": "52:54:00:AA:00:01", "state": ["REACHABLE"]},
    {"dst": "fd00:80::2", "dev": "pocket0", "lladdr": "52:54:00:aa:00:01", "state": ["STALE"]},
    {"dst": "10.80.0.3", "dev": "pocket0", "state": ["INCOMPLETE"]},
    {"dst": "10.80.0.4", "dev": "pocket0", "lladdr": "52:54:00:aa:00:04", "state": ["FAILED"]},
]
ADDRESSES = [
    {"ifname": "lo", "address": "00:00:00:00:00:00", "addr_info": [{"local": "127.0.0.1"}]},
    {"ifname": "br0", "address": "52:54:00:BB:00:01", "addr_info": [{"local": "192.0.2.1"}, {"local": "fd00::1"}, {}]},
    {},
]


def says(monkeypatch: pytest.MonkeyPatch, **told: Any) -> None:
    def run(command: list[str], **_options: Any) -> Any:
        return subprocess.CompletedProcess(command, 0, told[command[2]], "")

    monkeypatch.setattr(subprocess, "run", run)


def test_a_neighbour_is_known_once_it_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, neighbour=json.dumps(NEIGHBOURS))
    assert link.neighbours() == {
        ipaddress.ip_address("10.80.0.2"): "52:54:00:aa:00:01",
        ipaddress.ip_address("fd00:80::2"): "52:54:00:aa:00:01",
    }


def test_the_hosts_own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, address=json.dumps(ADDRESSES))
    assert {str(address): mac for address, mac in link.host_addresses().items()} == {
        "127.0.0.1": "00:00:00:00:00:00",
        "192.0.2.1": "52:54:00:bb:00:01",
        "fd00::1": "52:54:00:bb:00:01",
    }


@pytest.mark.parametrize("told", ["", "no json", "{}"])
def test_what_cannot_be_read_is_nothing_learned(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    says(monkeypatch, neighbour=told, address=told)
    assert link.neighbours() == link.host_addresses() == {}


def test_a_link_that_is_not_there_tells_nothing() -> None:
    wanted = ipaddress.IPv4Address("192.0.2.1")
    assert link.who_has("nosuchlink0", [wanted]) == {}
    assert link.who_has("lo", []) == {}
    link.tell_of_release("nosuchlink0", wanted, "52:54:00:00:00:01", ipaddress.IPv4Address("192.0.2.2"))


def test_of_a_daemon_elsewhere_nothing_is_learned_from_this_hosts_links(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, neighbour=json.dumps(NEIGHBOURS), address=json.dumps(ADDRESSES))
    far = NetworkCalls("qemu+ssh://root@kvm1/system")
    assert far.neighbours() == far.host_addresses() == far.who_has("pocket", []) == {}
    assert NetworkCalls("qemu:///system").neighbours() != {}
