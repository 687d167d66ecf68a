# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of instances, as libvirt's network XML and back. Pure. PRIVATE to the collection.

A network that this collection defined is known by its UUID, which is derived from its name. What libvirt has no word
for (the uplink, the range that instances take addresses from) is in the network's metadata, and of a bridge that is
the host's own, whose subnet libvirt does not know, all of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .._errors import PocketError
from .model import network_uuid
from .networks import AddressRange, Host, Network
from .reservations import WATCH, dnsmasq_options
from .xml_text import Element, add, child, element, parse, register, text_of

__all__ = [
    "METADATA_URI",
    "dhcp_ranges",
    "host_xml",
    "network_of",
    "network_xml",
    "parent_index",
    "range_xml",
    "uses_network",
]

METADATA_URI = "https://pocket.cloud/xmlns/network/1"
register("pocket-network", METADATA_URI)
_DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"
register("dnsmasq", _DNSMASQ)

# A DUID of the kind "link layer address", Ethernet. It is the only identity of a DHCPv6 client that can be told from
# its MAC address, which libvirt does not take for IPv6.
_DUID_LL = "00:03:00:01:"
# Nobody's: libvirt turns DHCPv6 on when the network starts with a reservation, and not at the first one made later.
# Without it guests would make up addresses of their own.
_KEEPER = f"{_DUID_LL}00:00:00:00:00:00"
_OPTIONS = ("dhcp-option=option:router,", "dhcp-option=option:dns-server,", "dhcp-option=option6:dns-server,")


# To XML


def host_xml(host: Host) -> str:
    """Return the reservation as virNetworkUpdate takes it."""
    if host.address.version == 6:
        return text_of(element("host", {"id": _DUID_LL + host.mac_address, "name": host.name, "ip": host.address}))
    return text_of(element("host", {"mac": host.mac_address, "name": host.name, "ip": host.address}))


def range_xml(addresses: AddressRange) -> str:
    """Return the range as virNetworkUpdate takes it."""
    return text_of(element("range", {"start": addresses.start, "end": addresses.end}))


def network_xml(network: Network) -> str:
    """Return the whole definition; on the ground of `network.xml` if there is one, so that the rest of it stays."""
    root = parse(network.xml) if network.xml else None
    if root is None or (_mode(root) == "bridge") != network.bare:
        root = _blank(network)
    _set_metadata(root, network)
    _set_forward(root, network)
    child(root, "bridge").set("name", network.bridge)
    if not network.bare:
        _set_ipv4(root, network)
        _set_ipv6(root, network)
        _set_options(root, network)
    return text_of(root)


def _blank(network: Network) -> Element:
    root = element("network")
    add(root, "name", text=network.name)
    add(root, "uuid", text=network.uuid or network_uuid(network.name))
    add(root, "metadata")
    add(root, "forward")
    add(root, "bridge", {} if network.bare else {"stp": "off", "delay": 0})
    return root


def _set_metadata(root: Element, network: Network) -> None:
    about: dict[str, Any] = {
        "uplink": network.uplink,
        "address-range": network.address_range,
        "gateway": network.gateway,
        "dns": " ".join(map(str, network.dns)) or None,
        "dhcp": None if network.dhcp or network.bare else "no",
        "cidr": network.interface if network.bare else None,
        "ipv6-cidr": network.ipv6 if network.bare else None,
    }
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
    if network.mode == "nat" and network.ipv6 is not None:
        child(forward, "nat").set("ipv6", "yes")
    elif forward.find("nat") is not None:
        child(forward, "nat").attrib.pop("ipv6", None)


def _set_ipv4(root: Element, network: Network) -> None:
    if network.interface is None:
        return
    address = _address(root, 4)
    if address is None:
        address = element("ip")
        root.insert(list(root).index(child(root, "bridge")) + 1, address)
    _set_address(address, network.interface)
    dhcp = child(address, "dhcp")
    for old in dhcp.findall("range"):
        dhcp.remove(old)
    if network.dhcp_range:
        dhcp.insert(0, element("range", {"start": network.dhcp_range.start, "end": network.dhcp_range.end}))


def _set_ipv6(root: Element, network: Network) -> None:
    address = _address(root, 6)
    if network.ipv6 is None:
        if address is not None:
            root.remove(address)
        return
    if address is None:
        address = add(root, "ip", {"family": "ipv6"})
    _set_address(address, network.ipv6)
    dhcp = address.find("dhcp")
    if (network.ours or not network.uuid) and (dhcp is None or not list(dhcp)):
        keeper = {"id": _KEEPER, "name": network.bridge, "ip": network.ipv6.ip}
        child(address, "dhcp").append(element("host", keeper))
    for host in address.iterfind("dhcp/host"):
        if host.get("id") == _KEEPER:
            host.set("ip", str(network.ipv6.ip))


