# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.addresses import free_addresses
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import network_of, network_xml
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import (
    AddressRange,
    Host,
    Network,
)
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
