# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of what instances have on their root disks: behind the module ec2like_image. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Any

from .._errors import PocketError, in_turn
from .._plan import Plan
from .._runner import Task
from . import disk_files, image_files
from .capture_plan import Current, described_after, is_owed_a_start, make_plan, parse, subject_of, warnings
from .disk_copies import DiskCopies
from .disks import ROOT_DEVICE
from .hypervisor import Hypervisor
from .image_task import ImageTask, described
from .images import Image, ImageSource, gib, inspect
from .lifecycle import Lifecycle
from .lost_files import lost_files
from .model import IMAGING, Instance
from .request import Current as Host
from .store import Store
from .tombstones import timestamp
from .volumes import disk_at

__all__ = ["CaptureTask", "image_task"]


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
        self._request = parse(params)
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
        request, instances = self._request, self._hypervisor.instances()
        image = next((image for image in self._store.images() if image.name == request.name), None)
        damaged = image is not None and not image_files.is_intact(image)
        stopped = [one for one in instances if is_owed_a_start(one)]
        started = list(stopped)
        if image is None or damaged:
            started += [one for one in instances if one.instance_id == request.instance_id and request.stops(one)]
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
        owed = any(map(is_owed_a_start, started))  # for one that runs there is room
        return Host(
            networks=tuple(self._hypervisor.networks()),
            capacity=self._store.capacity(self._hypervisor.host_size()) if owed else None,
            lost=lost_files(started),
        )

    def _size(self, instances: Sequence[Instance]) -> int:
        disk = disk_at(subject_of(self._request, instances), ROOT_DEVICE)
        self._copies.check(disk)
        return disk_files.size_gib(disk.path, disk.disk_format) or 0

    def plan(self, current: Current) -> Plan:
        return make_plan(self._request, current)

    def warnings(self, plan: Plan, current: Current) -> list[str]:
        return warnings(self._request, plan, current)

    # Writing

    def apply(self, plan: Plan) -> None:
        write: dict[str, Callable[[Any], None]] = {
            "capture": self._capture,
            "edit": self._store.register,
            "start": self._start,
            "sweep": self._copies.sweep,
        }
        in_turn(partial(write[operation.action], operation.payload) for operation in plan)

    def _capture(self, instance: Instance) -> None:
        if not self._request.stops(instance) and not is_owed_a_start(instance):
            self._launches.close()  # they need not wait for a long copy
            self._take(instance)
            return
        try:
            self._take_stopped(instance)
        except PocketError as error:
            error.changed = True  # it was down, or there is the image
            raise

    def _take_stopped(self, instance: Instance) -> None:
        """Make the image while the instance is off, and start it then, whatever comes of the image."""
        try:
            self._stop(instance)
            self._take(instance)
        except PocketError as error:
            try:
                self._start(instance)
            except PocketError as second:
                error.message += f"; and the instance could not be started again: {second.message}"
            raise
        self._start(instance)

    def _stop(self, instance: Instance) -> None:
        if instance.state != "stopped":
            failures = self._lifecycle.stop([instance], self._request.stop_timeout, IMAGING)
            if failures:
                raise failures[0].error

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
            if not self._request.no_reboot and self._hypervisor.is_running(instance.instance_id):
                raise PocketError(
                    f"{attempt}: somebody has started it meanwhile; run this again, or state no_reboot: true",
                    code="IncorrectInstanceState",
                )
            self._copies.make(disk_at(instance, ROOT_DEVICE), instance, path, self._request.freeze)
            found = inspect(path, "qcow2", f"the root disk of {instance.label}")
            checksum = image_files.checksum_of(path)
            size = path.stat().st_size
            image_id = "ami-" + checksum.partition(":")[2][:17]
            image_files.publish(path, self._store.image_path(image_id, "qcow2"))
            old = next((image for image in self._store.images() if image.name == self._request.name), None)
            stated = self._request.description
            self._store.register(
                Image(
                    image_id=image_id,
                    name=self._request.name,
                    path=self._store.image_path(image_id, "qcow2"),
                    disk_format="qcow2",
                    virtual_size=found.virtual_size,
                    size_gib=gib(found.virtual_size),
                    creation_date=timestamp(datetime.now(timezone.utc)),
                    source=ImageSource(self._request.instance_id, size, None, checksum),
                    description=stated if stated is not None else old.description if old else "",
                )
            )

    # Answering

    def verify(self, plan: Plan, after: Current) -> None:
        if after.image is None or after.damaged:
            raise PocketError(
                f"The store {self._store.root} did not keep the image {self._request.name} as asked; look whether "
                "another program writes there",
                changed=True,
            )

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        if state.image is not None and (applied or not any(operation.action == "capture" for operation in plan)):
            image = {**described(state.image)}
            if not applied and self._request.description is not None:
                image["description"] = self._request.description
        else:
            unknown = dict.fromkeys(("image_id", "creation_date", "checksum", "path"))
            image = {
                **unknown,
                "name": self._request.name,
                "state": "available",
                **described_after(self._request, state),
            }
        return {"image": image, "image_id": image["image_id"]}