def _set_address(address: Element, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> None:
    address.attrib.pop("netmask", None)
    address.set("address", str(interface.ip))
    address.set("prefix", str(interface.network.prefixlen))


def _set_options(root: Element, network: Network) -> None:
    """Let the DHCP server tell of a gateway and of name servers that are not the bridge, and watch for reservations."""
    options = root.find(f"{{{_DNSMASQ}}}options")
    if options is None:
        options = add(root, f"{{{_DNSMASQ}}}options")
    for old in options.findall(f"{{{_DNSMASQ}}}option"):
        if (old.get("value") or "").startswith((*_OPTIONS, *WATCH)):
            options.remove(old)
    for value in _dhcp_options(network):
        add(options, f"{{{_DNSMASQ}}}option", {"value": value})
    if not list(options):
        root.remove(options)


def _dhcp_options(network: Network) -> Iterator[str]:
    servers = [str(server) for server in network.dns if server.version == 4]
    servers6 = [f"[{server}]" for server in network.dns if server.version == 6]
    if network.gateway is not None:
        yield f"{_OPTIONS[0]}{network.gateway}"
    if servers:
        yield f"{_OPTIONS[1]}{','.join(servers)}"
    if servers6 and network.ipv6 is not None:
        yield f"{_OPTIONS[2]}{','.join(servers6)}"
    if network.dhcp and (network.ours or not network.uuid):
        yield from dnsmasq_options(network)


# From XML


def _mode(root: Element) -> str:
    forward = root.find("forward")
    return forward.get("mode", "nat") if forward is not None else "isolated"


def _address(root: Element, version: int) -> Element | None:
    """Return the first element that gives the bridge an address of that version, if there is one."""
    for address in root.iterfind("ip"):
        if address.get("family", "ipv4") == f"ipv{version}" and address.get("address"):
            return address
    return None


def parent_index(xml: str, version: int) -> int:
    """Return which of the network's subnets that of IPv4 or IPv6 is, as virNetworkUpdate counts them; -1 for none."""
    root = parse(xml)
    address = _address(root, version)
    return -1 if address is None else root.findall("ip").index(address)


def dhcp_ranges(xml: str) -> list[AddressRange]:
    """Return the ranges that the DHCP server of a network with this definition gives IPv4 addresses from."""
    address = _address(parse(xml), 4)
    found = address.iterfind("dhcp/range") if address is not None else []
    return [AddressRange.of(f"{one.get('start')}-{one.get('end')}", "dhcp_range") for one in found]


def network_of(xml: str, *, active: bool, autostart: bool, live_xml: str | None = None) -> Network:
    """Return the network that libvirt's XML describes.

    :param xml: its definition.
    :param live_xml: what an active one was started with, which may be an older definition.
    """
    network = replace(_read(xml), active=active, autostart=autostart, xml=xml)
    if live_xml is None:
        return network
    live = _read(live_xml)
    outdated = live.started_with != network.started_with
    return replace(network, outdated=outdated, live_bridge=live.bridge, live_range=live.dhcp_range)


def _read(xml: str) -> Network:
    root = parse(xml)
    try:
        return _definition(root)
    except (PocketError, ValueError) as error:
        raise PocketError(
            f"The definition of the network {root.findtext('name')!r} cannot be understood ({error}); it was edited by "
            "hand or written by a newer release of pocket.cloud, so look into it with: virsh net-edit"
        ) from error


def _definition(root: Element) -> Network:
    bridge, about = root.find("bridge"), root.find(f"metadata/{{{METADATA_URI}}}network")
    told = about.attrib if about is not None else {}
    addresses, gateway = told.get("address-range"), told.get("gateway")
    network = Network(
        name=root.findtext("name") or "",
        uuid=root.findtext("uuid") or "",
        bridge=bridge.get("name", "") if bridge is not None else "",
        interface=None,
        mode=_mode(root),
        uplink=told.get("uplink"),
        address_range=AddressRange.of(addresses, "address_range") if addresses else None,
        gateway=ipaddress.IPv4Address(gateway) if gateway else None,
        dns=tuple(ipaddress.ip_address(server) for server in told.get("dns", "").split()),
    )
    if network.bare:
        cidr, ipv6 = told.get("cidr"), told.get("ipv6-cidr")
        return replace(
            network,
            dhcp=False,
            interface=ipaddress.IPv4Interface(cidr) if cidr else None,
            ipv6=ipaddress.IPv6Interface(ipv6) if ipv6 else None,
        )
    return _with_ipv6(_with_ipv4(replace(network, dhcp=told.get("dhcp") != "no"), root), root)


def _with_ipv4(network: Network, root: Element) -> Network:
    address = _address(root, 4)
    if address is None:
        return network
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


def _with_ipv6(network: Network, root: Element) -> Network:
    address = _address(root, 6)
    if address is None:
        return network
    hosts = [host for host in address.iterfind("dhcp/host") if host.get("ip") and host.get("id") != _KEEPER]
    reserved = [
        Host(_mac_of(host.get("id", "")), ipaddress.IPv6Address(host.get("ip")), host.get("name", "")) for host in hosts
    ]
    return replace(
        network,
        ipv6=ipaddress.IPv6Interface(f"{address.get('address')}/{address.get('prefix') or '64'}"),
        serves_dhcp6=address.find("dhcp/*") is not None,
        hosts=(*network.hosts, *reserved),
    )


def _mac_of(duid: str) -> str:
    return duid[len(_DUID_LL) :].lower() if duid.startswith(_DUID_LL) else ""


def uses_network(domain_xml: str, name: str) -> bool:
    """Whether the domain has an interface in the network `name`."""
    return any(source.get("network") == name for source in parse(domain_xml).iterfind("devices/interface/source"))
