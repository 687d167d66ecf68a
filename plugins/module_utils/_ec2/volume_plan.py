# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a volume, and the writes that it takes. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .disks import derived_volume_id, device_of, free_device
from .model import LAUNCHED, Instance, check_instance_id, check_tags, within_limit
from .volumes import Attachment, Snapshot, Volume, check_size, check_snapshot_id, check_volume_id

__all__ = [
    "Current",
    "Planned",
    "VolumeRequest",
    "find",
    "find_snapshot",
    "make_plan",
    "named_tags",
    "parse",
    "tags_after",
]


@dataclass(frozen=True)
class VolumeRequest:
    """What the user states; none is unstated.

    :param instance: to what it is to be attached; empty for nothing.
    :param device_name: the target in the domain.
    """

    state: str = "present"
    volume_id: str | None = None
    name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    purge_tags: bool = False
    size_gib: int | None = None
    disk_format: str | None = None
    snapshot_id: str | None = None
    instance: str | None = None
    device_name: str | None = None
    delete_on_termination: bool | None = None

    @property
    def derived_id(self) -> str | None:
        """The id of a volume that has no name but its place, so that the next run finds what one that died has made."""
        if self.volume_id or self.name or not (self.instance and self.device_name):
            return None
        return derived_volume_id(self.instance, self.device_name)

    @property
    def label(self) -> str:
        """How a message and a diff name what is not there yet."""
        return self.name or self.volume_id or f"{self.device_name} of {self.instance}"


@dataclass(frozen=True)
class Current:
    """What a request meets.

    :param blank: the id, the time and the directory for a new volume.
    :param leftovers: what runs that died have left.
    """

    blank: tuple[str, str, Path]
    volumes: Sequence[Volume] = ()
    snapshots: Sequence[Snapshot] = ()
    instances: Sequence[Instance] = ()
    leftovers: Sequence[str] = ()


@dataclass(frozen=True)
class Planned:
    """The plan, and the volume as it is to be, none where there is to be none."""

    plan: Plan
    volume: Volume | None
    is_new: bool = False


# From parameters to a request


def parse(params: Mapping[str, Any]) -> VolumeRequest:
    """The request that a module's parameters state; PocketError names the one that is wrong."""
    instance = params["instance"]
    request = VolumeRequest(
        state=params["state"],
        volume_id=None if params["volume_id"] is None else check_volume_id(params["volume_id"]),
        name=params["name"],
        tags=named_tags(params),
        purge_tags=params["purge_tags"] and params["tags"] is not None,
        size_gib=check_size(params["size_gib"]),
        disk_format=params["disk_format"],
        snapshot_id=None if params["snapshot_id"] is None else check_snapshot_id(params["snapshot_id"]),
        instance=check_instance_id(instance, "instance") if instance else instance,
        device_name=None if params["device_name"] is None else device_of(params["device_name"]),
        delete_on_termination=params["delete_on_termination"],
    )
    if request.volume_id is None and request.name is None and not (request.instance and request.device_name):
        raise PocketError(
            f"state {request.state} needs to know which volume is meant: give volume_id or name, or instance with "
            "device_name",
            code="MissingParameter",
        )
    return request


