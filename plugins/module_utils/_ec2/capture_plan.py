# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of an image of an instance, and the writes that it takes. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .._seconds import check_seconds
from .freezing import check_freezable
from .image_plan import check_name
from .images import Image
from .model import IMAGING, LAUNCHED, Instance, check_description, check_instance_id
from .request import Current as Host
from .starts import check_start

__all__ = [
    "CaptureRequest",
    "Current",
    "described_after",
    "is_owed_a_start",
    "make_plan",
    "parse",
    "subject_of",
    "warnings",
]


@dataclass(frozen=True)
class CaptureRequest:
    """What the user states; none is unstated."""

    name: str
    instance_id: str
    description: str | None = None
    no_reboot: bool = False
    freeze: bool = False
    stop_timeout: float = 60

    def stops(self, instance: Instance) -> bool:
        """Whether `instance` is stopped while its disk is copied."""
        return instance.state != "stopped" and not self.no_reboot


@dataclass(frozen=True)
class Current:
    """What a request meets.

    :param image: the named one, if it is registered, and whether its file is damaged.
    :param size_gib: of the instance's root disk.
    :param leftovers: files that runs which died have left.
    :param stopped: instances that such a run has stopped, and that are to be started again.
    :param host: what starts depend on; read only where something may be started.
    """

    instances: Sequence[Instance]
    image: Image | None
    damaged: bool
    size_gib: int
    leftovers: Sequence[Path]
    stopped: Sequence[Instance]
    host: Host


def parse(params: Mapping[str, Any]) -> CaptureRequest:
    """The request that a module's parameters state; PocketError names the one that is wrong."""
    _check(params)
    return CaptureRequest(
        name=params["name"],
        instance_id=params["instance_id"],
        description=params["description"],
        no_reboot=params["no_reboot"],
        freeze=params["freeze"],
        stop_timeout=params["stop_timeout"],
    )


def _check(params: Mapping[str, Any]) -> None:
    check_name(params["name"])
    check_instance_id(params["instance_id"], "instance_id")
    check_description(params["description"])
    for option in ("path", "url", "checksum"):
        if params[option] is not None:
            raise PocketError(
                f"{option}: cannot be combined with instance_id; the image is made of one or the other",
                code="InvalidParameterCombination",
            )
    if params["state"] != "present":
        raise PocketError(
            "instance_id: has no meaning with state absent; leave it out", code="InvalidParameterCombination"
        )
    if params["disk_format"] == "raw":
        raise PocketError(
            "disk_format: an image of an instance is qcow2; state qcow2 or auto", code="InvalidParameterValue"
        )
    if params["freeze"] and not params["no_reboot"]:
        raise PocketError(
            "freeze: is for an instance that goes on while its disk is copied; state no_reboot: true, too",
            code="InvalidParameterCombination",
        )
    check_seconds("stop_timeout", params["stop_timeout"])


def is_owed_a_start(instance: Instance) -> bool:
    """Whether a run has stopped it for an image, and died before it could start it again."""
    return instance.state == "stopped" and instance.state_reason.startswith(IMAGING)


def subject_of(request: CaptureRequest, instances: Sequence[Instance]) -> Instance:
    """Return the instance of which the image is to be made."""
    for instance in instances:
        if instance.instance_id == request.instance_id:
            if instance.phase == LAUNCHED:
                return instance
            raise PocketError(
                f"instance_id: {instance.label} is {instance.state}; no image can be made of it",
                code="IncorrectInstanceState",
            )
    raise PocketError(
        f"instance_id: there is no instance {request.instance_id} on this host", code="InvalidInstanceID.NotFound"
    )


