# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk of an instance as it is at one moment, copied to a file that stands alone. PRIVATE to the collection.

Of a machine that runs, its QEMU makes the copy: what the guest overwrites meanwhile is copied before. Else qemu-img
does, and locks the disk, so that the machine cannot be started until the copy is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from .._errors import PocketError
from . import disk_files
from .disks import Disk
from .hypervisor import Hypervisor
from .model import Instance
from .store import Store

__all__ = ["DiskCopies"]


class DiskCopies:
    """Copies of disks, of whatever is attached to an instance and of what is not."""

    def __init__(self, hypervisor: Hypervisor, store: Store) -> None:
        self._hypervisor = hypervisor
        self._store = store

    def check(self, disk: Disk) -> None:
        """Refuse a disk whose file is not there, or that leads to files that are not the store's."""
        if Path(os.path.realpath(self._store.root)) not in Path(os.path.realpath(disk.path)).parents:
            raise PocketError(
                f"Cannot use the disk {disk.path}: it is outside the store {self._store.root}, where somebody else has "
                "put it; only disks of the store can be copied",
                code="InvalidParameterValue",
            )
        disk_files.check_file(disk.path, disk.disk_format, self._store.image_directory)

    def make(
        self,
        disk: Disk,
        instance: Instance | None,
        target: Path,
        freeze: bool = False,
        progress: Callable[[int], None] = lambda _percent: None,
    ) -> None:
        """Copy `disk`, which is attached to `instance` or to nothing, to the qcow2 file `target`.

        :param freeze: have the agent in the guest write out and hold its file systems at that moment.
        """
        self.check(disk)
        if instance is not None and self._hypervisor.is_running(instance.instance_id):
            self._hypervisor.back_up(instance.instance_id, disk.device_name, target, freeze, progress)
            os.chown(target, os.geteuid(), os.getegid())  # it was QEMU's user's
            return
        disk_files.copy(disk.path, disk.disk_format, target, "qcow2")

    def abandon(self, instances: Iterable[Instance], targets: Iterable[Path]) -> None:
        """End the copying to `targets` that runs which died have left to QEMU."""
        for target in targets:
            for instance in instances:
                if instance.state != "stopped":
                    self._hypervisor.abort_backup(instance.instance_id, target)

    def sweep(self, path: Path) -> None:
        """Take away what a run that died has left of a copy, to which QEMU may be writing still."""
        try:
            self.abandon(self._hypervisor.instances(), [path])
        except PocketError:
            if disk_files.is_open_in_qemu(path):  # else no matter: not each host of images has libvirt
                raise
        disk_files.remove(path)
