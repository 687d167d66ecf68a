# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a volume and a snapshot are. Pure. PRIVATE to the collection.

To what a volume is attached is told by the domains, and only by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .disks import Disk, serial_of
from .model import Instance

__all__ = [
    "LARGEST_GIB",
    "SNAPSHOT_FILTERS",
    "VOLUME_FILTERS",
    "Attachment",
    "Snapshot",
    "Volume",
    "attachments_of",
    "check_size",
    "check_snapshot_id",
    "check_volume_id",
    "disk_at",
    "disk_of",
]

LARGEST_GIB = 65536  # 64 TiB, the most that EC2 has
_VOLUME_ID = re.compile(r"vol-[0-9a-f]{17}")
_SNAPSHOT_ID = re.compile(r"snap-[0-9a-f]{17}")


@dataclass(frozen=True)
class Attachment:
    """What a volume is attached to."""

    instance_id: str
    device_name: str
    delete_on_termination: bool = False


@dataclass(frozen=True)
class Volume:
    """A disk that lives by itself.

    :param snapshot_id: the snapshot that it was made from.
    :param complete: false while it is being made.
    :param beside_launches: whether who makes it, if that run lives, holds the lock of volumes alone.
    :param intact: whether its file is there.
    :param defined: false where only the machine as it runs has it, and not the definition that it starts with.
    """

    volume_id: str
    size_gib: int
    disk_format: str
    create_time: str
    path: Path
    tags: Mapping[str, str] = field(default_factory=dict)
    snapshot_id: str | None = None
    complete: bool = True
    beside_launches: bool = False
    intact: bool = True
    attachment: Attachment | None = None
    defined: bool = True

    @property
    def name(self) -> str | None:
        """The tag C(Name)."""
        return self.tags.get("Name")

    @property
    def label(self) -> str:
        """How a message names it."""
        return f"{self.volume_id} ({self.name})" if self.name else self.volume_id

    @property
    def state(self) -> str:
        """EC2's word: C(creating), C(available), C(in-use) or C(error)."""
        if not self.complete:
            return "creating"
        if not self.intact:
            return "error"
        return "in-use" if self.attachment else "available"

    def ec2(self) -> dict[str, Any]:
        """Return EC2's description of it, members in snake case."""
        return {
            "volume_id": self.volume_id,
            **self.printable(),
            "create_time": self.create_time,
            "serial": serial_of(self.volume_id),
            "path": str(self.path),
        }

    def printable(self) -> dict[str, Any]:
        """Return what a diff shows of it."""
        attachment = self.attachment
        return {
            "state": self.state,
            "size_gib": self.size_gib,
            "disk_format": self.disk_format,
            "snapshot_id": self.snapshot_id,
            "tags": dict(sorted(self.tags.items())),
            "attachments": [
                {
                    "instance_id": attachment.instance_id,
                    "device_name": f"/dev/{attachment.device_name}",
                    "delete_on_termination": attachment.delete_on_termination,
                }
            ]
            if attachment
            else [],
        }


@dataclass(frozen=True)
class Snapshot:
    """A disk as it was at one moment, a file that stands alone.

    :param volume_id: the volume whose content it is; none for the root disk of an instance.
    :param instance_id: the instance whose root disk it is, or that had the volume.
    :param progress: in percent; 100 is complete.
    :param intact: whether its file is there.
    """

    snapshot_id: str
    volume_size: int
    start_time: str
    path: Path
    volume_id: str | None = None
    instance_id: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    progress: int = 100
    intact: bool = True

    @property
    def name(self) -> str | None:
        """The tag C(Name)."""
        return self.tags.get("Name")

    @property
    def state(self) -> str:
        """EC2's word: C(pending), C(completed) or C(error)."""
        if self.progress != 100:
            return "pending"
        return "completed" if self.intact else "error"

    def ec2(self) -> dict[str, Any]:
        """Return EC2's description of it, members in snake case."""
        return {
            "snapshot_id": self.snapshot_id,
            **self.printable(),
            "progress": f"{self.progress}%",
            "start_time": self.start_time,
            "path": str(self.path),
        }

    def printable(self) -> dict[str, Any]:
        """Return what a diff shows of it."""
        return {
            "state": self.state,
            "volume_id": self.volume_id,
            "instance_id": self.instance_id,
            "volume_size": self.volume_size,
            "description": self.description,
            "tags": dict(sorted(self.tags.items())),
        }


