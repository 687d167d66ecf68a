# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a network by libvirt, which refuses to take away what is not there and to add what is."""

from __future__ import annotations

import ipaddress
import itertools
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import reservations
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_calls import NetworkCalls
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import (
    dhcp_ranges,
    network_of,
    network_xml,
    range_xml,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import AddressRange
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.xml_text import child, parse, text_of
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import Killed
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import network

CONFIG, LIVE = 2, 1
ADD, DELETE = 3, 2
NAMES: dict[str, Any] = {
    "libvirtError": OSError,
    "VIR_NETWORK_XML_INACTIVE": 1,
    "VIR_NETWORK_SECTION_IP_DHCP_RANGE": 5,
    "VIR_NETWORK_UPDATE_AFFECT_CONFIG": CONFIG,
    "VIR_NETWORK_UPDATE_AFFECT_LIVE": LIVE,
    "VIR_NETWORK_UPDATE_COMMAND_ADD_LAST": ADD,
    "VIR_NETWORK_UPDATE_COMMAND_DELETE": DELETE,
}
ONE, TWO, THREE = (
    AddressRange(ipaddress.IPv4Address(f"10.80.0.{first}"), ipaddress.IPv4Address(f"10.80.0.{first + 9}"))
    for first in (100, 120, 140)
)


class LibvirtsNetwork:
    """A network with its definition and, where it is active, what it runs with; killed after `left` updates."""

    def __init__(self, config: str, live: str | None, left: int | None = None) -> None:
        self.xml = {CONFIG: config, LIVE: live or ""}
        self.active = live is not None
        self.left = left

    def isActive(self) -> int:
        return int(self.active)

    def XMLDesc(self, flags: int = 0) -> str:
        return self.xml[CONFIG if flags or not self.active else LIVE]

    def update(self, command: int, section: int, parent: int, xml: str, flags: int) -> None:
        assert section == NAMES["VIR_NETWORK_SECTION_IP_DHCP_RANGE"]
        if self.left == 0:
            raise Killed
        changed = {one: self._updated(self.xml[one], command, parent, xml) for one in (CONFIG, LIVE) if flags & one}
        self.xml.update(changed)
        self.left = None if self.left is None else self.left - 1

    @staticmethod
    def _updated(definition: str, command: int, parent: int, xml: str) -> str:
        root = parse(definition)
        dhcp = child(root.findall("ip")[parent], "dhcp")
        same = [one for one in dhcp.findall("range") if one.attrib == parse(xml).attrib]
        if command == ADD:
            if same:
                raise OSError(f"there is an existing dhcp range entry that matches {xml}")
            dhcp.append(parse(xml))
        elif not same:
            raise OSError("couldn't locate a matching dhcp range entry")
        else:
            dhcp.remove(same[0])
        return text_of(root)


class Calls(NetworkCalls):
    def __init__(self, one: LibvirtsNetwork) -> None:
        super().__init__()
        self._libvirt = SimpleNamespace(**NAMES)
        self.one = one

    @property
    def _connection(self) -> Any:
        return SimpleNamespace(networkLookupByName=lambda _name: self.one)


def definition(*ranges: AddressRange) -> str:
    there = LibvirtsNetwork(network_xml(replace(network(), ipv6=ipaddress.IPv6Interface("fd00:80::1/64"))), None)
    for one in ranges:
        there.update(ADD, NAMES["VIR_NETWORK_SECTION_IP_DHCP_RANGE"], 0, range_xml(one), CONFIG)
    return there.xml[CONFIG]


RANGES = [(), (ONE,), (TWO,), (ONE, THREE)]


@pytest.mark.parametrize("live", [*RANGES, None])
@pytest.mark.parametrize("config", RANGES)
@pytest.mark.parametrize("wanted", [None, TWO])
def test_a_range_is_changed_from_whatever_there_is_and_also_after_a_kill(
    wanted: AddressRange | None, config: tuple[AddressRange, ...], live: tuple[AddressRange, ...] | None
) -> None:
    for left in itertools.count():
        there = LibvirtsNetwork(definition(*config), None if live is None else definition(*live), left)
        try:
            Calls(there).set_dhcp_range("pocket", wanted)
            killed = False
        except Killed:
            killed = True
        there.left = None
        Calls(there).set_dhcp_range("pocket", wanted)
        expected = [wanted] if wanted else []
        assert dhcp_ranges(there.XMLDesc(1)) == dhcp_ranges(there.XMLDesc()) == expected
        there.left = 0  # there is nothing left to do
        Calls(there).set_dhcp_range("pocket", wanted)
        if not killed:
            return


def test_what_libvirt_says_of_a_range_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        raise OSError("no")

    there = LibvirtsNetwork(definition(), None)
    monkeypatch.setattr(there, "update", refuse)
    with pytest.raises(PocketError, match=r"^Cannot change the DHCP range of the network pocket: libvirt says: no$"):
        Calls(there).set_dhcp_range("pocket", ONE)


def test_the_directory_of_reservations_has_a_definition_as_long_as_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that is killed by the write of a definition leaves no directory that nothing tells of."""
    monkeypatch.setattr(reservations, "_PLACE", str(tmp_path))
    monkeypatch.setattr(reservations, "_DIRECTORY", re.compile(f'value="dhcp-hostsdir=({tmp_path}/[^"]+)"'))

    def killed(*_arguments: Any) -> None:
        raise Killed

    there = LibvirtsNetwork(definition(), None)
    calls = Calls(there)
    fails = SimpleNamespace(networkDefineXML=killed, networkLookupByName=lambda _name: there)
    works = SimpleNamespace(networkDefineXML=lambda _xml: there, networkLookupByName=lambda _name: there)
    monkeypatch.setattr(Calls, "_connection", fails)
    with pytest.raises(Killed):
        calls.define_network(network())
    assert list(tmp_path.iterdir()) == []
    # One that is there finds it when it starts, whenever that is.
    with pytest.raises(Killed):
        calls.define_network(replace(network(), xml=definition()))
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(Calls, "_connection", works)
    calls.define_network(network())
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(there, "undefine", killed, raising=False)
    with pytest.raises(Killed):
        calls.undefine_network("pocket")
    assert list(tmp_path.iterdir()) == []


def test_the_range_that_is_served_is_read_from_what_the_network_runs_with() -> None:
    read = network_of(definition(ONE), active=True, autostart=True, live_xml=definition(TWO))
    assert (read.dhcp_range, read.live_range, read.outdated) == (ONE, TWO, False)
