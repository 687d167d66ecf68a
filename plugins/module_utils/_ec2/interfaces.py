# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's network interfaces: its own for life, as are their addresses. Pure. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .xml_text import Element, add

__all__ = ["DHCP", "SEED", "Interface", "add_interfaces", "interfaces_of", "mac_address", "recorded_interfaces"]

# How the guest learns its address.
DHCP = "dhcp"
SEED = "seed"

_KEPT = ("network", "mac_address", "private_ip_address", "ipv6_address", "given_by")


@dataclass(frozen=True)
class Interface:
    """One network interface.

    :param network: the libvirt network that it is in.
    :param given_by: DHCP or SEED: how the guest learns its IPv4 address.
    :param confirmed_by: what has seen the guest use the IPv4 address: C(lease), C(agent) or C(arp).
    :param ipv6_confirmed_by: what has seen it use the IPv6 address: C(lease), C(agent) or C(ndp).
    :param filtered: whether its domain has a network filter on it.
    """

    network: str
    mac_address: str
    private_ip_address: str | None = None
    ipv6_address: str | None = None
    given_by: str = DHCP
    confirmed_by: str | None = None
    ipv6_confirmed_by: str | None = None
    filtered: bool = field(default=True, compare=False)

    @property
    def address_source(self) -> str | None:
        """What vouches for the IPv4 address: what has seen it, or else the plan by which it is given."""
        if self.private_ip_address is None:
            return None
        return self.confirmed_by or ("reservation" if self.given_by == DHCP else "seed")

    @property
    def ipv6_address_source(self) -> str | None:
        """What vouches for the IPv6 address; the seed tells it to the guest in any case."""
        return None if self.ipv6_address is None else self.ipv6_confirmed_by or "seed"

    def ec2(self, index: int) -> dict[str, Any]:
        """Return EC2's description of it, members in snake case."""
        return {
            "device_index": index,
            "network": self.network,
            "mac_address": self.mac_address,
            "private_ip_address": self.private_ip_address,
            "ipv6_address": self.ipv6_address,
            "given_by": self.given_by,
            "address_source": self.address_source,
            "ipv6_address_source": self.ipv6_address_source,
        }


def mac_address(instance_id: str, index: int = 0) -> str:
    """Derive the MAC address of an interface: QEMU's prefix and three octets of a digest of the instance's id."""
    digest = hashlib.sha256(f"{instance_id}/{index}".encode() if index else instance_id.encode()).hexdigest()
    return ":".join(["52:54:00", digest[0:2], digest[2:4], digest[4:6]])


def add_interfaces(metadata: Element, namespace: str, interfaces: tuple[Interface, ...]) -> None:
    """Add what is kept of the interfaces to an instance's metadata."""
    for interface in interfaces:
        kept = {name: getattr(interface, name) for name in _KEPT}
        attributes = {name.replace("_", "-"): value for name, value in kept.items() if value is not None}
        add(metadata, f"{namespace}interface", attributes)


def interfaces_of(metadata: Element, domain: Element) -> tuple[Interface, ...]:
    """Return the interfaces that the metadata of `domain` tells; raises KeyError where it tells of none."""
    found = list(metadata.iterfind("{*}interface"))
    # Instances had one interface at first, and its attributes were the instance's own.
    told = [_interface(item.attrib) for item in found or [metadata]]
    cards = [card for card in domain.iterfind("devices/interface") if card.find("filterref") is None]
    bare = {mac.get("address", "").lower() for card in cards for mac in card.iterfind("mac")}
    return tuple(replace(one, filtered=False) if one.mac_address in bare else one for one in told)


def _interface(attributes: Mapping[str, str]) -> Interface:
    told: dict[str, Any] = {
        name: attributes[name.replace("_", "-")] for name in _KEPT if name.replace("_", "-") in attributes
    }
    if "network" not in told or "mac_address" not in told:
        raise KeyError("network or mac-address")
    return Interface(**told)


def recorded_interfaces(record: Mapping[str, Any]) -> tuple[Interface, ...]:
    """Return the interfaces in the record of a terminated instance, which in old ones are members of the instance."""
    names = {field.name for field in fields(Interface)}
    return tuple(
        Interface(**{name: value for name, value in item.items() if name in names})
        for item in record.get("interfaces", [record])
    )