def attachments_of(instances: Iterable[Instance]) -> dict[str, Attachment]:
    """Return which volume is attached where, by volume id."""
    return {
        disk.volume_id: Attachment(
            instance.instance_id, disk.device_name, disk.volume_id in instance.volumes_deleted_on_termination
        )
        for instance in instances
        for disk in instance.disks
        if disk.volume_id
    }


def disk_at(instance: Instance, device_name: str) -> Disk:
    """Return the disk of `instance` that has that name."""
    for disk in instance.disks:
        if disk.device_name == device_name:
            return disk
    raise PocketError(
        f"device_name: the instance {instance.label} has no disk /dev/{device_name}; it has "
        + ", ".join(f"/dev/{disk.device_name}" for disk in instance.disks),
        code="InvalidParameterValue",
    )


def disk_of(volume: Volume) -> Disk:
    """Return the disk that an attached volume is."""
    if volume.attachment is None:
        raise ValueError(f"{volume.volume_id} is not attached")
    return Disk(volume.attachment.device_name, volume.path, volume.disk_format, volume.volume_id)


def check_volume_id(given: str, parameter: str = "volume_id") -> str:
    """Return `given`, or raise InvalidVolumeID.Malformed."""
    if not _VOLUME_ID.fullmatch(given):
        raise PocketError(
            f"{parameter}: {given!r} is no volume id; one is 'vol-' and 17 hexadecimal digits",
            code="InvalidVolumeID.Malformed",
        )
    return given


def check_snapshot_id(given: str, parameter: str = "snapshot_id") -> str:
    """Return `given`, or raise InvalidSnapshotID.Malformed."""
    if not _SNAPSHOT_ID.fullmatch(given):
        raise PocketError(
            f"{parameter}: {given!r} is no snapshot id; one is 'snap-' and 17 hexadecimal digits",
            code="InvalidSnapshotID.Malformed",
        )
    return given


def check_size(given: int | None, parameter: str = "size_gib") -> int | None:
    """Return `given`, or raise InvalidParameterValue."""
    if given is not None and not 1 <= given <= LARGEST_GIB:
        raise PocketError(
            f"{parameter}: {given} is out of range; a disk has 1 to {LARGEST_GIB} GiB", code="InvalidParameterValue"
        )
    return given


def _of_attachment(name: str) -> Any:
    def values(volume: Volume) -> list[str]:
        return [str(getattr(volume.attachment, name)).lower()] if volume.attachment else []

    return values


# EC2's filters: name -> the values that a volume or a snapshot has for it.
VOLUME_FILTERS: dict[str, Any] = {
    "attachment.delete-on-termination": _of_attachment("delete_on_termination"),
    "attachment.device": lambda volume: [f"/dev/{volume.attachment.device_name}"] if volume.attachment else [],
    "attachment.instance-id": _of_attachment("instance_id"),
    "attachment.status": lambda volume: ["attached"] if volume.attachment else [],
    "create-time": lambda volume: [volume.create_time],
    "size": lambda volume: [str(volume.size_gib)],
    "snapshot-id": lambda volume: [volume.snapshot_id] if volume.snapshot_id else [],
    "status": lambda volume: [volume.state],
    "tag-key": lambda volume: list(volume.tags),
    "volume-id": lambda volume: [volume.volume_id],
}
SNAPSHOT_FILTERS: dict[str, Any] = {
    "description": lambda snapshot: [snapshot.description],
    "instance-id": lambda snapshot: [snapshot.instance_id] if snapshot.instance_id else [],
    "progress": lambda snapshot: [f"{snapshot.progress}%"],
    "snapshot-id": lambda snapshot: [snapshot.snapshot_id],
    "start-time": lambda snapshot: [snapshot.start_time],
    "status": lambda snapshot: [snapshot.state],
    "tag-key": lambda snapshot: list(snapshot.tags),
    "volume-id": lambda snapshot: [snapshot.volume_id] if snapshot.volume_id else [],
    "volume-size": lambda snapshot: [str(snapshot.volume_size)],
}
