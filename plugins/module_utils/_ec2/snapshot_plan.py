# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a snapshot, and the writes that it takes. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .disks import ROOT_DEVICE, Disk, device_of, is_root_device
from .freezing import check_freezable
from .model import LAUNCHED, Instance, check_description, check_instance_id
from .volume_plan import named_tags, tags_after
from .volumes import Snapshot, Volume, check_snapshot_id, check_volume_id, disk_at, disk_of

__all__ = ["Copying", "Current", "Planned", "SnapshotRequest", "find", "make_plan", "parse", "source_of"]

_OLDEST = 100 * 366 * 24 * 60
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class SnapshotRequest:
    """What the user states; none is unstated."""

    state: str = "present"
    snapshot_id: str | None = None
    name: str | None = None
    volume_id: str | None = None
    instance_id: str | None = None
    device_name: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    purge_tags: bool = False
    freeze: bool = False
    last_snapshot_min_age: int = 0

    @property
    def label(self) -> str:
        """How a diff names what is not there yet."""
        return self.name or f"of {self.volume_id or self.instance_id}"


@dataclass(frozen=True)
class Current:
    """What a request meets.

    :param blank: the id, the time and the directory for a new snapshot.
    :param size_gib: of the disk that is to be copied.
    :param leftovers: what runs that died have left.
    """

    blank: tuple[str, str, Path]
    snapshots: Sequence[Snapshot] = ()
    volumes: Sequence[Volume] = ()
    instances: Sequence[Instance] = ()
    size_gib: int = 0
    leftovers: Sequence[str] = ()


@dataclass(frozen=True)
class Copying:
    """A snapshot that is to be made, and of what.

    :param instance: what the disk is attached to, if it is.
    """

    snapshot: Snapshot
    disk: Disk
    instance: Instance | None


@dataclass(frozen=True)
class Planned:
    """The plan, and the snapshot as it is to be, none where there is to be none."""

    plan: Plan
    snapshot: Snapshot | None
    is_new: bool = False


def parse(params: Mapping[str, Any]) -> SnapshotRequest:
    """The request that a module's parameters state; PocketError names the one that is wrong."""
    instance_id, device = params["instance_id"], params["device_name"]
    request = SnapshotRequest(
        state=params["state"],
        snapshot_id=None if params["snapshot_id"] is None else check_snapshot_id(params["snapshot_id"]),
        name=params["name"],
        volume_id=None if params["volume_id"] is None else check_volume_id(params["volume_id"]),
        instance_id=None if instance_id is None else check_instance_id(instance_id, "instance_id"),
        device_name=None if device is None else ROOT_DEVICE if is_root_device(device) else device_of(device),
        description=params["description"],
        tags=named_tags(params),
        purge_tags=params["purge_tags"] and params["tags"] is not None,
        freeze=params["freeze"],
        last_snapshot_min_age=params["last_snapshot_min_age"],
    )
    _check(request)
    return request


def _check(request: SnapshotRequest) -> None:
    known = request.snapshot_id is not None or request.name is not None
    if request.state == "absent" and not known:
        raise _missing("state absent needs to know which snapshot is meant: give snapshot_id or name")
    if not known and request.volume_id is None and request.instance_id is None:
        raise _missing(
            "it is not stated which snapshot is meant: give snapshot_id or name, or volume_id or instance_id, of which "
            "to make one"
        )
    if request.volume_id is not None and request.instance_id is not None:
        raise PocketError(
            "volume_id: cannot be combined with instance_id; state the one of which to make a snapshot",
            code="InvalidParameterCombination",
        )
    if request.device_name is not None and request.instance_id is None:
        raise _missing("device_name: is a device of an instance; state instance_id, too")
    if not 0 <= request.last_snapshot_min_age <= _OLDEST:
        raise _bad(
            f"last_snapshot_min_age: {request.last_snapshot_min_age} is out of range; give minutes, 0 to {_OLDEST}"
        )
    if request.last_snapshot_min_age and known:
        raise PocketError(
            "last_snapshot_min_age: cannot be combined with a name or snapshot_id, which say themselves whether there "
            "is the snapshot; state one of them",
            code="InvalidParameterCombination",
        )
    check_description(request.description)


