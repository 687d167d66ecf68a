# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, Interface
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_filters import (
    Enforcement,
    differences,
    interface_filter,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.security_groups import SecurityGroup
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.xml_text import Element, parse
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import instance_id

GROUP = "sg-0123456789abcdef0"
MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:99"
ADDRESS, ADDRESS6 = "10.80.0.9", "fd00:80::9"
ROUTERS = {"protocol": "icmpv6", "type": "134"}
DHCP = {"protocol": "udp", "srcportstart": "68", "srcportend": "68", "dstportstart": "67", "dstportend": "67"}


def matches(condition: Element, frame: dict[str, Any]) -> bool:
    """Whether a frame is one of those that a rule of libvirt is about; the protocol mac is any."""
    if condition.tag not in ("mac", frame["kind"]):
        return False
    stated = dict(condition.attrib)
    prefix = stated.pop("srcipmask", None)
    found = {name: frame.get(name) == value for name, value in stated.items()}
    if prefix is not None:
        source = ipaddress.ip_address(frame["srcipaddr"])
        found["srcipaddr"] = source in ipaddress.ip_network(f"{stated['srcipaddr']}/{prefix}")
    return all(found.values())


def by_priority(definition: str, direction: str) -> list[Element]:
    rules = [rule for rule in parse(definition).iterfind("rule") if rule.get("direction") in (direction, "inout")]
    return sorted(rules, key=lambda rule: int(rule.get("priority", "")))


def passes(definition: str, **frame: Any) -> bool:
    """Whether a frame leaves the guest: the first rule by priority that is about it says, and without one it does."""
    about = (rule for rule in by_priority(definition, "out") if matches(rule[0], frame))
    verdict = next((rule.get("action") for rule in about), "accept")
    return verdict == "accept"


def passes_untracked(definition: str, direction: str, kind: int) -> bool:
    """Whether a message of ICMPv6 about the link passes, of which connection tracking knows nothing: as `passes`."""
    for rule in by_priority(definition, direction):
        seen = rule.get("action") == "drop" or rule.get("statematch") == "false"
        if seen and (rule[0].tag == "all-ipv6" or (rule[0].tag == "icmpv6" and rule[0].get("type") == str(kind))):
            return rule.get("action") == "accept"
    return True


@pytest.mark.parametrize(
    ("frame", "heard"),
    [
        # Its own, and those of somebody who has no address yet.
        ({"kind": "arp", "arpsrcmacaddr": MAC, "arpsrcipaddr": ADDRESS}, True),
        ({"kind": "arp", "arpsrcmacaddr": MAC, "arpsrcipaddr": "0.0.0.0"}, True),
        ({"kind": "ip", "srcipaddr": ADDRESS}, True),
        ({"kind": "ip", "srcipaddr": "0.0.0.0", **DHCP}, True),
        ({"kind": "ipv6", "srcipaddr": ADDRESS6}, True),
        ({"kind": "ipv6", "srcipaddr": "fe80::5054:ff:fe00:1"}, True),
        ({"kind": "ipv6", "srcipaddr": "::"}, True),
        ({"kind": "ipv6", "srcipaddr": "::", "protocol": "icmpv6", "type": "133"}, True),
        ({"kind": "ipv6", "srcipaddr": "fe80::1", "protocol": "icmpv6", "type": "135"}, True),
        ({"kind": "ipv6", "srcipaddr": ADDRESS6, "protocol": "icmpv6", "type": "136"}, True),
        # Somebody else's.
        ({"kind": "arp", "arpsrcmacaddr": OTHER, "arpsrcipaddr": ADDRESS}, False),
        ({"kind": "arp", "arpsrcmacaddr": MAC, "arpsrcipaddr": "10.80.0.1"}, False),
        ({"kind": "ip", "srcipaddr": "10.80.0.1"}, False),
        ({"kind": "ip", "srcipaddr": "0.0.0.0"}, False),
        ({"kind": "ipv6", "srcipaddr": "fd00:80::1"}, False),
        # What a router alone may say, from its own address, too.
        ({"kind": "ipv6", "srcipaddr": "fe80::5054:ff:fe00:1", **ROUTERS}, False),
        ({"kind": "ipv6", "srcipaddr": ADDRESS6, **ROUTERS}, False),
        # No protocol of a host.
        ({"kind": "stp"}, False),
    ],
)
def test_a_guest_is_heard_only_from_its_own_addresses(frame: dict[str, Any], heard: bool) -> None:
    definition = filter_of()
    assert passes(definition, srcmacaddr=MAC, **frame) is heard
    assert not passes(definition, srcmacaddr=OTHER, **frame)


def filter_of(enforcement: Enforcement | None = None, **stated: Any) -> str:
    card = Interface("pocket", MAC, ADDRESS, ADDRESS6)
    plain = Instance(instance_id(0), "ami-0", 1, 64, (card,), "2026-01-01T00:00:00Z", "r-0")
    instance = replace(plain, **stated)
    groups = {one: SecurityGroup(one, "web", "web") for one in instance.security_groups}
    needed = differences({}, [instance], groups, enforcement or Enforcement()).define
    return needed[interface_filter(instance.instance_id, 0)]


@pytest.mark.parametrize("checked", [True, False])
def test_with_groups_a_guest_is_a_host_on_its_link_and_no_router(checked: bool) -> None:
    definition = filter_of(source_dest_check=checked, security_groups=(GROUP,))
    sent = [kind for kind in range(256) if passes_untracked(definition, "out", kind)]
    heard = [kind for kind in range(256) if passes_untracked(definition, "in", kind)]
    assert (sent, heard) == ([133, 135, 136, 143], [134, 135, 136])


def test_a_router_without_groups_announces_itself() -> None:
    definition = filter_of(source_dest_check=False, interfaces=(Interface("pocket", MAC, ADDRESS),))
    assert passes(definition, kind="ipv6", srcmacaddr=MAC, srcipaddr="fe80::1", **ROUTERS)
    assert passes_untracked(definition, "out", 134)


@pytest.mark.parametrize("address", [ADDRESS, None])
def test_without_ebtables_no_router_is_announced_either(address: str | None) -> None:
    definition = filter_of(Enforcement(spoofing="no ebtables"), interfaces=(Interface("pocket", MAC, address),))
    assert [kind for kind in range(256) if not passes_untracked(definition, "out", kind)] == [134]


def test_each_rule_takes_libvirt_a_process_at_every_start() -> None:
    assert filter_of().count("<rule ") == 9
    assert filter_of(source_dest_check=False, security_groups=(GROUP,)).count("<rule ") == 15
