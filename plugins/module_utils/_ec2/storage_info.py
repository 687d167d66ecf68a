# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_volume_info and ec2like_snapshot_info do. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import InfoTask
from .filters import check_filters, matches
from .hypervisor import Hypervisor
from .store import Store
from .volume_files import Snapshots, Volumes
from .volumes import SNAPSHOT_FILTERS, VOLUME_FILTERS, Snapshot, Volume, check_snapshot_id, check_volume_id

__all__ = ["SnapshotInfoTask", "VolumeInfoTask"]


def _checked(ids: Sequence[str] | None, check: Callable[[str, str], str], parameter: str) -> tuple[str, ...] | None:
    return None if ids is None else tuple(dict.fromkeys(check(one, parameter) for one in ids))


def _chosen(found: Mapping[str, Any], ids: Sequence[str] | None, parameter: str, code: str) -> list[Any]:
    """Return those of `ids`, or all; raises with `code` for an id that is not there."""
    for identity in ids or ():
        if identity not in found:
            raise PocketError(f"{parameter}: there is no {identity} on this host", code=code)
    return [thing for identity, thing in found.items() if ids is None or identity in ids]


class VolumeInfoTask(InfoTask[dict[str, Volume]]):
    """One call of ec2like_volume_info."""

    def __init__(
        self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None, store: Store | None = None
    ) -> None:
        self._ids = _checked(params["volume_ids"], check_volume_id, "volume_ids")
        self._filters = check_filters(params["filters"], VOLUME_FILTERS)
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])

    def read(self) -> dict[str, Volume]:
        volumes = Volumes(self._store).all(self._hypervisor.instances())
        return {volume.volume_id: volume for volume in volumes}

    def result(self, plan: Plan, state: dict[str, Volume], applied: bool) -> dict[str, Any]:
        chosen = _chosen(state, self._ids, "volume_ids", "InvalidVolume.NotFound")
        shown = [volume for volume in chosen if matches(volume, self._filters, VOLUME_FILTERS)]
        return {
            "volumes": [volume.ec2() for volume in shown],
            "volume_ids": [volume.volume_id for volume in shown],
        }


class SnapshotInfoTask(InfoTask[dict[str, Snapshot]]):
    """One call of ec2like_snapshot_info."""

    def __init__(self, params: Mapping[str, Any], store: Store | None = None) -> None:
        self._ids = _checked(params["snapshot_ids"], check_snapshot_id, "snapshot_ids")
        self._filters = check_filters(params["filters"], SNAPSHOT_FILTERS)
        self._store = store or Store(params["store"])

    def read(self) -> dict[str, Snapshot]:
        return {snapshot.snapshot_id: snapshot for snapshot in Snapshots(self._store).all()}

    def result(self, plan: Plan, state: dict[str, Snapshot], applied: bool) -> dict[str, Any]:
        chosen = _chosen(state, self._ids, "snapshot_ids", "InvalidSnapshot.NotFound")
        shown = [snapshot for snapshot in chosen if matches(snapshot, self._filters, SNAPSHOT_FILTERS)]
        return {
            "snapshots": [snapshot.ec2() for snapshot in shown],
            "snapshot_ids": [snapshot.snapshot_id for snapshot in shown],
        }
