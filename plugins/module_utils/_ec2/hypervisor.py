# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instances of a libvirt daemon: what there are, and each write to one. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .capacity import HostSize
from .connection import DEFAULT_URI, THREADS
from .console_calls import ConsoleCalls
from .device_calls import DeviceCalls
from .domain_xml import (
    METADATA_KEY,
    METADATA_URI,
    Files,
    domain_xml,
    instance_of,
    metadata_xml,
    with_metadata,
    with_size,
)
from .filter_calls import FilterCalls
from .guest_calls import GuestCalls
from .machine_calls import MachineCalls
from .model import HIBERNATED, LAUNCHING, TERMINATING, Instance
from .network_calls import NetworkCalls
from .network_filters import cards_with_filters, instance_of_filter, with_filters
from .request import Template

__all__ = ["BY_GUEST", "DEFAULT_URI", "THREADS", "Hypervisor", "with_phase"]

# virDomainState: what of it is a running machine to EC2, which knows neither paused nor crashed.
_RUNNING = (1, 2, 3, 7)
_PAUSED = 3
_SUSPENDED = 7
_SHUTTING_DOWN = 4
# virDomainPausedReason: what stands still until somebody lets it go on. Of the others, libvirt itself sees to that.
_PAUSES = {
    0: "Paused",
    1: "Paused by hand",
    5: "Paused for an I/O error, as of a full disk",
    6: "Paused by its watchdog",
    7: "Paused since it was reverted to a snapshot",
    13: "Paused by a failed migration",
    14: "Paused by a call of libvirt's that failed",
}
# virDomainPausedReason: its memory is being saved, or its guest has shut down; it is off in a moment.
_ENDING = (3, 8)
# virDomainDiskErrorCode
_DISK_ERRORS = {1: "an I/O error", 2: "no space left on its file system"}
_SHUTOFF = 5
BY_GUEST = "Instance initiated shutdown"


