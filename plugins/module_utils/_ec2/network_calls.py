# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a libvirt daemon: what there are, and each write to one. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .._errors import PocketError
from . import link, reservations
from .connection import Connection
from .network_xml import dhcp_ranges, host_xml, network_of, network_xml, parent_index, range_xml, uses_network
from .networks import Address, AddressRange, Host, Lease, Network

__all__ = ["NetworkCalls"]

# Seconds that dnsmasq is given to forget a lease. If it takes longer, the address is free later.
_LEASE_PATIENCE = 1.0
_LEASE_INTERVAL = 0.03


class NetworkCalls(Connection):
    """Calls on networks."""

    def networks(self) -> list[Network]:
        """Return all networks of the daemon, by name."""
        connection = self._connection
        with self._attempt(f"list the networks of {self.uri}"):
            found = [self._network(network) for network in connection.listAllNetworks()]
        return sorted(found, key=lambda network: network.name)

    def _network(self, network: Any) -> Network:
        live_xml = network.XMLDesc() if network.isActive() else None
        found = network_of(
            network.XMLDesc(self._libvirt.VIR_NETWORK_XML_INACTIVE),
            active=live_xml is not None,
            autostart=bool(network.autostart()),
            live_xml=live_xml,
        )
        if live_xml is None or not self._local:
            return found
        return replace(found, untold=reservations.untold(live_xml, found.hosts))

    def active_networks(self) -> set[str]:
        """Return the names of the networks that are active."""
        connection = self._connection
        with self._attempt(f"list the active networks of {self.uri}"):
            return {network.name() for network in connection.listAllNetworks() if network.isActive()}

    def leases(self, name: str) -> list[Lease]:
        """Return the leases of the network `name` that have not expired; none where libvirt does not serve DHCP."""
        connection = self._connection
        try:
            found = connection.networkLookupByName(name).DHCPLeases()
        except self._libvirt.libvirtError as error:
            unsupported = (self._libvirt.VIR_ERR_NO_SUPPORT, self._libvirt.VIR_ERR_OPERATION_INVALID)
            if error.get_error_code() in unsupported:
                return []
            raise PocketError(f"Cannot read the leases of the network {name}: libvirt says: {error}") from error
        return [
            Lease((lease["mac"] or "").lower(), ipaddress.ip_address(lease["ipaddr"]), int(lease["expirytime"]))
            for lease in found
        ]

    def attached(self, name: str) -> dict[str, bool]:
        """Return which domains, of whomever, have an interface in the network `name`, and whether they run."""
        connection = self._connection
        with self._attempt(f"look for users of the network {name}"):
            found = {}
            for domain in connection.listAllDomains():
                try:
                    if uses_network(domain.XMLDesc(), name):
                        found[domain.name()] = bool(domain.isActive())
                except self._libvirt.libvirtError as error:
                    if not self._missing(error):
                        raise
            return dict(sorted(found.items()))

    # Links of the host. Of a daemon on another host there is nothing to learn so.

    def neighbours(self) -> dict[Address, str]:
        """Return the MAC address of each machine in the host's neighbour table."""
        return link.neighbours() if self._local else {}

    def host_addresses(self) -> dict[Address, str]:
        """Return the host's own addresses, each with the MAC address of its interface."""
        return link.host_addresses() if self._local else {}

    def who_has(self, name: str, addresses: Iterable[ipaddress.IPv4Address]) -> dict[Address, str]:
        """Ask in the network `name` for the addresses; return the MAC address of each that somebody has."""
        if not self._local:
            return {}
        with self._attempt(f"look at the network {name}"):
            found = self._network(self._connection.networkLookupByName(name))
        return link.who_has(found.live_bridge or found.bridge, addresses)

    # Networks: writing

    def reserve(self, name: str, host: Host) -> None:
        """Reserve the address for the MAC address; done already is well, and so is a network that serves no DHCP."""
        connection = self._connection
        with self._attempt(f"reserve {host.address} for {host.name} in the network {name}"):
            network = connection.networkLookupByName(name)
            found = self._network(network)
            served = found.serves_dhcp6 if host.address.version == 6 else not found.bare
            if served and (host not in found.hosts or host.mac_address in found.untold):
                self._update_hosts(network, found, self._libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, host)

    def release(self, name: str, host: Host) -> None:
        """Take the reservation of the MAC address back; done already is well, and so is a network that is gone."""
        connection = self._connection
        with self._attempt(f"release {host.address} of {host.name} in the network {name}"):
            try:
                network = connection.networkLookupByName(name)
            except self._libvirt.libvirtError as error:
                if error.get_error_code() == self._libvirt.VIR_ERR_NO_NETWORK:
                    return
                raise
            about = self._network(network)
            # First the leases: without a reservation libvirt's dnsmasq may not serve DHCP at all.
            if self._local and about.active and about.interface is not None and not about.bare:
                self._end_leases(network, about.live_bridge, about.interface.ip, host.mac_address)
            for found in about.hosts:
                if found.mac_address == host.mac_address:
                    self._update_hosts(network, about, self._libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, found)

    def _end_leases(self, network: Any, bridge: str, server: ipaddress.IPv4Address, mac: str) -> None:
        """End the IPv4 leases of a machine that is off, so that its addresses are free for others."""
        deadline = time.monotonic() + _LEASE_PATIENCE
        told: set[str] = set()
        while True:
            leases = [one for one in network.DHCPLeases(mac) if one["type"] == self._libvirt.VIR_IP_ADDR_TYPE_IPV4]
            if not leases or time.monotonic() > deadline:
                return
            for address in {one["ipaddr"] for one in leases} - told:
                link.tell_of_release(bridge, server, mac, ipaddress.IPv4Address(address))
                told.add(address)
            time.sleep(_LEASE_INTERVAL)

    def _update_hosts(self, network: Any, about: Network, command: int, host: Host) -> None:
        libvirt = self._libvirt
        adds = command == libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
        live = network.XMLDesc() if about.active else ""
        # A network that is off needs no file, and keeps none of a machine that is gone for its next start.
        directory = reservations.watched(live or about.xml) if host.address.version == 4 and self._local else None
        flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
        # What the network was started with, only libvirt can take back.
        if live and (directory is None or (not adds and host.mac_address in reservations.started_with(live))):
            flags |= libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
        # The definition has it as long as dnsmasq does, so that the remains of a run that is killed are found.
        if directory and not adds:
            reservations.forget(directory, network.name(), host)
        if not adds or host not in about.hosts:
            parent = parent_index(about.xml, host.address.version)
            network.update(command, libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST, parent, host_xml(host), flags)
        if directory and adds and live:
            reservations.tell(directory, host)

    def define_network(self, network: Network) -> None:
        """Make the network, or give it a new definition, which an active one takes at its next start."""
        connection = self._connection
        with self._attempt(f"define the network {network.name}"):
            xml = network_xml(network)
            # Of a network that is not there yet, nobody would find the directory that a killed run left.
            if network.xml:
                reservations.make(xml)
            connection.networkDefineXML(xml)
            reservations.make(xml)

    def set_dhcp_range(self, name: str, addresses: AddressRange | None) -> None:
        """Change the range that dnsmasq gives addresses from, of an active network at once; none takes it away."""
        libvirt = self._libvirt
        with self._attempt(f"change the DHCP range of the network {name}"):
            network = self._connection.networkLookupByName(name)
            definition = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
            self._update_range(network, definition, addresses, libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG)
            if network.isActive():
                self._update_range(network, network.XMLDesc(), addresses, libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE)

    def _update_range(self, network: Any, xml: str, addresses: AddressRange | None, flags: int) -> None:
        """Change the range in one of the two definitions, `xml`: after a run that was killed, they may differ."""
        libvirt = self._libvirt
        section, parent = libvirt.VIR_NETWORK_SECTION_IP_DHCP_RANGE, parent_index(xml, 4)
        present = dhcp_ranges(xml)
        for old in present:
            if old != addresses:
                network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, section, parent, range_xml(old), flags)
        if addresses and addresses not in present:
            network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, section, parent, range_xml(addresses), flags)

    def set_autostart(self, name: str, autostart: bool) -> None:
        """Whether the network is started with the daemon."""
        with self._attempt(f"set autostart of the network {name}"):
            self._connection.networkLookupByName(name).setAutostart(autostart)

    def start_network(self, name: str) -> None:
        """Start the network: its bridge, its firewall rules and its dnsmasq."""
        with self._attempt(f"start the network {name}"):
            network = self._connection.networkLookupByName(name)
            if not network.isActive():
                reservations.clear(network.XMLDesc(self._libvirt.VIR_NETWORK_XML_INACTIVE))
            self._towards(True, network, network.create)

    def stop_network(self, name: str) -> None:
        """Stop the network; its definition stays."""
        with self._attempt(f"stop the network {name}"):
            network = self._connection.networkLookupByName(name)
            self._towards(False, network, network.destroy)

    def undefine_network(self, name: str) -> None:
        """Take the definition of a stopped network away."""
        with self._attempt(f"undefine the network {name}"):
            network = self._connection.networkLookupByName(name)
            reservations.discard(name)  # first: by its definition, the next run finds what a killed one left
            network.undefine()
