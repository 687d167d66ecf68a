# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of instances: made at a launch, changed in place, taken away at the end. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .._errors import PocketError
from . import disk_files, images
from .attachments import Attachments
from .block_devices import DiskChange, Shelf, root_disk_of
from .disks import Disk, derived_volume_id
from .hypervisor import Hypervisor
from .images import GIB, Image
from .mappings import RootDisk
from .model import Instance
from .store import Store
from .volume_files import Snapshots, Volumes
from .volume_plan import find_snapshot
from .volumes import Snapshot, Volume

__all__ = ["InstanceDisks", "shelf_of"]


def shelf_of(store: Store, instances: Sequence[Instance], with_root: bool) -> Shelf:
    """Read what a request that states disks needs to know."""
    volumes = Volumes(store)
    busy = store.volumes_are_written()  # first: nothing more can be begun, but what is found below may end meanwhile
    sizes = {}
    for instance in instances if with_root else ():
        disk = root_disk_of(instance)
        size = disk_files.size_gib(disk.path, disk.disk_format) if disk else None
        if size is not None:
            sizes[instance.instance_id] = size
    found = {volume.volume_id: volume for volume in volumes.all(instances)}
    snapshots = Snapshots(store).all()
    faults = {**dict(_copied(found.values()) if busy else ()), **dict(_faults(found.values(), snapshots))}
    return Shelf(volumes.directory, found, snapshots, sizes, faults)


def _copied(volumes: Iterable[Volume]) -> Iterator[tuple[str, PocketError]]:
    """Yield why volumes must be left to the run beside this one that makes them."""
    for one in volumes:
        if one.beside_launches:
            yield (
                one.volume_id,
                PocketError(
                    f"volumes: {one.label} is creating, and another run is copying disks, to it or to others; run "
                    "this again when that run has ended",
                    code="IncorrectState",
                ),
            )


def _faults(volumes: Iterable[Volume], snapshots: Iterable[Snapshot]) -> Iterator[tuple[str, PocketError]]:
    """Yield why the files of volumes that could be attached must not be, and those of snapshots not be copied."""
    usable = [(one.volume_id, one.path, one.disk_format) for one in volumes if one.complete and one.attachment is None]
    usable += [(one.snapshot_id, one.path, "qcow2") for one in snapshots if one.progress == 100]
    for identity, path, disk_format in usable:
        try:
            disk_files.check_file(path, disk_format)
        except PocketError as error:
            yield identity, error


class InstanceDisks:
    """The writes on disks of instances. Whoever calls holds the lock of the store."""

    def __init__(self, hypervisor: Hypervisor, store: Store) -> None:
        self._hypervisor = hypervisor
        self._store = store
        self._volumes = Volumes(store)
        self._attachments = Attachments(hypervisor)

    def make_root(self, disk: Disk, image: Image, root: RootDisk) -> None:
        """Make the root disk of a new instance."""
        if root.is_full:
            disk_files.copy(image.path, image.disk_format, disk.path, disk.disk_format, root.size_gib)
        else:
            images.create_overlay(image, disk.path, size_gib=root.size_gib)

    def make(self, volume: Volume) -> None:
        """Make a volume, unless it is there and fit to be attached."""
        record = self._volumes.records.get(volume.volume_id)
        if record is not None and record["complete"]:
            disk_files.check_file(volume.path, volume.disk_format)
        else:
            snapshot = volume.snapshot_id
            source = None if snapshot is None else find_snapshot(snapshot, Snapshots(self._store).all())
            self._volumes.make(volume, source)

    def change(self, change: DiskChange) -> None:
        """Change the disks of an instance that exists."""
        volume = change.volume
        if volume is None:
            self._grow_root(change)
            return
        acts: dict[str, Callable[[Volume], None]] = {
            "make": self.make,
            "attach": self._attachments.attach,
            "grow": self._attachments.grow,
            "keep": self._attachments.flag,
        }
        acts[change.action](volume)

    def _grow_root(self, change: DiskChange) -> None:
        disk = root_disk_of(change.after)
        if disk is None:
            return
        if self._hypervisor.is_running(change.instance_id):
            self._hypervisor.resize_disk(change.instance_id, disk.device_name, change.size_gib * GIB)
        else:
            disk_files.check_file(disk.path, disk.disk_format, self._store.image_directory)
            disk_files.grow(disk.path, disk.disk_format, change.size_gib)

    def take_away(self, instance: Instance, unfinished: bool) -> None:
        """Delete the volumes that go with an instance, or that its unfinished launch made; the others are free then."""
        for disk in instance.disks:
            made_for_it = disk.volume_id == derived_volume_id(instance.instance_id, disk.device_name)
            goes = disk.volume_id in instance.volumes_deleted_on_termination
            if disk.volume_id is not None and (made_for_it if unfinished else goes):
                # By its id: what the definition says of the file, somebody else may have written.
                self._volumes.remove(disk.volume_id, self._volumes.path(disk.volume_id, disk.disk_format))