def find(request: SnapshotRequest, snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """Return the snapshot that is meant, none where there is none."""
    complete = [snapshot for snapshot in snapshots if snapshot.progress == 100]
    if request.snapshot_id is not None:
        found = [snapshot for snapshot in complete if snapshot.snapshot_id == request.snapshot_id]
        if not found and request.state == "present":
            raise PocketError(
                f"snapshot_id: there is no snapshot {request.snapshot_id} on this host; ec2like_snapshot_info lists "
                "those there are",
                code="InvalidSnapshot.NotFound",
            )
    else:
        found = [snapshot for snapshot in complete if snapshot.name is not None and snapshot.name == request.name]
    if len(found) > 1:
        ids = ", ".join(snapshot.snapshot_id for snapshot in found)
        raise _bad(f"name: {request.name!r} is the name of several snapshots ({ids}); state snapshot_id")
    return found[0] if found else None


def source_of(
    request: SnapshotRequest, volumes: Sequence[Volume], instances: Sequence[Instance]
) -> tuple[Disk, Instance | None]:
    """Return the disk that the request is about, and what it is attached to."""
    by_id = {instance.instance_id: instance for instance in instances}
    if request.volume_id is not None:
        for volume in volumes:
            if volume.volume_id == request.volume_id and volume.complete:
                if volume.attachment is None:
                    return Disk("", volume.path, volume.disk_format, volume.volume_id), None
                return disk_of(volume), by_id[volume.attachment.instance_id]
        raise PocketError(
            f"volume_id: there is no volume {request.volume_id} on this host; ec2like_volume_info lists those there "
            "are",
            code="InvalidVolume.NotFound",
        )
    instance = by_id.get(str(request.instance_id))
    if instance is None:
        raise PocketError(
            f"instance_id: there is no instance {request.instance_id} on this host", code="InvalidInstanceID.NotFound"
        )
    if instance.phase != LAUNCHED:
        raise PocketError(
            f"instance_id: {instance.label} is {instance.state}; no snapshot can be made of it",
            code="IncorrectInstanceState",
        )
    disk = disk_at(instance, request.device_name or ROOT_DEVICE)
    if disk.volume_id is None and disk.device_name != ROOT_DEVICE:
        raise _bad(
            f"device_name: /dev/{disk.device_name} of {instance.label} is neither its root disk nor a volume; state "
            "one of these"
        )
    return disk, instance


def make_plan(request: SnapshotRequest, current: Current) -> Planned:
    """What brings what is to what is asked; PocketError where EC2 would refuse."""
    sweep = [Operation("sweep", f"leftover {name}", {"state": "pending"}, None, name) for name in current.leftovers]
    found = find(request, current.snapshots)
    if request.state == "absent":
        gone = [Operation("delete", f"snapshot {found.snapshot_id}", found.printable(), None, found)] if found else []
        return Planned(Plan((*sweep, *gone)), None)
    if found is None and request.last_snapshot_min_age:
        found = _recent(request, current)
    if found is not None:
        _check_same(found, request, current)
        after = _edited(found, request)
        edit = Operation("edit", f"snapshot {found.snapshot_id}", found.printable(), after.printable(), after)
        return Planned(Plan((*sweep, edit) if after != found else tuple(sweep)), after)
    if request.volume_id is None and request.instance_id is None:
        raise _missing(
            f"volume_id or instance_id is missing: there is no snapshot {request.name!r}; state of what to make it"
        )
    copying = _copying(request, current)
    shown = copying.snapshot.printable()
    create = Operation("create", f"snapshot {request.label}", None, shown, copying)
    return Planned(Plan((*sweep, create)), copying.snapshot, is_new=True)


def _recent(request: SnapshotRequest, current: Current) -> Snapshot | None:
    """Return the newest snapshot of the same disk, if it is not as old yet as there is to be another."""
    disk, instance = source_of(request, current.volumes, current.instances)
    _snapshot_id, now, _directory = current.blank
    oldest = datetime.strptime(now, _TIME) - timedelta(minutes=request.last_snapshot_min_age)
    for snapshot in reversed(current.snapshots):
        of_root = disk.volume_id is None and instance is not None and snapshot.instance_id == instance.instance_id
        same = snapshot.volume_id == disk.volume_id and (disk.volume_id is not None or of_root)
        if same and snapshot.state == "completed" and snapshot.start_time > oldest.strftime(_TIME):
            return snapshot
    return None


def _copying(request: SnapshotRequest, current: Current) -> Copying:
    disk, instance = source_of(request, current.volumes, current.instances)
    if request.freeze:
        check_freezable(instance)
    snapshot_id, now, directory = current.blank
    snapshot = Snapshot(
        snapshot_id=snapshot_id,
        volume_size=current.size_gib,
        start_time=now,
        path=directory / f"{snapshot_id}.qcow2",
        volume_id=disk.volume_id,
        instance_id=instance.instance_id if instance else None,
        description=request.description or "",
        tags=request.tags,
    )
    return Copying(snapshot, disk, instance)


def _check_same(snapshot: Snapshot, request: SnapshotRequest, current: Current) -> None:
    """Refuse a snapshot of another disk than the stated one."""
    if request.volume_id is not None:
        name, stated, same = "volume_id", request.volume_id, snapshot.volume_id == request.volume_id
    elif request.instance_id is not None:
        device = request.device_name or ROOT_DEVICE
        name, stated = "instance_id, device_name", f"/dev/{device} of {request.instance_id}"
        same = _is_of_device(snapshot, request.instance_id, device, current.instances)
    else:
        return
    if not same:
        has = snapshot.volume_id or f"/dev/{ROOT_DEVICE} of {snapshot.instance_id}"
        raise _bad(
            f"{name}: the snapshot {snapshot.snapshot_id} is of {has}, not of {stated}; make another under another "
            "name, or delete this one first"
        )


def _is_of_device(snapshot: Snapshot, instance_id: str, device: str, instances: Sequence[Instance]) -> bool:
    if device == ROOT_DEVICE:
        return (snapshot.volume_id, snapshot.instance_id) == (None, instance_id)
    attached = [disk for one in instances if one.instance_id == instance_id for disk in one.disks]
    there = next((disk.volume_id for disk in attached if disk.device_name == device), None)
    if there is not None:
        return snapshot.volume_id == there
    # Detached since, or the instance is gone: which of its volumes it was nobody knows any more.
    return snapshot.volume_id is not None and snapshot.instance_id == instance_id


def _edited(snapshot: Snapshot, request: SnapshotRequest) -> Snapshot:
    description = snapshot.description if request.description is None else request.description
    tags = tags_after(snapshot.tags, request.tags, request.purge_tags)
    return replace(snapshot, description=description, tags=tags)


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")


def _missing(message: str) -> PocketError:
    return PocketError(message, code="MissingParameter")
