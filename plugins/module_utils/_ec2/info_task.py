# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_instance_info does. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import InfoTask
from .confirmation import confirmed, known_to_neighbours
from .filters import check_filters, matches
from .hypervisor import Hypervisor
from .model import Instance, check_instance_id
from .store import Store
from .tombstones import VISIBLE, instances_of

__all__ = ["InstanceInfoTask"]


@dataclass(frozen=True)
class Known:
    """All instances that are to be seen: those there are, the oldest first, then those terminated of late."""

    instances: tuple[Instance, ...]


class InstanceInfoTask(InfoTask[Known]):
    """One call of ec2like_instance_info."""

    def __init__(
        self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None, store: Store | None = None
    ) -> None:
        ids = params["instance_ids"]
        self._ids = None if ids is None else tuple(dict.fromkeys(check_instance_id(one) for one in ids))
        self._filters = check_filters(params["filters"])
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])

    def read(self) -> Known:
        there = self._hypervisor.instances()
        active = self._hypervisor.active_networks() if there else set()
        used = sorted({interface.network for instance in there for interface in instance.interfaces} & active)
        leases = [lease for name in used for lease in self._hypervisor.leases(name)]
        since = datetime.now(timezone.utc) - VISIBLE
        ids = {instance.instance_id for instance in there}
        gone = [one for one in instances_of(self._store.tombstones(), since) if one.instance_id not in ids]
        seen = known_to_neighbours(confirmed(there, leases), self._hypervisor.neighbours() if there else {})
        return Known((*seen, *gone))

    def result(self, plan: Plan, state: Known, applied: bool) -> dict[str, Any]:
        chosen = [instance for instance in state.instances if matches(instance, self._filters)]
        if self._ids is not None:
            known = {instance.instance_id for instance in state.instances}
            for instance_id in self._ids:
                if instance_id not in known:
                    raise PocketError(
                        f"instance_ids: there is no instance {instance_id} on this host",
                        code="InvalidInstanceID.NotFound",
                    )
            chosen = [instance for instance in chosen if instance.instance_id in self._ids]
        return {
            "instances": [instance.ec2() for instance in chosen],
            "instance_ids": [instance.instance_id for instance in chosen],
        }
