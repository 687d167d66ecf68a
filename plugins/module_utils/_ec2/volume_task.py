# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind the module ec2like_volume. PRIVATE to the collection."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import Task
from .._seconds import check_seconds
from . import disk_files
from .attachments import Attachments
from .hypervisor import Hypervisor
from .store import Store
from .tombstones import timestamp
from .volume_files import Snapshots, Volumes
from .volume_plan import Current, Planned, find, find_snapshot, make_plan, parse
from .volumes import Attachment, Snapshot, Volume

__all__ = ["VolumeTask"]


class VolumeTask(Task[Current]):
    """One volume."""

    def __init__(
        self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None, store: Store | None = None
    ) -> None:
        self._request = parse(params)
        self._timeout = params["wait_timeout"]
        check_seconds("wait_timeout", self._timeout)
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])
        self._volumes = Volumes(self._store)
        self._attachments = Attachments(self._hypervisor)
        self._volume_id = self._request.derived_id or f"vol-{secrets.token_hex(9)[:17]}"
        self._now = timestamp(datetime.now(timezone.utc))
        self._planned = Planned(Plan(), None)
        self._attached: dict[str, Attachment] = {}
        self._launches = ExitStack()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._store.volumes_lock(), self._launches:
            self._launches.enter_context(self._store.lock())
            yield

    def undisturbed(self) -> AbstractContextManager[Any]:
        return self._store.undisturbed("volumes.lock", "lock")

    def read(self) -> Current:
        instances = self._hypervisor.instances()
        volumes = self._volumes.all(instances)
        self._attached = {volume.volume_id: volume.attachment for volume in volumes if volume.attachment}
        current = Current(
            blank=(self._volume_id, self._now, self._volumes.directory),
            volumes=volumes,
            snapshots=self._snapshots() if self._request.snapshot_id else (),
            instances=instances,
            leftovers=self._volumes.leftovers(),
        )
        volume = find(self._request, current)
        self._check_file(volume)
        if volume is None and self._request.state == "present":
            self._check_source(current.snapshots)
        return self._as_it_runs(current, volume)

    def _check_file(self, volume: Volume | None) -> None:
        """Refuse a volume whose file somebody has taken away, or made lead elsewhere; that can still be detached."""
        if volume is not None and self._request.state == "present" and self._request.instance != "":
            disk_files.check_file(volume.path, volume.disk_format)

    def _check_source(self, snapshots: Sequence[Snapshot]) -> None:
        """Refuse a snapshot whose file is not what it was, before a volume of it is begun."""
        for snapshot in snapshots:
            if snapshot.snapshot_id == self._request.snapshot_id and snapshot.progress == 100:
                disk_files.check_file(snapshot.path, "qcow2")

    def _as_it_runs(self, current: Current, volume: Volume | None) -> Current:
        """Tell of a machine that has the volume though no definition says so: it would lose what it writes to."""
        concerned = self._request.state == "absent" or self._request.instance is not None
        if volume is None or volume.attachment or not concerned:
            return current
        for name, device in self._hypervisor.holders(volume.path).items():
            if all(name != instance.instance_id for instance in current.instances):
                raise PocketError(
                    f"The volume {volume.label} is a disk of the domain {name}, which is none of this collection's; "
                    "take it away there first",
                    code="VolumeInUse",
                )
            self._attached[volume.volume_id] = Attachment(name, device)
            held = replace(volume, attachment=self._attached[volume.volume_id], defined=False)
            return replace(current, volumes=[held if one is volume else one for one in current.volumes])
        if disk_files.is_open_in_qemu(volume.path):
            raise PocketError(
                f"The volume {volume.label} is in use by a QEMU that libvirt knows nothing of, such as a machine that "
                "it was being attached to when libvirtd was killed; stop that instance, or end the program",
                code="VolumeInUse",
            )
        return current

    def plan(self, current: Current) -> Plan:
        self._planned = make_plan(self._request, current)
        return self._planned.plan

    # Writing

    def apply(self, plan: Plan) -> None:
        write: dict[str, Callable[[Any], None]] = {
            "attach": self._attachments.attach,
            "create": self._create,
            "delete": lambda volume: self._volumes.remove(volume.volume_id, volume.path),
            "detach": lambda volume: self._attachments.detach(volume, self._timeout),
            "grow": self._grow,
            "keep": self._attachments.flag,
            "sweep": self._volumes.sweep,
            "tag": self._volumes.put,
        }
        for number, operation in enumerate(plan):
            try:
                write[operation.action](operation.payload)
            except PocketError as error:
                error.changed = error.changed or number > 0
                raise

    def _create(self, volume: Volume) -> None:
        if volume.snapshot_id is None:
            self._volumes.make(volume)
            return
        snapshot = find_snapshot(volume.snapshot_id, self._snapshots())
        self._volumes.make(volume, snapshot, self._launches.close)  # launches need not wait for a long copy
        try:
            self._launches.enter_context(self._store.lock())
            self._check_rest(volume)
        except PocketError as error:
            error.changed = True
            raise

    def _check_rest(self, volume: Volume) -> None:
        """Refuse to go on where the rest of the plan is outdated, for launches have gone on since it was made."""
        planned, left = (
            [(operation.action, operation.after) for operation in plan if operation.action not in ("sweep", "create")]
            for plan in (self._planned.plan, make_plan(self._request, self.read()).plan)
        )
        if left != planned:
            raise PocketError(
                f"The volume {volume.label} was made, but another run attached it, or took its place, meanwhile; run "
                "this again",
                code="IncorrectState",
            )

    def _snapshots(self) -> list[Snapshot]:
        return Snapshots(self._store).all()

    def _grow(self, volume: Volume) -> None:
        """Grow it where it is now; the plan may have it elsewhere after that."""
        self._attachments.grow(replace(volume, attachment=self._attached.get(volume.volume_id)))

    # Answering

    def verify(self, plan: Plan, after: Current) -> None:
        asked = self._planned.volume
        found = {volume.volume_id: volume for volume in after.volumes}
        if asked is None:
            kept = [op.payload.volume_id for op in plan if op.action == "delete" and op.payload.volume_id in found]
            if kept:
                raise PocketError(f"The volume {kept[0]} was deleted, but the register still has it", changed=True)
            return
        there = found.get(asked.volume_id)
        if there is None or there.printable() != asked.printable():
            has = there.printable() if there else "nothing"
            raise PocketError(
                f"{asked.printable()} was asked for the volume {asked.label}, but there is {has}", changed=True
            )

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        asked = self._planned.volume
        deleted = [operation.payload for operation in plan if operation.action == "delete"]
        if asked is None:
            volume = {**deleted[0].ec2(), "state": "deleted"} if deleted else None
        elif self._planned.is_new and not applied:
            volume = {**asked.ec2(), **dict.fromkeys(("volume_id", "create_time", "serial", "path"))}
        else:
            volume = asked.ec2()
        return {"volume": volume, "volume_id": volume["volume_id"] if volume else None}
