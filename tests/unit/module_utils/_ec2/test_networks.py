# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import itertools
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.addresses import free_addresses
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import mac_address
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import (
    METADATA_URI,
    host_xml,
    network_of,
    network_xml,
    parent_index,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import (
    AddressRange,
    Host,
    Network,
)
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import network

FOREIGN = """
<network ipv6='yes'>
  <name>default</name>
  <uuid>c2b3b2ab-0000-4000-8000-000000000000</uuid>
  <forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>
  <bridge name='virbr0' stp='on' delay='0'/>
  <domain name='lan'/>
  <dns><host ip='192.168.122.9'><hostname>printer</hostname></host></dns>
  <ip family='ipv6' address='fd00::1' prefix='64'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
      <host mac='52:54:00:AA:BB:CC' name='i-1' ip='192.168.122.5'/>
    </dhcp>
  </ip>
</network>
"""


def addresses(start: int, end: int) -> AddressRange:
    return AddressRange(ipaddress.IPv4Address("10.80.0.0") + start, ipaddress.IPv4Address("10.80.0.0") + end)


ranges = st.none() | st.tuples(st.integers(2, 120), st.integers(120, 254)).map(lambda pair: addresses(*pair))


@given(ranges, ranges, st.sampled_from([None, "eth1"]), st.sampled_from(["nat", "route", "open"]))
def test_a_network_comes_back_as_it_went(
    dhcp_range: AddressRange | None, address_range: AddressRange | None, uplink: str | None, mode: str
) -> None:
    made = replace(network(), dhcp_range=dhcp_range, address_range=address_range, uplink=uplink, mode=mode)
    read = network_of(network_xml(made), active=True, autostart=False)
    assert read == made
    assert read.ours
    # A change on the ground of what is there comes back, too.
    changed = replace(read, dhcp_range=None, uplink="eth2", mode="open")
    assert network_of(network_xml(changed), active=True, autostart=False) == changed


servers = st.lists(st.sampled_from(["10.80.0.53", "192.0.2.53", "fd00::53"]), unique=True, max_size=3)
told = st.fixed_dictionaries(
    {
        "gateway": st.none() | st.integers(2, 254).map(lambda octet: ipaddress.IPv4Address("10.80.0.0") + octet),
        "dns": servers.map(lambda texts: tuple(ipaddress.ip_address(text) for text in texts)),
        "ipv6": st.none() | st.integers(64, 120).map(lambda length: ipaddress.IPv6Interface(f"fd00:80::1/{length}")),
        "address_range": ranges,
        "dhcp": st.booleans(),
    }
)


@given(told, told, st.sampled_from(["nat", "route", "open"]))
def test_what_instances_are_told_comes_back_as_it_went(first: dict[str, Any], then: dict[str, Any], mode: str) -> None:
    made = replace(network(), mode=mode, serves_dhcp6=first["ipv6"] is not None, **first)
    read = network_of(network_xml(made), active=True, autostart=False)
    assert read == made
    changed = replace(read, serves_dhcp6=then["ipv6"] is not None, **then)
    assert network_of(network_xml(changed), active=True, autostart=False) == changed


@given(told, st.sampled_from(["nat", "bridge"]))
def test_a_network_on_a_bridge_of_the_hosts_comes_back_as_it_went(first: dict[str, Any], before: str) -> None:
    bare: dict[str, Any] = {**first, "mode": "bridge", "dhcp": False}
    bare["interface"] = ipaddress.IPv4Interface("10.80.0.0/24")
    start = network_of(network_xml(replace(network(), mode=before)), active=True, autostart=False)
    made = replace(start, **bare)
    text = network_xml(made)
    assert network_of(text, active=True, autostart=False) == made
    assert "<ip" not in text
    assert "dnsmasq" not in text


@given(st.integers(2, 254), st.integers(2, 1 << 40), st.integers(0, 3))
def test_a_reservation_comes_back_in_its_own_family(octet: int, number: int, index: int) -> None:
    made = replace(network(), ipv6=ipaddress.IPv6Interface("fd00:80::1/64"))
    root = ET.fromstring(network_xml(made))
    mine = mac_address("i-0123456789abcdef0", index)
    hosts = (
        Host(mine, ipaddress.IPv4Address("10.80.0.0") + octet, "i-0123456789abcdef0"),
        Host(mine, ipaddress.IPv6Address("fd00:80::") + number, "i-0123456789abcdef0"),
    )
    for host in hosts:
        where = root.findall("ip")[parent_index(ET.tostring(root, encoding="unicode"), host.address.version)]
        holder = where.find("dhcp")
        assert holder is not None
        holder.append(ET.fromstring(host_xml(host)))
    read = network_of(ET.tostring(root, encoding="unicode"), active=True, autostart=False)
    assert read.hosts == hosts
    assert {host.instance_id for host in read.hosts} == {"i-0123456789abcdef0"}


def test_a_network_of_somebody_else_is_read_and_keeps_what_we_do_not_know() -> None:
    read = network_of(FOREIGN, active=False, autostart=True)
    assert not read.ours
    assert read.interface == ipaddress.IPv4Interface("192.168.122.1/24")
    assert read.hosts == (Host("52:54:00:aa:bb:cc", ipaddress.IPv4Address("192.168.122.5"), "i-1"),)
    text = network_xml(replace(read, bridge="br9", dhcp_range=None))
    for kept in ('ipv6="yes"', '<domain name="lan"', "printer", "fd00::1", "1024", "52:54:00:AA:BB:CC"):
        assert kept in text
    assert 'bridge name="br9"' in text
    assert "192.168.122.254" not in text


@pytest.mark.parametrize(
    "about", [{"dns": "10.0.0.1 x"}, {"gateway": "here"}, {"address-range": "10.80.0.9"}, {"dns": "fe80::1%a x"}]
)
def test_one_whose_metadata_was_edited_is_named(about: dict[str, str]) -> None:
    root = ET.fromstring(network_xml(network()))
    metadata = root.find("metadata")
    assert metadata is not None
    for old in list(metadata):
        metadata.remove(old)
    ET.SubElement(metadata, f"{{{METADATA_URI}}}network", about)
    with pytest.raises(PocketError, match=r"definition of the network 'pocket' cannot be understood .* virsh net-edit"):
        network_of(ET.tostring(root, encoding="unicode"), active=True, autostart=False)


def test_a_live_definition_that_differs_is_outdated() -> None:
    old = network_xml(network())
    assert not network_of(old, active=True, autostart=True, live_xml=old).outdated
    new = network_xml(replace(network(), mode="open"))
    assert network_of(new, active=True, autostart=True, live_xml=old).outdated
    read = network_of(network_xml(replace(network(), bridge="br1")), active=True, autostart=True, live_xml=old)
    assert (read.outdated, read.live_bridge, read.bridge) == (True, "pocket0", "br1")


@given(st.sets(st.integers(0, 255)), ranges, ranges)
def test_addresses_are_free_in_the_subnet_and_each_is_offered_once(
    taken: set[int], dhcp_range: AddressRange | None, address_range: AddressRange | None
) -> None:
    base = ipaddress.IPv4Address("10.80.0.0")
    made: Network = replace(network(), dhcp_range=dhcp_range, address_range=address_range)
    used = {base + number for number in taken}
    offered = list(free_addresses(made, {base + 1, *used}))
    expected = {base + number for number in range(2, 255)} - used
    if address_range:
        expected = {one for one in expected if one in address_range}
    assert set(offered) == expected
    assert len(offered) == len(expected)
    inside = [dhcp_range is not None and one in dhcp_range for one in offered]
    assert inside == sorted(inside), "those of the dynamic range come last"
    for _late, group in itertools.groupby(offered, key=lambda one: dhcp_range is not None and one in dhcp_range):
        batch = list(group)
        assert batch == sorted(batch)
