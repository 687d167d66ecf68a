# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to be done for the disks that a request on instances states. Pure.

PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .._plan import Operation
from .disks import ROOT_DEVICE, SEED_DEVICE, Disk, derived_volume_id
from .images import GIB, Image
from .mappings import Mapped, RootDisk
from .model import Instance
from .volume_plan import find_snapshot
from .volumes import Attachment, Snapshot, Volume

__all__ = [
    "DiskChange",
    "Shelf",
    "check_once",
    "check_root",
    "deleted_after",
    "deleted_with",
    "disk_changes",
    "missing_disk",
    "new_volumes",
    "root_disk_of",
    "shown",
]


@dataclass(frozen=True)
class Shelf:
    """The volumes and snapshots there are, where disks were stated.

    :param directory: where the files of volumes are.
    :param root_sizes: size in GiB of each instance's root disk, where a size was stated.
    :param faults: why volumes and snapshots cannot be used, by their ids; looked for in what is attached to nothing.
    """

    directory: Path = Path("/")
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    snapshots: Sequence[Snapshot] = ()
    root_sizes: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, PocketError] = field(default_factory=dict)


@dataclass(frozen=True)
class DiskChange:
    """A write on the disks of an instance that exists.

    :param action: C(make), C(attach), C(grow), C(keep) or C(grow root).
    :param volume: as it is to be, with its attachment; none for the root disk.
    """

    action: str
    after: Instance
    volume: Volume | None = None
    size_gib: int = 0

    @property
    def instance_id(self) -> str:
        """The instance's id."""
        return self.after.instance_id


# Launches


def check_root(root: RootDisk, image: Image) -> None:
    """Refuse a root disk that is smaller than its image."""
    if root.size_gib is not None and root.size_gib * GIB < image.virtual_size:
        raise PocketError(
            f"root_size_gib: {root.size_gib} is less than the {image.size_gib} GiB of the image {image.name} "
            f"({image.image_id}); state at least that",
            code="InvalidBlockDeviceMapping",
        )


def new_volumes(instance_id: str, mapped: Sequence[Mapped], shelf: Shelf, now: str) -> list[Volume]:
    """Return the volumes that a new instance gets, as they are to be attached; PocketError where one cannot be."""
    return [_fresh(instance_id, one, shelf, now) for one in mapped]


def check_once(attached: Iterable[Volume]) -> None:
    """Refuse that one request attaches a volume twice, to instances that are there or to new ones."""
    seen: set[str] = set()
    for volume in attached:
        if volume.volume_id in seen:
            raise PocketError(
                f"volumes: {volume.label} would be attached more than once, and two guests that write to one disk "
                "destroy what is on it; state it for one instance, or have volumes made",
                code="InvalidParameterCombination",
            )
        seen.add(volume.volume_id)


def _fresh(instance_id: str, mapped: Mapped, shelf: Shelf, now: str) -> Volume:
    if mapped.device_name == SEED_DEVICE:
        raise _bad(f"volumes: /dev/{SEED_DEVICE} is taken by what tells the guest its name; state another device_name")
    if mapped.volume_id is not None:
        volume = _existing(mapped.volume_id, shelf)
        goes = bool(mapped.delete_on_termination)
    else:
        volume = _made(instance_id, mapped, shelf, now)
        goes = mapped.delete_on_termination is not False  # as in EC2, what a launch makes goes with the instance
    return replace(volume, attachment=Attachment(instance_id, mapped.device_name, goes))


def _existing(volume_id: str, shelf: Shelf) -> Volume:
    volume = shelf.volumes.get(volume_id)
    if volume is None or not volume.complete:
        if volume_id in shelf.faults:
            raise shelf.faults[volume_id]
        raise PocketError(
            f"volumes: there is no volume {volume_id} on this host; make it with ec2like_volume",
            code="InvalidVolume.NotFound",
        )
    _check_free(volume, shelf)
    return volume


def _check_free(volume: Volume, shelf: Shelf) -> None:
    attachment = volume.attachment
    if attachment:
        raise PocketError(
            f"volumes: {volume.label} is attached to {attachment.instance_id} as /dev/{attachment.device_name}; detach "
            "it there first",
            code="VolumeInUse",
        )
    if volume.volume_id in shelf.faults:
        raise shelf.faults[volume.volume_id]