def named_tags(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags stated, with the tag C(Name) where a name is."""
    tags = check_tags(params["tags"])
    if params["name"] is None:
        return tags
    if not params["name"]:
        raise _bad("name: is empty; give a name, or leave it out")
    return within_limit({**tags, **check_tags({"Name": params["name"]}, "name")})


def tags_after(old: Mapping[str, str], request_tags: Mapping[str, str], purge: bool) -> dict[str, str]:
    """Return the tags that `old` becomes."""
    kept = {key: value for key, value in old.items() if not purge or key == "Name"}
    return within_limit({**kept, **request_tags})


# The plan


def _check_awake(operations: Sequence[Operation], current: Current) -> None:
    """Refuse changes to the disks of a hibernated machine: what it was doing depends on what it has."""
    asleep = {one.instance_id: one for one in current.instances if one.hibernated}
    for operation in operations:
        attachment = operation.payload.attachment if operation.action in ("attach", "detach", "grow") else None
        if attachment and attachment.instance_id in asleep:
            raise PocketError(
                f"instance: {asleep[attachment.instance_id].label} is hibernated, and what it was doing depends on its "
                "disks; start it first",
                code="IncorrectInstanceState",
            )


def make_plan(request: VolumeRequest, current: Current) -> Planned:
    """What brings what is to what is asked; PocketError where EC2 would refuse."""
    sweep = [Operation("sweep", f"leftover {name}", {"state": "creating"}, None, name) for name in current.leftovers]
    found = find(request, current)
    if request.state == "absent":
        if found is None:
            return Planned(Plan(tuple(sweep)), None)
        return Planned(Plan((*sweep, _deletion(found))), None)
    if found is None:
        fresh = _new(request, current)
        subject = f"volume {request.label}"
        create = Operation("create", subject, None, fresh.printable(), fresh)
        volume, changes = _attachment(fresh, request, current, subject)
        _check_awake(changes, current)
        return Planned(Plan((*sweep, create, *changes)), volume, is_new=True)
    volume, changes = _changes(found, request, current)
    _check_awake(changes, current)
    return Planned(Plan((*sweep, *changes)), volume)


def find(request: VolumeRequest, current: Current) -> Volume | None:
    """Return the volume that is meant, none where there is none."""
    complete = [volume for volume in current.volumes if volume.complete]
    if request.volume_id is not None:
        found = [volume for volume in complete if volume.volume_id == request.volume_id]
        if not found and request.state == "present":
            raise PocketError(
                f"volume_id: there is no volume {request.volume_id} on this host; to make a new one, give a name "
                "instead",
                code="InvalidVolume.NotFound",
            )
    elif request.name is not None:
        found = [volume for volume in complete if volume.name == request.name]
    else:
        at = (request.instance, request.device_name)
        found = [
            volume
            for volume in complete
            if volume.attachment and (volume.attachment.instance_id, volume.attachment.device_name) == at
        ]
        if not found:  # made by a run that could not attach it, or detached since
            found = [volume for volume in complete if volume.volume_id == request.derived_id]
    if len(found) > 1:
        ids = ", ".join(volume.volume_id for volume in found)
        raise _bad(f"name: {request.name!r} is the name of several volumes ({ids}); state volume_id")
    return found[0] if found else None


def _deletion(volume: Volume) -> Operation:
    if volume.attachment:
        raise PocketError(
            f"The volume {volume.label} cannot be deleted, for it is attached to {volume.attachment.instance_id}; "
            "detach it first, with an empty instance",
            code="VolumeInUse",
        )
    return Operation("delete", f"volume {volume.label}", volume.printable(), None, volume)


def _new(request: VolumeRequest, current: Current) -> Volume:
    if request.instance == "":
        raise PocketError(
            f"instance: is empty, but there is no volume {request.label} that could be detached; leave instance out "
            "to make one",
            code="InvalidVolume.NotFound",
        )
    snapshot = None if request.snapshot_id is None else find_snapshot(request.snapshot_id, current.snapshots)
    size = request.size_gib or (snapshot.volume_size if snapshot else None)
    if size is None:
        raise PocketError(
            f"size_gib is missing: the volume {request.label} is to be made; give its size, or a snapshot_id",
            code="MissingParameter",
        )
    if snapshot and size < snapshot.volume_size:
        raise _bad(
            f"size_gib: {size} is less than the {snapshot.volume_size} GiB of the snapshot {snapshot.snapshot_id}; "
            "state at least that"
        )
    volume_id, now, directory = current.blank
    disk_format = request.disk_format or "qcow2"
    path = directory / f"{volume_id}.{disk_format}"
    return Volume(volume_id, size, disk_format, now, path, request.tags, request.snapshot_id)


def find_snapshot(snapshot_id: str, snapshots: Sequence[Snapshot], parameter: str = "snapshot_id") -> Snapshot:
    """Return the snapshot of that id, which must be complete."""
    for snapshot in snapshots:
        if snapshot.snapshot_id == snapshot_id:
            if snapshot.progress == 100:  # whether its file is what it should be is looked at by whoever reads it
                return snapshot
            raise PocketError(
                f"{parameter}: {snapshot_id} is {snapshot.state}; wait until it is completed", code="IncorrectState"
            )
    raise PocketError(
        f"{parameter}: there is no snapshot {snapshot_id} on this host; ec2like_snapshot_info lists those there are",
        code="InvalidSnapshot.NotFound",
    )


def _changes(volume: Volume, request: VolumeRequest, current: Current) -> tuple[Volume, list[Operation]]:
    _check_unchangeable(volume, request)
    subject = f"volume {volume.label}"
    operations = []
    tagged = replace(volume, tags=tags_after(volume.tags, request.tags, request.purge_tags))
    if tagged.tags != volume.tags:
        operations.append(Operation("tag", subject, volume.printable(), tagged.printable(), tagged))
    grown = replace(tagged, size_gib=request.size_gib or volume.size_gib)
    if grown.size_gib < volume.size_gib:
        raise _bad(
            f"size_gib: {request.size_gib} is less than the {volume.size_gib} GiB that the volume {volume.label} has, "
            "and volumes only grow; state at least that"
        )
    if grown.size_gib > volume.size_gib:
        operations.append(Operation("grow", subject, tagged.printable(), grown.printable(), grown))
    attached, changes = _attachment(grown, request, current, subject)
    return attached, [*operations, *changes]


def _check_unchangeable(volume: Volume, request: VolumeRequest) -> None:
    for name in ("disk_format", "snapshot_id"):
        stated, has = getattr(request, name), getattr(volume, name)
        if stated not in (None, has):
            raise _bad(
                f"{name}: the volume {volume.label} has {has}, not {stated}, and that cannot be changed; leave it out, "
                "or make another volume under another name"
            )


def _attachment(
    volume: Volume, request: VolumeRequest, current: Current, subject: str
) -> tuple[Volume, list[Operation]]:
    """Return the volume as it is attached then, and what takes it there."""
    if request.instance == "":
        return _detachment(volume, request, subject)
    if volume.attachment and request.instance in (None, volume.attachment.instance_id):
        return _kept(volume, volume.attachment, request, subject)
    if request.instance is None:
        for name in ("device_name", "delete_on_termination"):
            if getattr(request, name) is not None:
                raise PocketError(
                    f"{name}: the {subject} is attached to nothing; state the instance, too",
                    code="MissingParameter",
                )
        return volume, []
    if volume.attachment:
        raise PocketError(
            f"instance: the volume {volume.label} is attached to {volume.attachment.instance_id}; detach it there "
            "first, with an empty instance",
            code="VolumeInUse",
        )
    instance = _instance(request.instance, current)
    taken = {disk.device_name for disk in instance.disks}
    device = request.device_name or free_device(taken, instance.label)
    if device in taken:
        raise _bad(
            f"device_name: /dev/{device} of the instance {instance.label} is taken; state another, or leave it out"
        )
    after = replace(volume, attachment=Attachment(instance.instance_id, device, bool(request.delete_on_termination)))
    return after, [Operation("attach", subject, volume.printable(), after.printable(), after)]


def _detachment(volume: Volume, request: VolumeRequest, subject: str) -> tuple[Volume, list[Operation]]:
    attachment = volume.attachment
    if attachment is None:
        return volume, []
    if request.device_name not in (None, attachment.device_name):
        raise PocketError(
            f"device_name: the volume {volume.label} is attached as /dev/{attachment.device_name}, not as "
            f"/dev/{request.device_name}; leave it out to detach the volume",
            code="InvalidAttachment.NotFound",
        )
    after = replace(volume, attachment=None)
    return after, [Operation("detach", subject, volume.printable(), after.printable(), volume)]


def _kept(
    volume: Volume, attachment: Attachment, request: VolumeRequest, subject: str
) -> tuple[Volume, list[Operation]]:
    if request.device_name not in (None, attachment.device_name):
        raise _bad(
            f"device_name: the volume {volume.label} is attached as /dev/{attachment.device_name}, not as "
            f"/dev/{request.device_name}; detach it first, with an empty instance"
        )
    if request.instance and not volume.defined:
        goes = bool(request.delete_on_termination)
        after = replace(volume, attachment=replace(attachment, delete_on_termination=goes), defined=True)
        before = replace(volume, attachment=None)
        return after, [Operation("attach", subject, before.printable(), after.printable(), after)]
    if request.delete_on_termination in (None, attachment.delete_on_termination):
        return volume, []
    after = replace(volume, attachment=replace(attachment, delete_on_termination=request.delete_on_termination))
    return after, [Operation("keep", subject, volume.printable(), after.printable(), after)]


def _instance(instance_id: str, current: Current) -> Instance:
    for instance in current.instances:
        if instance.instance_id == instance_id:
            if instance.phase == LAUNCHED:
                return instance
            raise PocketError(
                f"instance: {instance.label} is {instance.state}; no volume can be attached to it",
                code="IncorrectInstanceState",
            )
    raise PocketError(f"instance: there is no instance {instance_id} on this host", code="InvalidInstanceID.NotFound")


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
