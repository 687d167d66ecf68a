# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of what instances have on their root disks: behind the module ec2like_image. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .._runner import Task
from .._seconds import check_seconds
from . import disk_files, image_files
from .disk_copies import DiskCopies
from .disks import ROOT_DEVICE
from .freezing import check_freezable
from .hypervisor import Hypervisor
from .image_plan import check_name
from .image_task import ImageTask, described
from .images import Image, ImageSource, gib, inspect
from .lifecycle import Lifecycle
from .lost_files import lost_files
from .model import IMAGING, LAUNCHED, Instance, check_description, check_instance_id
from .request import Current as Host
from .starts import check_start
from .store import Store
from .tombstones import timestamp
from .volumes import disk_at

__all__ = ["CaptureTask", "image_task"]


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


def image_task(params: Mapping[str, Any]) -> Task[Any]:
    """The task for what the image is made of: a file, or an instance."""
    if params["instance_id"] is not None:
        return CaptureTask(params)
    if params["freeze"]:
        raise PocketError("freeze: is for instance_id; leave it out", code="InvalidParameterCombination")
    return ImageTask(params)


class CaptureTask(Task[Current]):
    """One image of one instance."""

    def __init__(
        self,
        params: Mapping[str, Any],
        hypervisor: Hypervisor | None = None,
        store: Store | None = None,
        lifecycle: Lifecycle | None = None,
    ) -> None:
        _check(params)
        self._name: str = params["name"]
        self._instance_id: str = params["instance_id"]
        self._description: str | None = params["description"]
        self._no_reboot: bool = params["no_reboot"]
        self._freeze: bool = params["freeze"]
        self._stop_timeout: float = params["stop_timeout"]
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])
        self._lifecycle = lifecycle or Lifecycle(self._hypervisor, self._store)
        self._copies = DiskCopies(self._hypervisor, self._store)
        self._launches = ExitStack()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._store.images_lock(), self._store.volumes_lock(), self._launches:
            self._launches.enter_context(self._store.lock())
            yield

    def undisturbed(self) -> AbstractContextManager[Any]:
        return self._store.undisturbed("images.lock", "volumes.lock", "lock")

    # Reading and planning

    def read(self) -> Current:
        instances = self._hypervisor.instances()
        image = next((image for image in self._store.images() if image.name == self._name), None)
        damaged = image is not None and not image_files.is_intact(image)
        stopped = [one for one in instances if _is_owed_a_start(one)]
        started = list(stopped)
        if image is None or damaged:
            started += [one for one in instances if one.instance_id == self._instance_id and self._stops(one)]
        return Current(
            instances=instances,
            image=image,
            damaged=damaged,
            size_gib=self._size(instances) if image is None else image.size_gib,
            leftovers=image_files.leftovers(self._store),
            stopped=stopped,
            host=self._host(started) if started else Host(),
        )

    def _host(self, started: Sequence[Instance]) -> Host:
        owed = any(map(_is_owed_a_start, started))  # for one that runs there is room
        return Host(
            networks=tuple(self._hypervisor.networks()),
            capacity=self._store.capacity(self._hypervisor.host_size()) if owed else None,
            lost=lost_files(started),
        )

    def _size(self, instances: Sequence[Instance]) -> int:
        disk = disk_at(self._instance(instances), ROOT_DEVICE)
        self._copies.check(disk)
        return disk_files.size_gib(disk.path, disk.disk_format) or 0

    def _instance(self, instances: Sequence[Instance]) -> Instance:
        for instance in instances:
            if instance.instance_id == self._instance_id:
                if instance.phase == LAUNCHED:
                    return instance
                raise PocketError(
                    f"instance_id: {instance.label} is {instance.state}; no image can be made of it",
                    code="IncorrectInstanceState",
                )
        raise PocketError(
            f"instance_id: there is no instance {self._instance_id} on this host", code="InvalidInstanceID.NotFound"
        )

    def plan(self, current: Current) -> Plan:
        sweep = [
            Operation("sweep", f"leftover file {path.name}", {"image": None}, None, path) for path in current.leftovers
        ]
        ready = self._owed(current)[0]
        starts = {
            one.instance_id: Operation(
                "start", one.instance_id, one.printable(), one.with_state("running").printable(), one
            )
            for one in ready
        }
        image, subject = current.image, f"image {self._name}"
        if image is None or current.damaged:
            if image is not None:
                self._check_same(image)
            instance = self._instance(current.instances)
            self._check_capture(instance, current)
            capture = Operation("capture", subject, _shown(image), self._after(current), instance)
            # Its disk is copied before its guest writes to it again.
            own = [starts.pop(one) for one in (instance.instance_id,) if one in starts]
            return Plan((*sweep, *starts.values(), capture, *own))
        self._check_same(image)
        settled = (*sweep, *starts.values())
        if self._description in (None, image.description):
            return Plan(settled)
        after = replace(image, description=str(self._description))
        return Plan((*settled, Operation("edit", subject, _shown(image), _shown(after), after)))

    def _owed(self, current: Current) -> tuple[list[Instance], list[tuple[Instance, PocketError]]]:
        """Return those that a run which died was to start, and those of them that cannot be, each with the reason.

        The one that the request is about must be.
        """
        ready: list[Instance] = []
        asleep = []
        running = [one for one in current.instances if one.state != "stopped"]
        for instance in sorted(current.stopped, key=lambda one: one.instance_id != self._instance_id):
            try:
                check_start(instance, current.host)
                if current.host.capacity:
                    current.host.capacity.check_starts([*ready, instance], running)
            except PocketError as error:
                if instance.instance_id == self._instance_id:
                    raise PocketError(f"instance_id: {_asleep(instance, error)}", code=error.code) from error
                asleep.append((instance, error))
            else:
                ready.append(instance)
        return ready, asleep

    def _check_capture(self, instance: Instance, current: Current) -> None:
        if self._freeze and not _is_owed_a_start(instance):
            check_freezable(instance)
        if self._stops(instance):
            try:
                check_start(instance, current.host)
            except PocketError as error:
                raise PocketError(
                    f"instance_id: {instance.label} is to be stopped while its image is made, and could not be started "
                    f"again: {error.message}; or state no_reboot: true to have it go on",
                    code=error.code,
                ) from error

    def _check_same(self, image: Image) -> None:
        if image.source.location != self._instance_id:
            raise PocketError(
                f"name: {self._name!r} is taken by the image {image.image_id}, which was made from "
                f"{image.source.location}; register this one under another name, or remove the old one first with "
                "state absent",
                code="InvalidAMIName.Duplicate",
            )

    def _after(self, current: Current) -> dict[str, Any]:
        """What a diff shows of the image that is to be made; its id is of its content, which nobody knows yet."""
        old = current.image.description if current.image else ""
        return {
            "description": old if self._description is None else self._description,
            "disk_format": "qcow2",
            "size_gib": current.size_gib,
            "source": self._instance_id,
        }

    def warnings(self, plan: Plan, current: Current) -> list[str]:
        told = [_asleep(instance, error) for instance, error in self._owed(current)[1]]
        for operation in plan:
            if operation.action != "capture":
                continue
            label = operation.payload.label
            if self._stops(operation.payload):
                told.append(
                    f"The instance {label} is stopped while its image is made, and started again; state "
                    "no_reboot: true to have it go on"
                )
            elif _is_owed_a_start(operation.payload):
                told.append(
                    f"The instance {label} was stopped for an image by a run that died; its disk is copied as it is, "
                    "and it is started again then"
                )
        return told

    def _stops(self, instance: Instance) -> bool:
        return instance.state != "stopped" and not self._no_reboot

    # Writing

    def apply(self, plan: Plan) -> None:
        write: dict[str, Callable[[Any], None]] = {
            "capture": self._capture,
            "edit": self._store.register,
            "start": self._start,
            "sweep": self._copies.sweep,
        }
        for number, operation in enumerate(plan):
            try:
                write[operation.action](operation.payload)
            except PocketError as error:
                error.changed = error.changed or number > 0
                raise

    def _capture(self, instance: Instance) -> None:
        if not self._stops(instance) and not _is_owed_a_start(instance):
            self._launches.close()  # they need not wait for a long copy
            self._take(instance)
            return
        if self._stops(instance):
            failures = self._lifecycle.stop([instance], self._stop_timeout, IMAGING)
            if failures:
                raise failures[0].error
        try:
            self._take_and_start(instance)
        except PocketError as error:
            error.changed = True  # it was down, or there is the image
            raise

    def _take_and_start(self, instance: Instance) -> None:
        try:
            self._take(instance.with_state("stopped"))
        finally:
            self._start(instance)

    def _start(self, instance: Instance) -> None:
        """Start what was stopped for an image; somebody else may have started it meanwhile."""
        if not self._hypervisor.is_running(instance.instance_id):
            failures = self._lifecycle.start([instance])
            if failures:
                raise failures[0].error

    def _take(self, instance: Instance) -> None:
        attempt = f"Cannot make an image of the instance {instance.label}"
        with image_files.incoming(self._store, attempt) as path:
            path.unlink()  # it was made for its name's sake
            if not self._no_reboot and self._hypervisor.is_running(instance.instance_id):
                raise PocketError(
                    f"{attempt}: somebody has started it meanwhile; run this again, or state no_reboot: true",
                    code="IncorrectInstanceState",
                )
            self._copies.make(disk_at(instance, ROOT_DEVICE), instance, path, self._freeze)
            found = inspect(path, "qcow2", f"the root disk of {instance.label}")
            checksum = image_files.checksum_of(path)
            size = path.stat().st_size
            image_id = "ami-" + checksum.partition(":")[2][:17]
            image_files.publish(path, self._store.image_path(image_id, "qcow2"))
            old = next((image for image in self._store.images() if image.name == self._name), None)
            stated = self._description
            self._store.register(
                Image(
                    image_id=image_id,
                    name=self._name,
                    path=self._store.image_path(image_id, "qcow2"),
                    disk_format="qcow2",
                    virtual_size=found.virtual_size,
                    size_gib=gib(found.virtual_size),
                    creation_date=timestamp(datetime.now(timezone.utc)),
                    source=ImageSource(self._instance_id, size, None, checksum),
                    description=stated if stated is not None else old.description if old else "",
                )
            )

    # Answering

    def verify(self, plan: Plan, after: Current) -> None:
        if after.image is None or after.damaged:
            raise PocketError(
                f"The store {self._store.root} did not keep the image {self._name} as asked; look whether another "
                "program writes there",
                changed=True,
            )

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        if state.image is not None and (applied or not any(operation.action == "capture" for operation in plan)):
            image = {**described(state.image)}
            if not applied and self._description is not None:
                image["description"] = self._description
        else:
            unknown = dict.fromkeys(("image_id", "creation_date", "checksum", "path"))
            image = {**unknown, "name": self._name, "state": "available", **self._after(state)}
        return {"image": image, "image_id": image["image_id"]}


def _is_owed_a_start(instance: Instance) -> bool:
    """Whether a run has stopped it for an image, and died before it could start it again."""
    return instance.state == "stopped" and instance.state_reason.startswith(IMAGING)


def _asleep(instance: Instance, error: PocketError) -> str:
    return f"{instance.label} was stopped for an image by a run that died, and stays stopped: {error.message}"


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


def _shown(image: Image | None) -> dict[str, Any] | None:
    if image is None:
        return None
    return {
        "description": image.description,
        "disk_format": image.disk_format,
        "size_gib": image.size_gib,
        "source": image.source.location,
    }
