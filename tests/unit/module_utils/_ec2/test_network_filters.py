# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, Interface
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_filters import (
    Enforcement,
    differences,
    interface_filter,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.xml_text import Element, parse
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import instance_id

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:99"
ADDRESS, ADDRESS6 = "10.80.0.9", "fd00:80::9"
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


def passes(definition: str, **frame: Any) -> bool:
    """Whether a frame leaves the guest: the first rule by priority that is about it says, and without one it does."""
    rules = sorted(parse(definition).iterfind("rule"), key=lambda rule: int(rule.get("priority", "")))
    about = (rule for rule in rules if rule.get("direction") == "out" and matches(rule[0], frame))
    verdict = next((rule.get("action") for rule in about), "accept")
    return verdict == "accept"


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
        # Somebody else's.
        ({"kind": "arp", "arpsrcmacaddr": OTHER, "arpsrcipaddr": ADDRESS}, False),
        ({"kind": "arp", "arpsrcmacaddr": MAC, "arpsrcipaddr": "10.80.0.1"}, False),
        ({"kind": "ip", "srcipaddr": "10.80.0.1"}, False),
        ({"kind": "ip", "srcipaddr": "0.0.0.0"}, False),
        ({"kind": "ipv6", "srcipaddr": "fd00:80::1"}, False),
        # No protocol of a host.
        ({"kind": "stp"}, False),
    ],
)
def test_a_guest_is_heard_only_from_its_own_addresses(frame: dict[str, Any], heard: bool) -> None:
    card = Interface("pocket", MAC, ADDRESS, ADDRESS6)
    instance = Instance(instance_id(0), "ami-0", 1, 64, (card,), "2026-01-01T00:00:00Z", "r-0")
    needed = differences({}, [instance], {}, Enforcement()).define
    definition = needed[interface_filter(instance.instance_id, 0)]
    assert passes(definition, srcmacaddr=MAC, **frame) is heard
    assert not passes(definition, srcmacaddr=OTHER, **frame)
