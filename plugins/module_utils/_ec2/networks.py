# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of instances, as libvirt's network XML and back. Pure. PRIVATE to the collection.

A network that this collection defined is known by its UUID, which is derived from its name. What libvirt has no word
for (the uplink, the range that instances take addresses from) is in the network's metadata.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import PocketError
from .interfaces import DHCP
from .model import Instance, network_uuid
from .xml_text import Element, add, child, element, parse, register, text_of

__all__ = [
    "METADATA_URI",
    "MODES",
    "AddressRange",
    "Host",
    "Lease",
    "Network",
    "host_xml",
    "network_of",
    "network_xml",
    "range_xml",
    "uses_network",
]

METADATA_URI = "https://pocket.cloud/xmlns/network/1"
register("pocket-network", METADATA_URI)
MODES = ("nat", "route", "open")

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
                f"{parameter}: {text!r} is no range of IPv4 addresses; one is START-END, as 10.80.0.100-10.80.0.199"
            ) from error
        if made.end < made.start:
            raise PocketError(f"{parameter}: {text!r} ends before it begins; give the lower address first")
        return made

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"

    def __contains__(self, address: ipaddress.IPv4Address) -> bool:
        return self.start <= address <= self.end


@dataclass(frozen=True)
class Host:
    """One reservation: the machine with this MAC gets this address, and is known by this name."""

    mac_address: str
    address: ipaddress.IPv4Address
    name: str

    @classmethod
    def of(cls, instance: Instance) -> list[tuple[str, Host]]:
        """Return the reservations that belong to `instance`, each with the network it is made in."""
        found = []
        for index, interface in enumerate(instance.interfaces):
            # In one network no two reservations have the same name.
            name = f"{instance.instance_id}-{index}" if index else instance.instance_id
            if interface.private_ip_address and interface.given_by == DHCP:
                address = ipaddress.IPv4Address(interface.private_ip_address)
                found.append((interface.network, cls(interface.mac_address, address, name)))
        return found


@dataclass(frozen=True)
class Lease:
    """An address that dnsmasq gave out. `expires` is in seconds since the epoch, 0 for never."""

    mac_address: str
    address: ipaddress.IPv4Address
    expires: int


@dataclass(frozen=True)
class Network:
    """One libvirt network.

    :param interface: the bridge's own IPv4 address with its prefix length; none where libvirt gives it none.
    :param mode: one of MODES, C(isolated), or libvirt's word for a kind that we do not make.
    :param dhcp_range: addresses given to any machine that asks, none to answer reserved machines only.
    :param address_range: addresses that instances get, none for any of the subnet.
    :param uplink: the host's interface that is to be attached to the bridge.
    :param outdated: whether it was started with another definition than the one it has now.
    :param live_bridge: the bridge it was started with.
    :param xml: its definition, where it has one.
    """

    name: str
    bridge: str
    interface: ipaddress.IPv4Interface | None
    mode: str = "nat"
    dhcp_range: AddressRange | None = None
    address_range: AddressRange | None = None
    uplink: str | None = None
    hosts: tuple[Host, ...] = ()
    uuid: str = ""
    active: bool = False
    autostart: bool = False
    outdated: bool = False
    live_bridge: str = ""
    xml: str = field(default="", repr=False, compare=False)

    @property
    def ours(self) -> bool:
        """Whether this collection defined it."""
        return self.uuid == network_uuid(self.name)

    def printable(self) -> dict[str, Any]:
        """Return what a diff and a module show of it."""
        return {
            "bridge": self.bridge,
            "cidr": str(self.interface.network) if self.interface else None,
            "gateway": str(self.interface.ip) if self.interface else None,
            "mode": self.mode,
            "dhcp_range": str(self.dhcp_range) if self.dhcp_range else None,
            "address_range": str(self.address_range) if self.address_range else None,
            "uplink": self.uplink,
            "autostart": self.autostart,
            "active": self.active,
        }


def host_xml(host: Host) -> str:
    """Return the reservation as virNetworkUpdate takes it."""
    return text_of(element("host", {"mac": host.mac_address, "name": host.name, "ip": host.address}))


