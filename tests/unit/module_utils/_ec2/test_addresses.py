# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.addresses import (
    available,
    free_addresses,
    plan_interfaces,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, Interface
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import AddressRange, Host, Lease, Network
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.request import Current, Template
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import instance_id, network

BASE = ipaddress.IPv4Address("10.80.0.0")
BASE6 = ipaddress.IPv6Address("fd00:80::")
IDS = [instance_id(number) for number in range(100, 105)]
IPV6 = ipaddress.IPv6Interface("fd00:80::1/64")
MAC = "02:00:00:00:00:01"


def instance(number: int, **stated: Any) -> Instance:
    interface = Interface(stated.pop("network", "pocket"), f"52:54:00:00:01:{number:02x}", **stated)
    return Instance(
        instance_id=instance_id(number),
        image_id="ami-0",
        vcpus=1,
        memory_mib=64,
        interfaces=(interface,),
        launch_time="2026-01-01T00:00:00Z",
        reservation_id="r-0",
    )


octets = st.sets(st.integers(0, 255), max_size=40)
ranges = st.none() | st.tuples(st.integers(2, 120), st.integers(120, 254)).map(
    lambda pair: AddressRange(BASE + pair[0], BASE + pair[1])
)


@given(octets, octets, octets, octets, ranges, st.booleans(), st.sampled_from(["nat", "bridge"]), st.integers(1, 3))
def test_no_address_is_planned_that_anybody_has(
    used: set[int],
    reserved: set[int],
    leased: set[int],
    seen: set[int],
    address_range: AddressRange | None,
    dhcp: bool,
    mode: str,
    cards: int,
) -> None:
    made = replace(
        network(),
        mode=mode,
        dhcp=dhcp,
        ipv6=IPV6,
        address_range=address_range,
        gateway=BASE + 254,
        hosts=tuple(Host(f"52:54:00:00:02:{one:02x}", BASE + one, f"m{one}") for one in reserved),
    )
    current = Current(
        instances=tuple(
            instance(one, private_ip_address=str(BASE + one), ipv6_address=str(BASE6 + one)) for one in used
        ),
        networks=(made, replace(network("other"), bridge="pocket0")),
        leases=tuple(Lease(MAC, BASE + one, 1) for one in leased),
        answered={BASE + one: MAC for one in seen},
    )
    template = Template(network_interfaces=[{"network": "pocket"}] * cards)
    if available(made, current_taken(current)) < len(IDS) * cards:
        with pytest.raises(PocketError, match="instances are to be launched"):
            plan_interfaces(current, template, IDS)
        return
    planned = plan_interfaces(current, template, IDS)
    flat = [interface for one in planned for interface in one]
    ipv4 = [ipaddress.IPv4Address(interface.private_ip_address or "") for interface in flat]
    ipv6 = [ipaddress.IPv6Address(interface.ipv6_address or "") for interface in flat]
    assert len(set(ipv4)) == len(set(ipv6)) == len({one.mac_address for one in flat}) == len(IDS) * cards
    taken = {1, 254, 0, 255, *used, *reserved, *leased, *seen}
    assert not {int(one) - int(BASE) for one in ipv4} & taken
    assert all(one in address_range for one in ipv4) if address_range else True
    assert all(one in IPV6.network and one not in (IPV6.ip, IPV6.network.network_address) for one in ipv6)
    assert {one.given_by for one in flat} == {"dhcp" if dhcp and mode == "nat" else "seed"}
    assert plan_interfaces(current, template, IDS) == planned, "the plan draws nothing"


def current_taken(current: Current) -> set[Any]:
    used = {ipaddress.ip_address(one.private_ip_address or "") for one in current.instances}
    return {*used, *(lease.address for lease in current.leases), *current.answered}


@given(octets, octets, ranges)
def test_as_many_are_available_as_can_be_given(used: set[int], reserved: set[int], given: AddressRange | None) -> None:
    hosts = tuple(Host(f"52:54:00:00:02:{one:02x}", BASE + one, f"m{one}") for one in reserved)
    made = replace(network(), address_range=given, hosts=hosts)
    taken: set[Any] = {BASE + one for one in used} | {BASE6 + one for one in used}
    everything = {*taken, BASE + 1, *(host.address for host in hosts)}
    assert available(made, taken) == len(list(free_addresses(made, everything)))


