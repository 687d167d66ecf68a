# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_security_group and ec2like_security_group_info do. PRIVATE to the collection."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import InfoTask, Task
from .filter_sync import FilterSync, security_groups
from .filters import check_filters, matches
from .hypervisor import Hypervisor
from .model import Instance
from .network_filters import Enforcement, differences, group_filter
from .security_group_plan import Request, plan_group
from .security_groups import GROUP_FILTERS, KIND, SecurityGroup, check_group_id, resolve_groups
from .store import Store

__all__ = ["SecurityGroupInfoTask", "SecurityGroupTask"]


@dataclass(frozen=True)
class Current:
    """What there is.

    :param filters: the definitions of our network filters, by name; none where libvirt knows no filters.
    """

    groups: Mapping[str, SecurityGroup]
    instances: tuple[Instance, ...]
    filters: Mapping[str, str] | None = None
    enforcement: Enforcement = field(default_factory=Enforcement)


class SecurityGroupTask(Task[Current]):
    """One call of ec2like_security_group."""

    def __init__(
        self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None, store: Store | None = None
    ) -> None:
        self._request = Request.of(params, f"sg-{secrets.token_hex(9)[:17]}")
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])
        self._filters = FilterSync(self._hypervisor, self._store)

    def exclusive(self) -> AbstractContextManager[Any]:
        return self._store.lock()

    def undisturbed(self) -> AbstractContextManager[Any]:
        return self._store.undisturbed()

    def read(self) -> Current:
        return Current(
            groups=security_groups(self._store),
            instances=tuple(self._hypervisor.instances()),
            filters=self._hypervisor.network_filters(),
            enforcement=self._hypervisor.enforcement(),
        )

    def plan(self, current: Current) -> Plan:
        return plan_group(current.groups, current.instances, self._request, self._drifted(current))

    def _drifted(self, current: Current) -> frozenset[str]:
        """Return the groups whose filter is missing or not as it was made."""
        if current.filters is None:
            return frozenset()
        lacking = differences(
            current.filters, current.instances, current.groups, current.enforcement, finished=True
        ).define
        return frozenset(group_id for group_id in current.groups if group_filter(group_id) in lacking)

    def warnings(self, plan: Plan, current: Current) -> list[str]:
        if plan.changed and self._request.present and current.enforcement.groups:
            why = current.enforcement.groups
            return [f"No instance can be given the group on this host, for {why}; set it up with the role kvm_host"]
        return []

    def apply(self, plan: Plan) -> None:
        register = self._store.records(KIND)
        for number, operation in enumerate(plan):
            try:
                if operation.action == "delete":
                    if self._hypervisor.has_filters():
                        self._hypervisor.remove_filter(group_filter(operation.payload))
                    register.delete(operation.payload)
                    continue
                if operation.action != "filter":
                    register.put(operation.payload.group_id, operation.payload.record())
                self._filters.sync(finished=True)
            except PocketError as error:
                error.changed = number > 0 or operation.action != "filter"
                raise

    def verify(self, plan: Plan, after: Current) -> None:
        left = self.plan(after)
        if left.changed:
            what = ", ".join(operation.action for operation in left)
            raise PocketError(
                f"The security group {self._request.label!r} is not as it was asked; still to do is: {what}",
                changed=True,
            )

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        group = self._request.find(state.groups)
        return {"security_group": group.ec2() if group else None}


class SecurityGroupInfoTask(InfoTask["dict[str, SecurityGroup]"]):
    """One call of ec2like_security_group_info."""

    def __init__(self, params: Mapping[str, Any], store: Store | None = None) -> None:
        self._ids = params["group_ids"]
        self._names = params["group_names"]
        for group_id in self._ids or ():
            check_group_id(group_id, "group_ids")
        for name in self._names or ():
            if name.startswith("sg-"):
                raise PocketError(
                    f"group_names: there is no security group {name!r}, for no name begins with 'sg-'; state ids in "
                    "group_ids",
                    code="InvalidGroup.NotFound",
                )
        self._filters = check_filters(params["filters"], GROUP_FILTERS)
        self._store = store or Store(params["store"])

    def read(self) -> dict[str, SecurityGroup]:
        return security_groups(self._store)

    def result(self, plan: Plan, state: dict[str, SecurityGroup], applied: bool) -> dict[str, Any]:
        chosen = sorted(state.values(), key=lambda group: group.group_name)
        for option, stated in (("group_ids", self._ids), ("group_names", self._names)):
            if stated is not None:
                meant = {group.group_id for group in resolve_groups(stated, state, option)}
                chosen = [group for group in chosen if group.group_id in meant]
        found = [group for group in chosen if matches(group, self._filters, GROUP_FILTERS)]
        return {"security_groups": [group.ec2() for group in found]}