def network_xml(network: Network) -> str:
    """Return the whole definition; on the ground of `network.xml` if there is one, so that the rest of it stays."""
    if network.xml:
        root = parse(network.xml)
    else:
        root = element("network")
        add(root, "name", text=network.name)
        add(root, "uuid", text=network_uuid(network.name))
        add(root, "metadata")
        add(root, "forward")
        add(root, "bridge", {"stp": "off", "delay": 0})
        add(root, "ip")
    _set_metadata(root, network)
    _set_forward(root, network)
    child(root, "bridge").set("name", network.bridge)
    if network.interface is not None:
        _set_addresses(root, network, network.interface)
    return text_of(root)


def _set_metadata(root: Element, network: Network) -> None:
    about = {"uplink": network.uplink, "address-range": network.address_range}
    stated = {key: value for key, value in about.items() if value is not None}
    metadata = child(root, "metadata")
    for old in metadata.findall(f"{{{METADATA_URI}}}network"):
        metadata.remove(old)
    if stated:
        metadata.append(element(f"{{{METADATA_URI}}}network", stated))


def _set_forward(root: Element, network: Network) -> None:
    forward = child(root, "forward")
    if network.mode == "isolated":
        root.remove(forward)
        return
    if forward.get("mode") != network.mode:
        forward.set("mode", network.mode)
        for nat in forward.findall("nat") if network.mode != "nat" else []:
            forward.remove(nat)


def _set_addresses(root: Element, network: Network, interface: ipaddress.IPv4Interface) -> None:
    address = _ipv4(root)
    if address is None:
        address = child(root, "ip")
    address.attrib.pop("netmask", None)
    address.set("address", str(interface.ip))
    address.set("prefix", str(interface.network.prefixlen))
    dhcp = child(address, "dhcp")
    for old in dhcp.findall("range"):
        dhcp.remove(old)
    if network.dhcp_range:
        dhcp.insert(0, element("range", {"start": network.dhcp_range.start, "end": network.dhcp_range.end}))


def _ipv4(root: Element) -> Element | None:
    """Return the first element that gives the bridge an IPv4 address, if there is one."""
    for address in root.iterfind("ip"):
        if address.get("family", "ipv4") == "ipv4" and address.get("address"):
            return address
    return None


def network_of(xml: str, *, active: bool, autostart: bool, live_xml: str | None = None) -> Network:
    """Return the network that libvirt's XML describes.

    :param xml: its definition.
    :param live_xml: what an active one was started with, which may be an older definition.
    """
    network = replace(_definition(parse(xml)), active=active, autostart=autostart, xml=xml)
    if live_xml is None:
        return network
    live = _definition(parse(live_xml))
    outdated = (live.bridge, live.interface, live.mode) != (network.bridge, network.interface, network.mode)
    return replace(network, outdated=outdated, live_bridge=live.bridge)


def _definition(root: Element) -> Network:
    bridge, forward = root.find("bridge"), root.find("forward")
    about = root.find(f"metadata/{{{METADATA_URI}}}network")
    addresses = about.get("address-range") if about is not None else None
    network = Network(
        name=root.findtext("name") or "",
        uuid=root.findtext("uuid") or "",
        bridge=bridge.get("name", "") if bridge is not None else "",
        interface=None,
        mode=forward.get("mode", "nat") if forward is not None else "isolated",
        uplink=about.get("uplink") if about is not None else None,
        address_range=AddressRange.of(addresses, "address_range") if addresses else None,
    )
    address = _ipv4(root)
    return network if address is None else _with_addresses(network, address)


def _with_addresses(network: Network, address: Element) -> Network:
    length = address.get("prefix") or address.get("netmask") or "24"
    found = address.find("dhcp/range")
    return replace(
        network,
        interface=ipaddress.IPv4Interface(f"{address.get('address')}/{length}"),
        dhcp_range=None if found is None else AddressRange.of(f"{found.get('start')}-{found.get('end')}", "dhcp_range"),
        hosts=tuple(
            Host(host.get("mac", "").lower(), ipaddress.IPv4Address(host.get("ip")), host.get("name", ""))
            for host in address.iterfind("dhcp/host")
            if host.get("ip")
        ),
    )


def range_xml(addresses: AddressRange) -> str:
    """Return the range as virNetworkUpdate takes it."""
    return text_of(element("range", {"start": addresses.start, "end": addresses.end}))


def uses_network(domain_xml: str, name: str) -> bool:
    """Whether the domain has an interface in the network `name`."""
    return any(source.get("network") == name for source in parse(domain_xml).iterfind("devices/interface/source"))