def _made(instance_id: str, mapped: Mapped, shelf: Shelf, now: str) -> Volume:
    volume_id = derived_volume_id(instance_id, mapped.device_name)
    left = shelf.volumes.get(volume_id)
    if left is not None and left.complete:  # made by a run that died before it was attached, or detached since
        _check_free(left, shelf)
        _check_unchanged(left, mapped)
        return _grown(left, mapped)
    if volume_id in shelf.faults:
        raise shelf.faults[volume_id]
    snapshot = None
    if mapped.snapshot_id is not None:
        snapshot = find_snapshot(mapped.snapshot_id, shelf.snapshots, "volumes: snapshot_id")
        if snapshot.snapshot_id in shelf.faults:
            raise shelf.faults[snapshot.snapshot_id]
    size = mapped.size_gib or (snapshot.volume_size if snapshot else None)
    if size is None:
        raise PocketError(
            f"volumes: /dev/{mapped.device_name} is to be made; state its volume_size, or a snapshot_id, or the "
            "volume_id of one that exists",
            code="MissingParameter",
        )
    if snapshot and size < snapshot.volume_size:
        raise PocketError(
            f"volumes: volume_size: {size} is less than the {snapshot.volume_size} GiB of the snapshot "
            f"{snapshot.snapshot_id}; state at least that",
            code="InvalidBlockDeviceMapping",
        )
    disk_format = mapped.disk_format or "qcow2"
    path = shelf.directory / f"{volume_id}.{disk_format}"
    return Volume(volume_id, size, disk_format, now, path, {}, mapped.snapshot_id)


def _check_unchanged(volume: Volume, mapped: Mapped) -> None:
    """Refuse to attach in place of the volume that is stated one that was made otherwise."""
    for name in ("snapshot_id", "disk_format"):
        stated, has = getattr(mapped, name), getattr(volume, name)
        if stated not in (None, has):
            raise _bad(
                f"volumes: {name}: {volume.label}, which was made for /dev/{mapped.device_name}, has {has}, not "
                f"{stated}, and that cannot be changed; leave it out, or delete the volume with ec2like_volume"
            )


def _grown(volume: Volume, mapped: Mapped) -> Volume:
    """Return a volume that is there with the size that is stated."""
    if mapped.size_gib is not None and mapped.size_gib < volume.size_gib:
        raise _bad(
            f"volumes: volume_size: {mapped.size_gib} is less than the {volume.size_gib} GiB of {volume.label}, and "
            "volumes only grow; state at least that"
        )
    return replace(volume, size_gib=mapped.size_gib or volume.size_gib)


def deleted_with(volumes: Sequence[Volume]) -> tuple[str, ...]:
    """Return the ids of those attached volumes that go with their instance."""
    going = [one.volume_id for one in volumes if one.attachment and one.attachment.delete_on_termination]
    return tuple(sorted(going))


def shown(volumes: Sequence[Volume], root: RootDisk) -> dict[str, Any]:
    """Return what a diff shows of the disks of a new instance: what was stated, and nothing that was drawn."""
    told: dict[str, Any] = {}
    stated = {name: value for name, value in asdict(root).items() if value is not None}
    if stated:
        told[f"/dev/{ROOT_DEVICE}"] = stated
    for volume in volumes:
        attachment = volume.attachment
        if attachment:
            told[f"/dev/{attachment.device_name}"] = {
                **{name: getattr(volume, name) for name in ("size_gib", "disk_format", "snapshot_id")},
                "delete_on_termination": attachment.delete_on_termination,
            }
    return {"volumes": told} if told else {}


# Instances that exist


def deleted_after(instance: Instance, mapped: Sequence[Mapped] | None) -> tuple[str, ...]:
    """Return the ids of the volumes that go with an instance once it has what is stated."""
    going = set(instance.volumes_deleted_on_termination)
    by_device = {disk.device_name: disk.volume_id for disk in instance.disks}
    for one in mapped or ():
        made = derived_volume_id(instance.instance_id, one.device_name)
        volume_id = one.volume_id or by_device.get(one.device_name) or made
        goes = one.delete_on_termination
        if goes is None and one.device_name not in by_device:
            goes = one.volume_id is None
        if goes is not None:
            going = going | {volume_id} if goes else going - {volume_id}
    return tuple(sorted(going))


