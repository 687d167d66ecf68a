# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One libvirt daemon: what it has, and each write to it. PRIVATE to the collection.

The only import of libvirt. Its errors leave here as PocketError. A connection may be used by several threads at once,
but libvirtd serves five requests of one connection at a time and drops one that is silent for long: use at most
THREADS of them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .._deps import require
from .._errors import PocketError
from .domain_xml import METADATA_KEY, METADATA_URI, Files, domain_xml, instance_of, metadata_xml
from .model import LAUNCHING, TERMINATING, Instance
from .networks import (
    AddressRange,
    Host,
    Lease,
    Network,
    host_xml,
    network_of,
    network_xml,
    range_xml,
    uses_network,
)

__all__ = ["DEFAULT_URI", "THREADS", "Hypervisor", "with_phase"]

DEFAULT_URI = "qemu:///system"
THREADS = 4

# virDomainState: what of it is a running machine to EC2, which knows neither paused nor crashed.
_RUNNING = (1, 2, 3, 7)
_SHUTTING_DOWN = 4


class Hypervisor:
    """A connection to the libvirt daemon at `uri`; made when first needed."""

    def __init__(self, uri: str = DEFAULT_URI) -> None:
        self.uri = uri
        self._libvirt: Any = None
        self._open: Any = None

    @property
    def _connection(self) -> Any:
        if self._open is None:
            self._libvirt = require("libvirt")
            # Else the library prints each error on standard error, beside raising it.
            self._libvirt.registerErrorHandler(lambda _context, _error: None, None)
            try:
                self._open = self._libvirt.open(self.uri)
            except self._libvirt.libvirtError as error:
                raise _unreachable(self.uri, str(error)) from error
        return self._open

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextmanager
    def _attempt(self, what: str) -> Iterator[None]:
        """Turn libvirt's errors into sentences that begin with what was attempted."""
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise PocketError(f"Cannot {what}: libvirt says: {error}") from error

    def _missing(self, error: Exception) -> bool:
        gone = (self._libvirt.VIR_ERR_NO_DOMAIN, self._libvirt.VIR_ERR_NO_DOMAIN_METADATA)
        return error.get_error_code() in gone  # type: ignore[attr-defined]

    def version(self) -> str:
        """Return the daemon's version, such as C(9.0.0)."""
        connection = self._connection
        with self._attempt(f"ask {self.uri} for its version"):
            number = connection.getLibVersion()
        return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"

    # Instances: reading

    def instances(self) -> list[Instance]:
        """Return all of our instances, the oldest launch first."""
        connection = self._connection
        with self._attempt(f"list the domains of {self.uri}"):
            found = [self._instance(domain) for domain in connection.listAllDomains()]
        return sorted(
            (instance for instance in found if instance),
            key=lambda instance: (instance.launch_time, instance.ami_launch_index, instance.instance_id),
        )

    def _instance(self, domain: Any) -> Instance | None:
        """Return the instance that `domain` is, none for a domain of somebody else or one just gone."""
        if not domain.name().startswith("i-"):
            return None
        try:
            metadata = domain.metadata(self._libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_URI)
            state, memory_kib, _current, vcpus = domain.info()[:4]
        except self._libvirt.libvirtError as error:
            if self._missing(error):
                return None
            raise
        return with_phase(instance_of(metadata, _state_name(state), vcpus=vcpus, memory_mib=memory_kib // 1024))

    def exists(self, instance_id: str) -> bool:
        """Whether there is a domain of that name."""
        connection = self._connection
        try:
            connection.lookupByName(instance_id)
        except self._libvirt.libvirtError as error:
            if self._missing(error):
                return False
            raise PocketError(f"Cannot look for the instance {instance_id}: libvirt says: {error}") from error
        return True

    def is_running(self, instance_id: str) -> bool:
        """Whether the domain has a machine at present."""
        with self._attempt(f"look at the instance {instance_id}"):
            return bool(self._domain(instance_id).isActive())

    def arp_addresses(self, instance_id: str) -> list[str]:
        """Return the addresses that this host's neighbour table has for the instance's MAC address."""
        source = self._libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP
        try:
            interfaces = self._domain(instance_id).interfaceAddresses(source)
        except self._libvirt.libvirtError:
            return []
        return [address["addr"] for interface in interfaces.values() for address in interface["addrs"] or []]

    # Instances: writing

    def define(self, instance: Instance, files: Files) -> None:
        """Make the domain of `instance`, which is not started."""
        connection = self._connection
        with self._attempt(f"define the instance {instance.label}"):
            connection.defineXML(domain_xml(instance, files))

    def describe(self, instance: Instance) -> None:
        """Write the metadata of `instance`, whose domain may run."""
        libvirt = self._libvirt
        with self._attempt(f"write the metadata of the instance {instance.label}"):
            domain = self._domain(instance.instance_id)
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive():
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
            domain.setMetadata(element, metadata_xml(instance), METADATA_KEY, METADATA_URI, flags)

    def start(self, instance_id: str) -> None:
        """Start the machine, which from then on comes back when the host reboots; does not wait for its guest."""
        with self._attempt(f"start the instance {instance_id}"):
            domain = self._domain(instance_id)
            domain.setAutostart(True)
            self._towards(True, domain, domain.create)

    def press_power_button(self, instance_id: str) -> None:
        """Ask the guest to power off; returns at once."""
        with self._attempt(f"ask the instance {instance_id} to shut down"):
            domain = self._domain(instance_id)
            domain.setAutostart(False)
            self._towards(False, domain, domain.shutdown)

    def power_off(self, instance_id: str) -> None:
        """Take the machine away as it is; one that has none already is well."""
        with self._attempt(f"power off the instance {instance_id}"):
            domain = self._domain(instance_id)
            domain.setAutostart(False)
            self._towards(False, domain, domain.destroy)

    def _towards(self, active: bool, subject: Any, act: Callable[[], Any]) -> None:
        """Act, and take no offence where the domain or network turns out to be as wanted already."""
        try:
            act()
        except self._libvirt.libvirtError as error:
            refused = error.get_error_code() == self._libvirt.VIR_ERR_OPERATION_INVALID
            if not refused or bool(subject.isActive()) != active:
                raise

    def undefine(self, instance_id: str) -> None:
        """Take the domain away, with all that libvirt keeps beside it."""
        libvirt = self._libvirt
        with self._attempt(f"undefine the instance {instance_id}"):
            domain = self._domain(instance_id)
            flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            extras = [
                libvirt.VIR_DOMAIN_UNDEFINE_NVRAM,
                getattr(libvirt, "VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA", 0),
                getattr(libvirt, "VIR_DOMAIN_UNDEFINE_TPM", 0),
            ]
            # A driver that does not know a flag refuses the whole call; those it may lack go one by one.
            while True:
                try:
                    domain.undefineFlags(flags | sum(extras))
                    return
                except libvirt.libvirtError as error:
                    unknown = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED)
                    if not extras or error.get_error_code() not in unknown:
                        raise
                    extras.pop()

    def _domain(self, instance_id: str) -> Any:
        return self._connection.lookupByName(instance_id)

    # Networks: reading

    def networks(self) -> list[Network]:
        """Return all networks of the daemon, by name."""
        connection = self._connection
        with self._attempt(f"list the networks of {self.uri}"):
            found = [self._network(network) for network in connection.listAllNetworks()]
        return sorted(found, key=lambda network: network.name)

    def _network(self, network: Any) -> Network:
        active = bool(network.isActive())
        return network_of(
            network.XMLDesc(self._libvirt.VIR_NETWORK_XML_INACTIVE),
            active=active,
            autostart=bool(network.autostart()),
            live_xml=network.XMLDesc() if active else None,
        )

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
            Lease(lease["mac"].lower(), ipaddress.IPv4Address(lease["ipaddr"]), int(lease["expirytime"]))
            for lease in found
            if lease["type"] == self._libvirt.VIR_IP_ADDR_TYPE_IPV4 and lease["mac"]
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

    # Networks: writing

    def reserve(self, name: str, host: Host) -> None:
        """Reserve the address for the MAC address; done already is well."""
        connection = self._connection
        with self._attempt(f"reserve {host.address} for {host.name} in the network {name}"):
            network = connection.networkLookupByName(name)
            if host not in self._network(network).hosts:
                self._update_hosts(network, self._libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, host)

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
            for found in self._network(network).hosts:
                if found.mac_address == host.mac_address:
                    self._update_hosts(network, self._libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, found)

    def _update_hosts(self, network: Any, command: int, host: Host) -> None:
        libvirt = self._libvirt
        flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
        if network.isActive():
            flags |= libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
        network.update(command, libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST, -1, host_xml(host), flags)

    def define_network(self, network: Network) -> None:
        """Make the network, or give it a new definition, which an active one takes at its next start."""
        connection = self._connection
        with self._attempt(f"define the network {network.name}"):
            connection.networkDefineXML(network_xml(network))

    def set_dhcp_range(self, name: str, old: AddressRange | None, new: AddressRange | None) -> None:
        """Change the range that dnsmasq gives addresses from, of an active network at once."""
        libvirt = self._libvirt
        section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_RANGE
        with self._attempt(f"change the DHCP range of the network {name}"):
            network = self._connection.networkLookupByName(name)
            flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
            if network.isActive():
                flags |= libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
            if old:
                network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, section, -1, range_xml(old), flags)
            if new:
                network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, section, -1, range_xml(new), flags)

    def set_autostart(self, name: str, autostart: bool) -> None:
        """Whether the network is started with the daemon."""
        with self._attempt(f"set autostart of the network {name}"):
            self._connection.networkLookupByName(name).setAutostart(autostart)

    def start_network(self, name: str) -> None:
        """Start the network: its bridge, its firewall rules and its dnsmasq."""
        with self._attempt(f"start the network {name}"):
            network = self._connection.networkLookupByName(name)
            self._towards(True, network, network.create)

    def stop_network(self, name: str) -> None:
        """Stop the network; its definition stays."""
        with self._attempt(f"stop the network {name}"):
            network = self._connection.networkLookupByName(name)
            self._towards(False, network, network.destroy)

    def undefine_network(self, name: str) -> None:
        """Take the definition of a stopped network away."""
        with self._attempt(f"undefine the network {name}"):
            self._connection.networkLookupByName(name).undefine()


def with_phase(instance: Instance) -> Instance:
    """Return `instance` with the state that its phase makes of the machine's."""
    if instance.phase == LAUNCHING:
        return replace(instance, state="pending")
    if instance.phase == TERMINATING:
        return replace(instance, state="shutting-down")
    return instance


def _state_name(state: int) -> str:
    if state == _SHUTTING_DOWN:
        return "stopping"
    return "running" if state in _RUNNING else "stopped"


def _unreachable(uri: str, said: str) -> PocketError:
    start = "start it with: systemctl start libvirtd"
    if "No such file" in said or "Connection refused" in said:
        return PocketError(f"libvirtd isn't running on this host, or not at {uri} ({said}); {start}")
    if "Permission denied" in said or "authenticat" in said or "access denied" in said:
        return PocketError(f"No permission to use libvirt at {uri} ({said}); run with become: true")
    return PocketError(f"Cannot connect to libvirt at the uri {uri!r}: {said}")
