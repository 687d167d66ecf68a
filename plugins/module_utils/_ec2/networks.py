# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network of instances is: its subnets, its reservations and leases. Pure. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Union

from .._errors import PocketError
from .interfaces import DHCP
from .model import Instance, network_uuid

__all__ = ["BRIDGE", "MODES", "Address", "AddressRange", "Host", "Lease", "Network"]

# The mode of a network that is a bridge of the host's, to which libvirt adds machines and nothing else.
BRIDGE = "bridge"
MODES = ("nat", "route", "open", BRIDGE)

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_ID_LENGTH = 19
_RANGE = re.compile(r"\s*([0-9.]+)\s*-\s*([0-9.]+)\s*")


@dataclass(frozen=True)
class AddressRange:
    """Addresses from `start` to `end`, both included."""

    start: ipaddress.IPv4Address
    end: ipaddress.IPv4Address

    @classmethod
    def of(cls, text: str, parameter: str) -> AddressRange:
        """Read C(START-END)."""
        match = _RANGE.fullmatch(text)
        try:
            if not match:
                raise ValueError(text)
            made = cls(ipaddress.IPv4Address(match[1]), ipaddress.IPv4Address(match[2]))
        except ValueError as error:
            raise PocketError(
                f"{parameter}: {text!r} is no range of IPv4 addresses; one is START-END, as 10.80.0.100-10.80.0.199",
                code="InvalidParameterValue",
            ) from error
        if made.end < made.start:
            raise PocketError(
                f"{parameter}: {text!r} ends before it begins; give the lower address first",
                code="InvalidParameterValue",
            )
        return made

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"

    def __contains__(self, address: Address) -> bool:
        return isinstance(address, ipaddress.IPv4Address) and self.start <= address <= self.end


@dataclass(frozen=True)
class Host:
    """One reservation: the machine with this MAC gets this address, and is known by this name."""

    mac_address: str
    address: Address
    name: str

    @property
    def instance_id(self) -> str:
        """The instance it is for: further interfaces of one have their number in the name."""
        return self.name[:_ID_LENGTH] if self.name.startswith("i-") else self.name

    @classmethod
    def of(cls, instance: Instance) -> list[tuple[str, Host]]:
        """Return the reservations that belong to `instance`, each with the network it is made in.

        An IPv6 address is reserved in any case: though the seed tells it to the guest, nobody else may be given it.
        """
        found = []
        for index, one in enumerate(instance.interfaces):
            # In one network no two reservations of a family have the same name.
            name = f"{instance.instance_id}-{index}" if index else instance.instance_id
            if one.private_ip_address and one.given_by == DHCP:
                found.append((one.network, cls(one.mac_address, ipaddress.IPv4Address(one.private_ip_address), name)))
            if one.ipv6_address:
                found.append((one.network, cls(one.mac_address, ipaddress.IPv6Address(one.ipv6_address), name)))
        return found


@dataclass(frozen=True)
class Lease:
    """An address that dnsmasq gave out. `expires` is in seconds since the epoch, 0 for never."""

    mac_address: str
    address: Address
    expires: int


@dataclass(frozen=True)
class Network:
    """One libvirt network.

    :param interface: the bridge's own IPv4 address with its prefix length; in BRIDGE mode, where the bridge is not
        libvirt's, the subnet; none where there is none.
    :param mode: one of MODES, C(isolated), or libvirt's word for a kind that we do not make.
    :param dhcp: whether its DHCP server gives instances their IPv4 addresses; else the seed does.
    :param dhcp_range: addresses given to any machine that asks, none to answer reserved machines only.
    :param address_range: addresses that instances get, none for any of the subnet.
    :param gateway: the instances' gateway where it is not the bridge.
    :param dns: the instances' name servers where they are not the bridge.
    :param ipv6: as `interface`, of IPv6.
    :param serves_dhcp6: whether addresses can be reserved in its DHCPv6 server.
    :param uplink: the host's interface that is to be attached to the bridge.
    :param outdated: whether it was started with another definition than the one it has now.
    :param live_bridge: the bridge it was started with.
    :param live_range: the range that its running DHCP server gives addresses from, which can be changed at once.
    :param untold: the MAC addresses of those IPv4 reservations that its running DHCP server was not told of.
    :param xml: its definition, where it has one.
    """

    name: str
    bridge: str
    interface: ipaddress.IPv4Interface | None
    mode: str = "nat"
    dhcp: bool = True
    dhcp_range: AddressRange | None = None
    address_range: AddressRange | None = None
    gateway: ipaddress.IPv4Address | None = None
    dns: tuple[Address, ...] = ()
    ipv6: ipaddress.IPv6Interface | None = None
    serves_dhcp6: bool = False
    uplink: str | None = None
    hosts: tuple[Host, ...] = ()
    uuid: str = ""
    active: bool = False
    autostart: bool = False
    outdated: bool = False
    live_bridge: str = ""
    live_range: AddressRange | None = None
    untold: frozenset[str] = frozenset()
    xml: str = field(default="", repr=False, compare=False)

    @property
    def ours(self) -> bool:
        """Whether this collection defined it."""
        return self.uuid == network_uuid(self.name)

    @property
    def bare(self) -> bool:
        """Whether its bridge is the host's own, where libvirt serves nothing."""
        return self.mode == BRIDGE

    @property
    def router(self) -> ipaddress.IPv4Address | None:
        """The gateway that instances are told of."""
        if self.gateway is None and self.interface is not None and not self.bare:
            return self.interface.ip
        return self.gateway

    @property
    def name_servers(self) -> tuple[Address, ...]:
        """The name servers that instances are told of."""
        return self.dns or ((self.interface.ip,) if self.interface is not None and not self.bare else ())

    @property
    def started_with(self) -> tuple[Any, ...]:
        """What of it can only be changed by a restart."""
        if self.bare:
            return self.mode, self.bridge
        return self.mode, self.bridge, self.interface, self.ipv6, self.gateway, self.dns

    def restarts_for(self, wanted: Network) -> bool:
        """Whether it is running otherwise than `wanted` says, in what only a restart changes."""
        return self.active and (self.outdated or self.started_with != wanted.started_with)

    def printable(self) -> dict[str, Any]:
        """Return what a diff and a module show of it."""
        return {
            "bridge": self.bridge,
            "bridge_address": str(self.interface.ip) if self.interface and not self.bare else None,
            "cidr": str(self.interface.network) if self.interface else None,
            "gateway": str(self.router) if self.router else None,
            "dns": [str(server) for server in self.name_servers],
            "ipv6_cidr": str(self.ipv6.network) if self.ipv6 else None,
            "ipv6_gateway": str(self.ipv6.ip) if self.ipv6 and not self.bare else None,
            "mode": self.mode,
            "dhcp": self.dhcp,
            "dhcp_range": str(self.dhcp_range) if self.dhcp_range else None,
            "address_range": str(self.address_range) if self.address_range else None,
            "uplink": self.uplink,
            "autostart": self.autostart,
            "active": self.active,
        }
