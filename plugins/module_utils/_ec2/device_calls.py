# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of a libvirt daemon's instances: attach, detach, grow, copy while they run. PRIVATE to the collection."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .connection import Connection
from .disks import disks_of
from .xml_text import Element, element, parse, text_of

__all__ = ["DeviceCalls"]

# Seconds between two requests to a guest to let a disk go: one that is still booting hears none.
_REQUEST_INTERVAL = 5.0
_ATTEMPTS = 20
# An agent that does not answer may do so a moment later; until then its guest cannot write.
_THAWS = 3
_THAW_INTERVAL = 1.0


class DeviceCalls(Connection):
    """Calls on the disks of domains, which are named by instance id and device name."""

    def attach_disk(self, instance_id: str, xml: str) -> None:
        """Give the domain a disk, at once where it runs, and for its next starts."""
        libvirt = self._libvirt_of()
        with self._attempt(f"attach the disk to the instance {instance_id}"):
            domain = self._lookup(instance_id)
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive() and not self._has(domain, xml):
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            self._plug(domain, instance_id, xml, flags)

    def _plug(self, domain: Any, instance_id: str, xml: str, flags: int) -> None:
        for left in reversed(range(_ATTEMPTS)):
            try:
                domain.attachDeviceFlags(xml, flags)
                return
            except self._libvirt.libvirtError as error:
                # A daemon that was killed does not know what it has called nodes in QEMU, and tries the next name then.
                if "Duplicate nodes" in str(error) and left:
                    continue
                raise self._unplugged(instance_id, str(error)) or error from error

    def _unplugged(self, instance_id: str, said: str) -> PocketError | None:
        if "No more available PCI" in said:
            return PocketError(
                f"The instance {instance_id} has no free slot to plug a disk into while it runs; stop it and run "
                "this again, or detach another volume",
                code="AttachmentLimitExceeded",
            )
        if "Duplicate" in said:
            return PocketError(
                f"The machine of the instance {instance_id} has remains of an attachment in which libvirtd was killed "
                f"({said}); stop the instance and run this again",
                code="IncorrectInstanceState",
            )
        return None

    def _has(self, domain: Any, xml: str) -> bool:
        """Whether the machine as it runs has that disk: a daemon that was killed may not have come to define it."""
        wanted = parse(xml)
        target, source = wanted.find("target"), wanted.find("source")
        found = self._disk(domain, "" if target is None else target.get("dev", ""), 0)
        has = None if found is None else found.find("source")
        return has is not None and source is not None and has.get("file") == source.get("file")

    def holders(self, path: Path) -> dict[str, str]:
        """Return the domains, of whomever, that have the file as a disk at present, each with the disk's name."""
        connection = self._connection
        found = {}
        with self._attempt(f"look for users of the disk {path}"):
            for domain in connection.listAllDomains():
                try:
                    xml = domain.XMLDesc(0)
                except self._libvirt.libvirtError:  # gone meanwhile
                    continue
                for disk in disks_of(parse(xml)) if path.name in xml else ():
                    if os.path.realpath(disk.path) == os.path.realpath(path):
                        found[domain.name()] = disk.device_name
        return found

    def detach_disk(self, instance_id: str, device_name: str, timeout: float) -> None:
        """Take a disk from the domain; its guest, if it runs, has `timeout` seconds to let it go.

        The running machine first: as long as the definition has the disk, the volume counts as attached.
        """
        libvirt = self._libvirt_of()
        with self._attempt(f"detach {device_name} from the instance {instance_id}"):
            domain = self._lookup(instance_id)
            self._detach_live(domain, instance_id, device_name, timeout)
            disk = self._disk(domain, device_name, libvirt.VIR_DOMAIN_XML_INACTIVE)
            if disk is not None:
                domain.detachDeviceFlags(text_of(disk), libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    def _detach_live(self, domain: Any, instance_id: str, device_name: str, timeout: float) -> None:
        now = time.monotonic()
        deadline, request = now + timeout, now
        while domain.isActive():
            disk = self._disk(domain, device_name, 0)
            if disk is None:
                return
            now = time.monotonic()
            if now > deadline:
                raise PocketError(
                    f"The guest of the instance {instance_id} did not let {device_name} go within {timeout:g} s; "
                    "unmount it there, or stop the instance, and run it again",
                    code="IncorrectState",
                )
            if now >= request:
                self._ask_to_let_go(domain, disk)
                request = now + _REQUEST_INTERVAL
            time.sleep(0.1)

    def _ask_to_let_go(self, domain: Any, disk: Element) -> None:
        try:
            domain.detachDeviceFlags(text_of(disk), self._libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except self._libvirt.libvirtError as error:
            # Asked already, or gone since we looked: the next look tells.
            if "in the process of unplug" not in str(error) and error.get_error_code() not in self._gone():
                raise

    def _gone(self) -> tuple[int, ...]:
        return (self._libvirt.VIR_ERR_DEVICE_MISSING, self._libvirt.VIR_ERR_OPERATION_INVALID)

    def resize_disk(self, instance_id: str, device_name: str, size: int) -> None:
        """Make a disk of a running domain `size` bytes large; its guest sees that at once."""
        libvirt = self._libvirt_of()
        with self._attempt(f"grow {device_name} of the instance {instance_id}"):
            self._lookup(instance_id).blockResize(device_name, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    # Copies of running disks

    def back_up(
        self,
        instance_id: str,
        device_name: str,
        target: Path,
        freeze: bool = False,
        progress: Callable[[int], None] = lambda _percent: None,
    ) -> None:
        """Copy a disk of a running domain, as it is at this moment, to the qcow2 file `target`, which must not exist.

        :param freeze: have the guest's agent hold the file systems at that moment.
        :param progress: told now and then how far it is, in percent.
        """
        self._libvirt_of()
        with self._attempt(f"copy {device_name} of the running instance {instance_id}"):
            domain = self._lookup(instance_id)
            try:
                self._begin_backup(domain, self._backup_xml(domain, device_name, target), freeze)
                while self._backup_runs(domain, progress):
                    time.sleep(0.1)
                self._check_backup(domain)
            except Exception:
                self._abort_to(domain, target)
                raise

    def _begin_backup(self, domain: Any, xml: str, freeze: bool) -> None:
        if not freeze:
            domain.backupBegin(xml, None, 0)
            return
        with suppress(self._libvirt.libvirtError):  # where there is no agent, freezing tells
            domain.fsThaw()  # what a run that was killed just then has left frozen
        try:
            domain.fsFreeze()
            domain.backupBegin(xml, None, 0)
        except BaseException:
            with suppress(PocketError):  # the first error tells more
                self._thaw(domain, attempts=1)  # an agent that did not answer in time may have frozen them
            raise
        self._thaw(domain, attempts=_THAWS)

    def _thaw(self, domain: Any, attempts: int) -> None:
        for left in reversed(range(attempts)):
            try:
                domain.fsThaw()
                return
            except self._libvirt.libvirtError as error:
                if not left:
                    raise PocketError(
                        f"Cannot thaw the file systems of the instance {domain.name()}, which were frozen to copy a "
                        f"disk: libvirt says: {error}; look after the agent in the guest, and thaw them with: virsh "
                        f"domfsthaw {domain.name()}"
                    ) from error
            time.sleep(_THAW_INTERVAL)

    def _backup_xml(self, domain: Any, device_name: str, target: Path) -> str:
        backup = element("domainbackup", {"mode": "push"})
        disks = element("disks")
        backup.append(disks)
        for name in self._devices(domain):
            if name != device_name:
                disks.append(element("disk", {"name": name, "backup": "no"}))
                continue
            disk = element("disk", {"name": name, "backup": "yes", "type": "file"})
            disk.append(element("driver", {"type": "qcow2"}))
            disk.append(element("target", {"file": target}))
            disks.append(disk)
        return text_of(backup)

    def _backup_runs(self, domain: Any, progress: Callable[[int], None]) -> bool:
        stats = domain.jobStats()
        if stats.get("operation") != self._libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
            return False
        total, done = stats.get("disk_total", 0), stats.get("disk_processed", 0)
        progress(min(99, done * 100 // total) if total else 0)
        return True

    def _check_backup(self, domain: Any) -> None:
        stats = domain.jobStats(self._libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        if stats.get("type") != self._libvirt.VIR_DOMAIN_JOB_COMPLETED:
            reason = stats.get("errmsg") or "it was cancelled"
            raise PocketError(f"Cannot copy the disk of the running instance {domain.name()}: {reason}")

    def abort_backup(self, instance_id: str, target: Path) -> None:
        """End the copying to `target` that a run which died has left going on, if that is so."""
        self._libvirt_of()
        with self._attempt(f"end the copying of a disk of the instance {instance_id}"):
            self._abort_to(self._lookup(instance_id), target)

    def _abort_to(self, domain: Any, target: Path) -> None:
        """End the copying to `target`, if it goes on, and no other."""
        try:
            xml = domain.backupGetXMLDesc(0)
        except self._libvirt.libvirtError:  # none goes on
            return
        if any(one.get("file") == str(target) for one in parse(xml).iterfind("disks/disk/target")):
            self._abort(domain)

    def _abort(self, domain: Any) -> None:
        libvirt = self._libvirt
        try:
            domain.abortJob()
        except libvirt.libvirtError:  # it has ended already
            return
        while domain.isActive() and domain.jobStats().get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
            time.sleep(0.1)

    # The domain's own description

    def _devices(self, domain: Any) -> list[str]:
        targets = parse(domain.XMLDesc(0)).iterfind("devices/disk/target")
        return [target.get("dev", "") for target in targets]

    def _disk(self, domain: Any, device_name: str, flags: int) -> Element | None:
        for disk in parse(domain.XMLDesc(flags)).iterfind("devices/disk"):
            target = disk.find("target")
            if target is not None and target.get("dev") == device_name:
                return disk
        return None

    def _lookup(self, instance_id: str) -> Any:
        return self._connection.lookupByName(instance_id)

    def _libvirt_of(self) -> Any:
        """The library, which is loaded with the first connection."""
        _connection = self._connection
        return self._libvirt