@given(st.lists(st.integers(2, 20), unique=True))
def test_addresses_of_terminated_instances_rest_and_the_longest_rested_come_first(recent: list[int]) -> None:
    made = replace(network(), address_range=AddressRange(BASE + 2, BASE + 20))
    offered = [int(one) - int(BASE) for one in free_addresses(made, {BASE + 1}, [BASE + one for one in recent])]
    assert offered == [*sorted(set(range(2, 21)) - set(recent)), *recent]


def test_networks_on_the_same_bridge_share_its_addresses() -> None:
    first = replace(network("a"), mode="bridge", bridge="br0", dhcp=False)
    current = Current(
        instances=(instance(1, network="b", private_ip_address="10.80.0.2"),),
        networks=(first, replace(first, name="b")),
    )
    ((interface,),) = plan_interfaces(current, Template(network="a"), IDS[:1])
    assert interface.private_ip_address == "10.80.0.3"


CURRENT = Current(
    instances=(instance(1, private_ip_address="10.80.0.2", ipv6_address="fd00:80::2"),),
    networks=(
        replace(network(), ipv6=IPV6),
        network("four", "10.81.0.1/24"),
        Network("bare", "br0", None, active=True),
    ),
    leases=(Lease(MAC, BASE + 3, 1),),
    answered={BASE + 4: MAC, BASE6 + 4: MAC},
)


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        (
            {"private_ip_address": "10.80.0"},
            "private_ip_address: '10.80.0' is no IPv4 address",
            "InvalidParameterValue",
        ),
        ({"private_ip_address": "10.80.0.255"}, "is no machine's address", "InvalidParameterValue"),
        ({"private_ip_address": "10.80.0.1"}, "of the network 'pocket' itself", "InvalidParameterValue"),
        ({"private_ip_address": "10.80.0.2"}, "is reserved or leased", "InvalidIPAddress.InUse"),
        ({"private_ip_address": "10.80.0.3"}, "is reserved or leased", "InvalidIPAddress.InUse"),
        ({"private_ip_address": "10.80.0.4"}, f"the machine {MAC} answers", "InvalidIPAddress.InUse"),
        ({"ipv6_address": "10.80.0.9"}, "ipv6_address: '10.80.0.9' is no IPv6 address", "InvalidParameterValue"),
        ({"ipv6_address": "fd00:80::1%eth0"}, "'fd00:80::1%eth0' names a link", "InvalidParameterValue"),
        ({"ipv6_address": "fd00:80::"}, "is no machine's address", "InvalidParameterValue"),
        ({"ipv6_address": "fd00:81::9"}, "is no machine's address in fd00:80::/64", "InvalidParameterValue"),
        ({"ipv6_address": "fd00:80::1"}, "of the network 'pocket' itself", "InvalidParameterValue"),
        ({"ipv6_address": "fd00:80::2"}, "is reserved or leased", "InvalidIPAddress.InUse"),
        ({"ipv6_address": "fd00:80::4"}, f"the machine {MAC} answers", "InvalidIPAddress.InUse"),
        ({"network": "four", "ipv6_address": "fd00:80::9"}, "has no IPv6 subnet", "InvalidParameterValue"),
        ({"network": "bare"}, "'bare' has no IPv4 subnet of libvirt's", "InvalidSubnetID.NotFound"),
        ({"network": "none"}, "there is no network 'none'", "InvalidSubnetID.NotFound"),
        (
            {"network_interfaces": [{}, {"private_ip_address": "10.80.0.2"}]},
            "network_interfaces[1].private_ip_address: 10.80.0.2 is reserved",
            "InvalidIPAddress.InUse",
        ),
        (
            {"network_interfaces": [{"private_ip_address": "10.80.0.9"}, {"private_ip_address": "10.80.0.9"}]},
            "network_interfaces[1].private_ip_address: 10.80.0.9 is reserved",
            "InvalidIPAddress.InUse",
        ),
    ],
)
def test_an_address_that_cannot_be_given_is_refused_with_a_sentence(
    stated: dict[str, Any], said: str, code: str
) -> None:
    with pytest.raises(PocketError) as caught:
        plan_interfaces(CURRENT, Template(**stated), IDS[:1])
    assert said in caught.value.message
    assert caught.value.code == code


def test_a_stated_address_is_for_one_instance() -> None:
    stated: dict[str, Any] = {"private_ip_address": "10.80.0.9", "ipv6_address": "fd00:80::9"}
    for name, value in stated.items():
        template = replace(Template(), **{name: value})
        ((interface,),) = plan_interfaces(CURRENT, template, IDS[:1])
        assert getattr(interface, name) == value
        with pytest.raises(PocketError, match=f"{name}: {value} cannot be given to 2 instances"):
            plan_interfaces(CURRENT, template, IDS[:2])
