# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind the module ec2like_snapshot. PRIVATE to the collection."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from .._errors import PocketError, in_turn
from .._plan import Plan
from .._runner import Task
from . import disk_files
from .disk_copies import DiskCopies
from .hypervisor import Hypervisor
from .model import Instance
from .snapshot_plan import Copying, Current, Planned, find, make_plan, parse, source_of
from .store import Store
from .tombstones import timestamp
from .volume_files import Snapshots, Volumes, snapshot_record
from .volumes import Snapshot, Volume

__all__ = ["SnapshotTask"]

_STEP = 5  # percent between two notes of how far a copy is


class SnapshotTask(Task[Current]):
    """One snapshot."""

    def __init__(
        self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None, store: Store | None = None
    ) -> None:
        self._request = parse(params)
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])
        self._snapshots = Snapshots(self._store)
        self._copies = DiskCopies(self._hypervisor, self._store)
        self._snapshot_id = f"snap-{secrets.token_hex(9)[:17]}"
        self._now = timestamp(datetime.now(timezone.utc))
        self._planned = Planned(Plan(), None)
        self._instances: list[Instance] = []
        self._launches = ExitStack()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._store.volumes_lock(), self._launches:
            self._launches.enter_context(self._store.lock())
            yield

    def undisturbed(self) -> AbstractContextManager[Any]:
        return self._store.undisturbed("volumes.lock", "lock")

    def read(self) -> Current:
        self._instances = self._hypervisor.instances()
        snapshots = self._snapshots.all()
        volumes = Volumes(self._store).all(self._instances)
        return Current(
            blank=(self._snapshot_id, self._now, self._snapshots.directory),
            snapshots=snapshots,
            volumes=volumes,
            instances=self._instances,
            size_gib=self._size(snapshots, volumes),
            leftovers=self._snapshots.leftovers(),
        )

    def _size(self, snapshots: list[Snapshot], volumes: list[Volume]) -> int:
        """How large the disk is of which a snapshot is to be made, which is looked at on the way."""
        request = self._request
        stated = request.volume_id is not None or request.instance_id is not None
        if request.state == "absent" or not stated or find(request, snapshots) is not None:
            return 0
        disk, _instance = source_of(request, volumes, self._instances)
        self._copies.check(disk)
        return disk_files.size_gib(disk.path, disk.disk_format) or 0

    def plan(self, current: Current) -> Plan:
        self._planned = make_plan(self._request, current)
        return self._planned.plan

    # Writing

    def apply(self, plan: Plan) -> None:
        write: dict[str, Callable[[Any], None]] = {
            "create": self._create,
            "delete": lambda snapshot: self._snapshots.remove(snapshot.snapshot_id, snapshot.path),
            "edit": self._snapshots.put,
            "sweep": self._sweep,
        }
        in_turn(partial(write[operation.action], operation.payload) for operation in plan)

    def _sweep(self, leftover: str) -> None:
        if "." in leftover:
            self._copies.abandon(self._instances, [self._snapshots.directory / leftover])
        self._snapshots.sweep(leftover)

    def _create(self, copying: Copying) -> None:
        self._launches.close()  # they need not wait for a long copy
        snapshot = copying.snapshot
        noted = 0

        def progress(percent: int) -> None:
            nonlocal noted
            if percent >= noted + _STEP:
                noted = percent
                self._snapshots.put(replace(snapshot, progress=percent))

        with self._snapshots.making(snapshot.snapshot_id, snapshot_record(snapshot), snapshot.path) as incoming:
            self._copies.make(copying.disk, copying.instance, incoming, self._request.freeze, progress)

    # Answering

    def verify(self, plan: Plan, after: Current) -> None:
        asked = self._planned.snapshot
        found = {snapshot.snapshot_id: snapshot for snapshot in after.snapshots}
        if asked is None:
            kept = [op.payload.snapshot_id for op in plan if op.action == "delete" and op.payload.snapshot_id in found]
            if kept:
                raise PocketError(f"The snapshot {kept[0]} was deleted, but the register still has it", changed=True)
            return
        there = found.get(asked.snapshot_id)
        if there is None or there.printable() != asked.printable():
            has = there.printable() if there else "nothing"
            raise PocketError(
                f"{asked.printable()} was asked for the snapshot {asked.snapshot_id}, but there is {has}", changed=True
            )

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        asked = self._planned.snapshot
        deleted = [operation.payload for operation in plan if operation.action == "delete"]
        if asked is None:
            snapshot = {**deleted[0].ec2(), "state": "deleted"} if deleted else None
        elif self._planned.is_new and not applied:
            snapshot = {**asked.ec2(), **dict.fromkeys(("snapshot_id", "start_time", "path"))}
        else:
            snapshot = asked.ec2()
        return {"snapshot": snapshot, "snapshot_id": snapshot["snapshot_id"] if snapshot else None}
