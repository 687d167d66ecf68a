# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reservations in the definition and in a DHCP server: of a run that is killed between the two, the next one hears."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import reservations
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.drift import unreserved
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, Interface, network_uuid
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_calls import NetworkCalls
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import network_xml
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import Host, Network
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.xml_text import child, parse, text_of
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import Guard, Killed
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import instance_id

INSTANCE = Instance(
    instance_id(0),
    "ami-0",
    1,
    64,
    (Interface("pocket", "52:54:00:00:00:01", "10.80.0.9"),),
    "2026-01-01T00:00:00Z",
    "r-0",
)
((_NETWORK, HOST),) = Host.of(INSTANCE)
KNOWN = {HOST.mac_address: str(HOST.address)}
LIBVIRT = SimpleNamespace(
    libvirtError=PocketError,
    VIR_NETWORK_XML_INACTIVE=1,
    VIR_NETWORK_UPDATE_COMMAND_ADD_LAST=3,
    VIR_NETWORK_UPDATE_COMMAND_DELETE=2,
    VIR_NETWORK_SECTION_IP_DHCP_HOST=4,
    VIR_NETWORK_UPDATE_AFFECT_LIVE=1,
    VIR_NETWORK_UPDATE_AFFECT_CONFIG=2,
)


class Dnsmasq:
    """libvirt's network and its DHCP server, which hears of files that come and of none that goes."""

    def __init__(self, place: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
        self.guard = guard
        self.directory = place
        blank = Network("pocket", "pocket0", ipaddress.IPv4Interface("10.80.0.1/24"), uuid=network_uuid("pocket"))
        self.defined = re.sub(r'(?<=dhcp-hostsdir=)[^"]+', str(place), network_xml(blank))
        self.live: str | None = self.defined
        self.served: dict[str, str] = {}
        real = reservations.tell

        def tell(directory: Path, host: Host) -> None:
            guard.write("tell")
            real(directory, host)
            self.served.setdefault(host.mac_address, str(host.address))

        monkeypatch.setattr(reservations, "_DIRECTORY", re.compile(f'value="dhcp-hostsdir=({place})"'))
        monkeypatch.setattr(reservations, "_read_again", self._read_again)
        monkeypatch.setattr(reservations, "tell", tell)

    def _read_again(self, network: str) -> None:
        self.guard.write(f"read again {network}")
        self.start(self.live)

    def start(self, live: str | None) -> None:
        self.live = live
        files = [path.read_text().split(",") for path in self.directory.glob("[!.]*")]
        hosts = [] if live is None else parse(live).findall("ip/dhcp/host")
        self.served = {host.get("mac", ""): host.get("ip", "") for host in hosts}
        self.served.update({mac: address for mac, address, _name in files})

    # What is called of libvirt's

    def networkLookupByName(self, name: str) -> Dnsmasq:
        assert name == "pocket"
        return self

    def listAllNetworks(self) -> list[Dnsmasq]:
        return [self]

    def name(self) -> str:
        return "pocket"

    def isActive(self) -> bool:
        return self.live is not None

    def autostart(self) -> bool:
        return True

    def DHCPLeases(self, _mac: str) -> list[Any]:
        return []

    def XMLDesc(self, flags: int = 0) -> str:
        return self.defined if flags or self.live is None else self.live

    def update(self, command: int, _section: int, _parent: int, xml: str, flags: int) -> None:
        self.guard.write("update")
        self.defined = self._updated(self.defined, command, xml)
        if flags & LIBVIRT.VIR_NETWORK_UPDATE_AFFECT_LIVE and self.live is not None:
            self.start(self._updated(self.live, command, xml))

    def _updated(self, definition: str, command: int, xml: str) -> str:
        network, host = parse(definition), parse(xml)
        dhcp = child(child(network, "ip"), "dhcp")
        same = [one for one in dhcp.findall("host") if one.get("mac") == host.get("mac")]
        adds = command == LIBVIRT.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
        assert bool(same) is not adds
        if adds:
            dhcp.append(host)
        else:
            dhcp.remove(same[0])
        return text_of(network)


class Calls(NetworkCalls):
    """The calls, on that network."""

    def __init__(self, dnsmasq: Dnsmasq) -> None:
        super().__init__()
        self._libvirt = LIBVIRT
        self._opened.append(dnsmasq)

    def repair(self) -> int:
        found = list(unreserved([INSTANCE], self.networks()))
        for operation in found:
            self.reserve(*operation.payload)
        return len(found)


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
def dnsmasq(tmp_path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> Dnsmasq:
    return Dnsmasq(tmp_path, guard, monkeypatch)


def is_killed(guard: Guard, writes: int, call: Any) -> bool:
    guard.left = writes
    try:
        call("pocket", HOST)
    except Killed:
        return True
    finally:
        guard.left = None
    return False


@pytest.mark.parametrize("writes", range(3))
def test_a_reservation_killed_anywhere_is_made_by_the_next_run(dnsmasq: Dnsmasq, guard: Guard, writes: int) -> None:
    calls = Calls(dnsmasq)
    killed = is_killed(guard, writes, calls.reserve)
    assert killed is (writes < 2)
    assert calls.repair() == int(killed)
    assert calls.repair() == 0
    assert dnsmasq.served == KNOWN
    assert calls.networks()[0].hosts == (HOST,)


@pytest.mark.parametrize("writes", range(3))
def test_a_release_killed_anywhere_is_finished_by_the_next_run(dnsmasq: Dnsmasq, guard: Guard, writes: int) -> None:
    calls = Calls(dnsmasq)
    calls.reserve("pocket", HOST)
    assert is_killed(guard, writes, calls.release) is (writes < 2)
    calls.release("pocket", HOST)
    assert dnsmasq.served == {}
    assert list(dnsmasq.directory.iterdir()) == []
    assert calls.networks()[0].hosts == ()


def test_a_reservation_whose_file_somebody_removed_is_told_again(dnsmasq: Dnsmasq) -> None:
    calls = Calls(dnsmasq)
    calls.reserve("pocket", HOST)
    for path in dnsmasq.directory.iterdir():
        path.unlink()
    dnsmasq.start(dnsmasq.live)
    assert dnsmasq.served == {}
    assert calls.repair() == 1
    assert dnsmasq.served == KNOWN
    assert calls.repair() == 0


def test_what_the_network_was_started_with_needs_no_file(dnsmasq: Dnsmasq, guard: Guard) -> None:
    calls = Calls(dnsmasq)
    calls.reserve("pocket", HOST)
    reservations.clear(dnsmasq.defined)
    dnsmasq.start(dnsmasq.defined)
    assert (dnsmasq.served, calls.repair()) == (KNOWN, 0)
    calls.release("pocket", HOST)
    assert dnsmasq.served == {}
    # Nor does what is reserved while it is off; what is released then is unknown at its next start, whoever starts it.
    dnsmasq.live = None
    guard.writes.clear()
    calls.reserve("pocket", HOST)
    assert guard.writes == ["update"]
    dnsmasq.start(dnsmasq.defined)
    assert (dnsmasq.served, calls.repair()) == (KNOWN, 0)
    reservations.tell(dnsmasq.directory, HOST)
    dnsmasq.live = None
    calls.release("pocket", HOST)
    dnsmasq.start(dnsmasq.defined)
    assert dnsmasq.served == {}


def test_of_a_daemon_elsewhere_this_hosts_files_tell_nothing(dnsmasq: Dnsmasq) -> None:
    calls = Calls(dnsmasq)
    calls.uri = "qemu+ssh://root@kvm1/system"
    calls.reserve("pocket", HOST)
    assert list(dnsmasq.directory.iterdir()) == []
    assert (dnsmasq.served, calls.repair()) == (KNOWN, 0)


def test_what_somebody_else_reserved_is_not_ours_to_tell_of(dnsmasq: Dnsmasq) -> None:
    calls = Calls(dnsmasq)
    calls.reserve("pocket", replace(HOST, name="theirs"))
    for path in dnsmasq.directory.iterdir():
        path.unlink()
    assert calls.repair() == 0