class Hypervisor(NetworkCalls, FilterCalls, ConsoleCalls, DeviceCalls, GuestCalls, MachineCalls):
    """A libvirt daemon's instances, their screens and filters, and networks; connected to when first needed."""

    _host_name = ""
    _seen: frozenset[str] = frozenset()  # the ids of the instances that were last listed

    # Instances: reading

    def instances(self) -> list[Instance]:
        """Return all of our instances, the oldest launch first."""
        connection = self._connection
        with self._attempt(f"list the domains of {self.uri}"):
            states = connection.getAllDomainStats(
                self._libvirt.VIR_DOMAIN_STATS_STATE, self._libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            )
            saved, boot = self._libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, self.boot()
            hibernated = {domain.name() for domain in connection.listAllDomains(saved)}
            at_boot = self._libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART
            started = {domain.name() for domain in connection.listAllDomains(at_boot)}
            found = [
                self._instance(domain, stats["state.state"], stats["state.reason"], domain.name() in hibernated, boot)
                for domain, stats in states
            ]
        self._seen = frozenset(instance.instance_id for instance in found if instance)
        return sorted(
            (replace(instance, starts_at_boot=instance.instance_id in started) for instance in found if instance),
            key=lambda instance: (instance.launch_time, instance.ami_launch_index, instance.instance_id),
        )

    def _instance(self, domain: Any, state: int, reason: int, hibernated: bool, boot: str | None) -> Instance | None:
        """Return the instance that `domain` is, none for a domain of somebody else or one just gone."""
        if not domain.name().startswith("i-"):
            return None
        try:
            xml = domain.XMLDesc(self._libvirt.VIR_DOMAIN_XML_INACTIVE)
        except self._libvirt.libvirtError as error:
            if self._missing(error):
                return None
            raise
        instance = instance_of(xml, _state_name(state, reason))
        if instance is None or instance.instance_id != domain.name():  # a copy of one of ours is somebody's own
            return None
        paused = _stands_still(state, reason)
        by_guest = state == _SHUTOFF and reason == self._libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN
        return with_phase(replace(instance, host=self.host_name(), paused=paused), by_guest, hibernated, boot)

    def instance(self, instance_id: str) -> Instance | None:
        """Return the one instance of that id, none where there is none."""
        if not self.exists(instance_id):
            return None
        with self._attempt(f"look at the instance {instance_id}"):
            domain = self._domain(instance_id)
            state, reason = domain.state()
            return self._instance(domain, state, reason, bool(domain.hasManagedSaveImage()), self.boot())

    def network_filters(self) -> dict[str, str] | None:
        """Return the definitions of our filters, by name; none where the daemon knows no filters.

        Those of a domain that has lost our metadata are left out: it is somebody's now, and uses them.
        """
        found = super().network_filters()
        unknown = {name: of for name in found or () if (of := instance_of_filter(name)) and of not in self._seen}
        if found and unknown:
            connection = self._connection
            with self._attempt(f"list the domains of {self.uri}"):
                there = {domain.name() for domain in connection.listAllDomains()}
            lost = {of for of in unknown.values() if of in there and self.instance(of) is None}
            return {name: xml for name, xml in found.items() if unknown.get(name) not in lost}
        return found

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

    def mentioned(self, instance_ids: Collection[str]) -> set[str]:
        """Return those of the ids that any domain of whomever has in its definition: one that was renamed, say."""
        connection, inactive = self._connection, self._libvirt_of().VIR_DOMAIN_XML_INACTIVE
        found: set[str] = set()
        with self._attempt(f"look through the domains of {self.uri}"):
            for domain in connection.listAllDomains():
                try:
                    text = domain.XMLDesc(inactive) + domain.XMLDesc()
                except self._libvirt.libvirtError as error:
                    if not self._missing(error):
                        raise
                    continue
                found.update(one for one in instance_ids if one in text)
        return found

    def is_running(self, instance_id: str) -> bool:
        """Whether the domain has a machine at present."""
        with self._attempt(f"look at the instance {instance_id}"):
            return bool(self._domain(instance_id).isActive())

    def cpu_seconds(self, instance_id: str) -> float:
        """Return how much of the host's processors the machine has used; 0 where it has none."""
        with self._attempt(f"look at the instance {instance_id}"):
            return float(self._domain(instance_id).info()[4]) / 1e9

    def arp_addresses(self, instance_id: str) -> list[str]:
        """Return the addresses that its host's neighbour table has for the instance's MAC addresses."""
        return self._interface_addresses(instance_id, "VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP")

    def agent_addresses(self, instance_id: str) -> list[str]:
        """Return the addresses that the instance's guest agent tells of, none where it has no agent that answers."""
        return self._interface_addresses(instance_id, "VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT")

    def _interface_addresses(self, instance_id: str, source: str) -> list[str]:
        connection = self._connection
        try:
            domain = connection.lookupByName(instance_id)
            interfaces = domain.interfaceAddresses(getattr(self._libvirt, source))
        except self._libvirt.libvirtError:
            return []
        return [address["addr"] for interface in interfaces.values() for address in interface["addrs"] or []]

    def host_name(self) -> str:
        """Return the name of the host that the daemon runs on."""
        if not self._host_name:
            with self._attempt(f"ask {self.uri} for its host's name"):
                self._host_name = self._connection.getHostname()
        return self._host_name

    def boot(self) -> str | None:
        """Return what tells the present boot of the daemon's host from others; none where that is another host."""
        if not self._local:
            return None
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return None

    def host_size(self) -> HostSize:
        """Return what the host has, and how much of it the running domains of others take; read instances() before."""
        connection = self._connection
        with self._attempt(f"ask {self.uri} what its host has"):
            memory_mib, cpus = connection.getInfo()[1:3]
            others = 0
            for domain in connection.listAllDomains(self._libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                if domain.name() not in self._seen:
                    others += domain.maxMemory() // 1024
        return HostSize(cpus, memory_mib, others)

    # Instances: writing

    def define(self, instance: Instance, files: Files, template: Template) -> None:
        """Make the domain of `instance`, which is not started."""
        connection = self._connection
        with self._attempt(f"define the instance {instance.label}"):
            xml = domain_xml(instance, files, template)
            connection.defineXML(with_filters(xml, instance) if instance.guarded and self.has_filters() else xml)

    def attach_filters(self, instance: Instance) -> None:
        """Put the network filters of `instance` on its interfaces, at once where it runs, and for its next starts.

        What runs, or goes on, first: as long as the definition lacks one, the next run does it again.
        """
        libvirt, connection = self._libvirt, self._connection
        with self._attempt(f"put the network filters of the instance {instance.label} on its interfaces"):
            domain = self._defined(instance.instance_id)
            if domain.isActive():
                for card in cards_with_filters(domain.XMLDesc(), instance):
                    domain.updateDeviceFlags(card, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            elif domain.hasManagedSaveImage():
                saved = domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
                domain.managedSaveDefineXML(with_filters(saved, instance))
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
            connection.defineXML(with_filters(xml, instance))

    def describe(self, instance: Instance) -> None:
        """Write the metadata of `instance`, whose domain may run."""
        libvirt = self._libvirt
        with self._attempt(f"write the metadata of the instance {instance.label}"):
            domain = self._defined(instance.instance_id)
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive():
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
            domain.setMetadata(element, metadata_xml(instance), METADATA_KEY, METADATA_URI, flags)

    def redefine(self, instance: Instance) -> None:
        """Give a machine that is off the size and the metadata of `instance`, in one write; the rest stays."""
        libvirt, connection = self._libvirt, self._connection
        with self._attempt(f"change the instance {instance.label}"):
            domain = self._domain(instance.instance_id)
            if domain.hasManagedSaveImage():
                raise PocketError(
                    f"Cannot change the instance {instance.label}: it has a saved state that depends on what it has; "
                    "start it first"
                )
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
            connection.defineXML(with_size(with_metadata(xml, instance), instance))

    def start(self, instance: Instance) -> None:
        """Start the machine; does not wait for its guest. Whether it comes back with its host is its policy's."""
        with self._attempt(f"start the instance {instance.instance_id}"):
            domain = self._domain(instance.instance_id)
            domain.setAutostart(instance.restart_policy != "never")
            self._towards(True, domain, domain.create)
            if instance.hibernated and domain.state()[0] == _PAUSED:  # as it was when somebody saved it
                self._let_go_on(domain)

    def resume(self, instance: Instance) -> None:
        """Let a machine go on that stands still."""
        with self._attempt(f"resume the instance {instance.label}"):
            self._let_go_on(self._domain(instance.instance_id))

    def _let_go_on(self, domain: Any) -> None:
        if domain.state()[0] != _SUSPENDED:
            self._towards(True, domain, domain.resume)
            return
        try:
            domain.pMWakeup()
        except self._libvirt.libvirtError:
            if domain.state()[0] == _SUSPENDED:  # or else it woke by itself
                raise

    def disk_errors(self, instance_id: str) -> str:
        """Return for which of its disks the machine stands still, and why; empty where that is for none."""
        with self._attempt(f"ask for errors of the disks of the instance {instance_id}"):
            errors = self._domain(instance_id).diskErrors()
        return ", ".join(f"{name} has {_DISK_ERRORS.get(code, 'an error')}" for name, code in sorted(errors.items()))

    def set_start_at_boot(self, instance: Instance) -> None:
        """Have it started at its host's boot, or not, as its policy and its state say."""
        with self._attempt(f"set whether the instance {instance.label} starts at boot"):
            domain = self._defined(instance.instance_id)
            running = instance.restart_policy == "running" and instance.state != "stopped"
            domain.setAutostart(running or instance.restart_policy == "always")

    def press_power_button(self, instance: Instance) -> None:
        """Ask the guest to power off; returns at once."""
        with self._attempt(f"ask the instance {instance.instance_id} to shut down"):
            domain = self._domain(instance.instance_id)
            domain.setAutostart(instance.restart_policy == "always")
            state, reason = domain.state()
            # By somebody's hand, for want of room on the disk, or by its guest.
            if state == _SUSPENDED or (state == _PAUSED and reason not in _ENDING):
                self._let_go_on(domain)
            self._towards(False, domain, domain.shutdown)

    def power_off(self, instance: Instance) -> None:
        """Take the machine away as it is; one that has none already is well."""
        with self._attempt(f"power off the instance {instance.instance_id}"):
            domain = self._defined(instance.instance_id)
            domain.setAutostart(instance.restart_policy == "always")
            self._towards(False, domain, domain.destroy)

    def hibernate(self, instance: Instance) -> None:
        """Write the machine's memory to disk and take it away; its next start goes on from there."""
        with self._attempt(f"hibernate the instance {instance.label}"):
            domain = self._defined(instance.instance_id)
            domain.setAutostart(instance.restart_policy == "always")
            if domain.state()[0] == _SUSPENDED:  # QEMU 9.0 and newer keep that over a save
                self._let_go_on(domain)
            # One that is paused, too, is to run when it goes on.
            self._towards(False, domain, lambda: domain.managedSave(self._libvirt.VIR_DOMAIN_SAVE_RUNNING))

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

    def _defined(self, instance_id: str) -> Any:
        """Return the domain; one that runs and that somebody undefined gets its definition back from what runs."""
        domain = self._domain(instance_id)
        if not domain.isPersistent():
            flags = self._libvirt.VIR_DOMAIN_XML_INACTIVE | self._libvirt.VIR_DOMAIN_XML_SECURE
            self._connection.defineXML(domain.XMLDesc(flags))
        return domain


def with_phase(
    instance: Instance, by_guest: bool = False, hibernated: bool = False, boot: str | None = None
) -> Instance:
    """Return `instance` with the state that its phase, and what its guest did, make of the machine's.

    :param by_guest: whether the machine is off because its guest shut down; if nobody asked it to, it did so itself.
    :param hibernated: whether libvirt has a saved state of it, whoever asked for that.
    :param boot: the present boot of its host.
    """
    if instance.phase == LAUNCHING:
        return replace(instance, state="pending")
    if instance.phase == TERMINATING:
        return replace(instance, state="shutting-down")
    if instance.state == "running":
        return replace(instance, state_reason="")
    if hibernated:
        return replace(instance, state_reason=HIBERNATED)
    # Of two reasons the later one is true. libvirt knows of ends in this boot alone, so one noted in an earlier boot is
    # of an earlier run: the host's boot has started the machine since.
    noted = instance.reason_boot
    if instance.hibernated or (by_guest and None not in (noted, boot) and noted != boot):
        instance = replace(instance, state_reason="")
    if by_guest and not instance.state_reason:
        if instance.shutdown_behavior == "terminate":
            return replace(instance, phase=TERMINATING, state="shutting-down", state_reason=BY_GUEST)
        return replace(instance, state_reason=BY_GUEST)
    return instance


def _stands_still(state: int, reason: int) -> str:
    """Why a running machine stands still until somebody lets it go on; empty where it does not."""
    if state == _SUSPENDED:
        return "Suspended by its guest"
    return _PAUSES.get(reason, "") if state == _PAUSED else ""


def _state_name(state: int, reason: int) -> str:
    if state == _SHUTTING_DOWN or (state == _PAUSED and reason in _ENDING):
        return "stopping"
    return "running" if state in _RUNNING else "stopped"