def make_plan(request: CaptureRequest, current: Current) -> Plan:
    """The writes that bring what is to what is asked; PocketError where EC2 would refuse, or what is stopped stays so.

    A start comes before the copy of another disk, which may take long, and after that of its own.
    """
    sweep = [
        Operation("sweep", f"leftover file {path.name}", {"image": None}, None, path) for path in current.leftovers
    ]
    ready, _asleep = _owed(request, current)
    first = [_start(one) for one in ready if one.instance_id != request.instance_id]
    last = [_start(one) for one in ready if one.instance_id == request.instance_id]
    image, subject = current.image, f"image {request.name}"
    if image is not None:
        _check_same(request, image)
    if image is None or current.damaged:
        instance = subject_of(request, current.instances)
        _check_capture(request, instance, current)
        after = described_after(request, current)
        return Plan((*sweep, *first, Operation("capture", subject, _shown(image), after, instance), *last))
    operations = [*sweep, *first, *last]
    if request.description not in (None, image.description):
        edited = replace(image, description=str(request.description))
        operations.append(Operation("edit", subject, _shown(image), _shown(edited), edited))
    return Plan(tuple(operations))


def _start(instance: Instance) -> Operation:
    after = instance.with_state("running").printable()
    return Operation("start", instance.instance_id, instance.printable(), after, instance)


def _owed(request: CaptureRequest, current: Current) -> tuple[list[Instance], list[str]]:
    """Return those that a run which died was to start, and what to say of those of them that cannot be.

    The one that the request is about must be.
    """
    ready: list[Instance] = []
    asleep = []
    running = [one for one in current.instances if one.state != "stopped"]
    for instance in sorted(current.stopped, key=lambda one: one.instance_id != request.instance_id):
        try:
            check_start(instance, current.host)
            if current.host.capacity:
                current.host.capacity.check_starts([*ready, instance], running)
        except PocketError as error:
            said = (
                f"{instance.label} was stopped for an image by a run that died, and stays stopped: {error.message}; or "
                "have it stay so with state: stopped of ec2like_instance"
            )
            if instance.instance_id == request.instance_id:
                raise PocketError(f"instance_id: {said}", code=error.code) from error
            asleep.append(said)
        else:
            ready.append(instance)
    return ready, asleep


def _check_capture(request: CaptureRequest, instance: Instance, current: Current) -> None:
    if request.freeze and not is_owed_a_start(instance):
        check_freezable(instance)
    if request.stops(instance):
        try:
            check_start(instance, current.host)
        except PocketError as error:
            raise PocketError(
                f"instance_id: {instance.label} is to be stopped while its image is made, and could not be started "
                f"again: {error.message}; or state no_reboot: true to have it go on",
                code=error.code,
            ) from error


def _check_same(request: CaptureRequest, image: Image) -> None:
    if image.source.location != request.instance_id:
        raise PocketError(
            f"name: {request.name!r} is taken by the image {image.image_id}, which was made from "
            f"{image.source.location}; register this one under another name, or remove the old one first with "
            "state absent",
            code="InvalidAMIName.Duplicate",
        )


def described_after(request: CaptureRequest, current: Current) -> dict[str, Any]:
    """What a diff shows of the image that is to be made; its id is of its content, which nobody knows yet."""
    old = current.image.description if current.image else ""
    return {
        "description": old if request.description is None else request.description,
        "disk_format": "qcow2",
        "size_gib": current.size_gib,
        "source": request.instance_id,
    }


def warnings(request: CaptureRequest, plan: Plan, current: Current) -> list[str]:
    """What the user should know before the plan is applied."""
    told = _owed(request, current)[1]
    for operation in plan:
        if operation.action != "capture":
            continue
        label = operation.payload.label
        if request.stops(operation.payload):
            told.append(
                f"The instance {label} is stopped while its image is made, and started again; state no_reboot: true "
                "to have it go on"
            )
        elif is_owed_a_start(operation.payload):
            told.append(
                f"The instance {label} was stopped for an image by a run that died; its disk is copied as it is, and "
                "it is started again then"
            )
    return told


def _shown(image: Image | None) -> dict[str, Any] | None:
    if image is None:
        return None
    return {
        "description": image.description,
        "disk_format": image.disk_format,
        "size_gib": image.size_gib,
        "source": image.source.location,
    }