def disk_changes(
    instance: Instance, mapped: Sequence[Mapped] | None, root: RootDisk, shelf: Shelf, now: str
) -> Iterator[Operation]:
    """Yield what the disks of an instance lack of what is stated; those that are not stated stay."""
    yield from _root_growth(instance, root, shelf)
    by_device = {disk.device_name: disk for disk in instance.disks}
    for one in mapped or ():
        disk = by_device.get(one.device_name)
        if disk is None:
            yield from _addition(instance, one, shelf, now)
        else:
            yield from _edit(instance, disk, one, shelf)


def _operation(change: DiskChange, before: Any, after: Any) -> Operation:
    device = change.volume.attachment.device_name if change.volume and change.volume.attachment else ROOT_DEVICE
    return Operation("disk", f"/dev/{device} of {change.instance_id}", before, after, change)


def _addition(instance: Instance, mapped: Mapped, shelf: Shelf, now: str) -> Iterator[Operation]:
    _check_awake(instance)
    volume = _fresh(instance.instance_id, mapped, shelf, now)
    there = shelf.volumes.get(volume.volume_id)
    if there is None or not there.complete:
        yield _operation(DiskChange("make", instance, volume), None, volume.printable())
    yield _operation(DiskChange("attach", instance, volume), None, volume.printable())
    if there is not None and there.complete and there.size_gib < volume.size_gib:
        yield _operation(DiskChange("grow", instance, volume), None, volume.printable())


def _edit(instance: Instance, disk: Disk, mapped: Mapped, shelf: Shelf) -> Iterator[Operation]:
    volume = shelf.volumes.get(disk.volume_id or "")
    if volume is None or volume.attachment is None or mapped.volume_id not in (None, volume.volume_id):
        raise _bad(
            f"volumes: /dev/{disk.device_name} of {instance.label} is taken by {disk.volume_id or 'another disk'}; "
            "state another device_name, or detach what is there with ec2like_volume"
        )
    after = _grown(volume, mapped)
    if after.size_gib > volume.size_gib:
        _check_awake(instance)
        yield _operation(DiskChange("grow", instance, after), volume.printable(), after.printable())
    goes = mapped.delete_on_termination
    if goes is not None and goes != volume.attachment.delete_on_termination:
        kept = replace(after, attachment=replace(volume.attachment, delete_on_termination=goes))
        yield _operation(DiskChange("keep", instance, kept), after.printable(), kept.printable())


def _root_growth(instance: Instance, root: RootDisk, shelf: Shelf) -> Iterator[Operation]:
    size = shelf.root_sizes.get(instance.instance_id)
    if root.size_gib is not None and size is None:
        raise PocketError(
            f"root_size_gib: the root disk of {instance.label} cannot be read, so that nobody knows its size; put its "
            "file back, or terminate the instance",
            code="IncorrectState",
        )
    if root.size_gib is None or size is None or root.size_gib == size:
        return
    if root.size_gib < size:
        raise _bad(
            f"root_size_gib: {root.size_gib} is less than the {size} GiB that the root disk of {instance.label} has, "
            "and disks only grow; state at least that"
        )
    _check_awake(instance)
    change = DiskChange("grow root", instance, size_gib=root.size_gib)
    yield _operation(change, {"size_gib": size}, {"size_gib": root.size_gib})


def missing_disk(asked: Sequence[Volume], found: Instance) -> Volume | None:
    """Return the first of the volumes that were to be attached and are not, as libvirt tells."""
    there = {(disk.device_name, disk.volume_id) for disk in found.disks}
    for volume in asked:
        if volume.attachment and (volume.attachment.device_name, volume.volume_id) not in there:
            return volume
    return None


def root_disk_of(instance: Instance) -> Disk | None:
    """Return the root disk of an instance, none where somebody took it away."""
    return next((disk for disk in instance.disks if disk.device_name == ROOT_DEVICE), None)


def _check_awake(instance: Instance) -> None:
    if instance.hibernated:
        raise PocketError(
            f"volumes: {instance.label} is hibernated, and what it was doing depends on its disks; start it first",
            code="IncorrectInstanceState",
        )


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
