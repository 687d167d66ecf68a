# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a security group as it is to what was asked. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .model import Instance, check_tags, within_limit
from .security_groups import (
    ALLOW_ALL,
    Rule,
    SecurityGroup,
    check_group_id,
    check_group_name,
    check_group_text,
    drafted_rules,
    resolve_groups,
    resolved_rules,
)

__all__ = ["Request", "plan_group"]


@dataclass(frozen=True)
class Request:
    """What the user asked for; what is none was not stated.

    :param drawn_id: the id of the group, should it be a new one.
    """

    drawn_id: str
    present: bool
    name: str | None
    group_id: str | None
    description: str | None
    rules: tuple[Rule, ...] | None
    rules_egress: tuple[Rule, ...] | None
    purge_rules: bool
    purge_rules_egress: bool
    tags: Mapping[str, str] | None
    purge_tags: bool

    @classmethod
    def of(cls, params: Mapping[str, Any], drawn_id: str) -> Request:
        """Return the request that `params` state; raises PocketError for what cannot be right."""
        name, group_id, description = params["name"], params["group_id"], params["description"]
        return cls(
            drawn_id=drawn_id,
            present=params["state"] == "present",
            name=None if name is None else check_group_name(name, "name"),
            group_id=None if group_id is None else check_group_id(group_id, "group_id"),
            description=None if description is None else check_group_text(description, "description"),
            rules=drafted_rules(params["rules"], "rules"),
            rules_egress=drafted_rules(params["rules_egress"], "rules_egress"),
            purge_rules=params["purge_rules"],
            purge_rules_egress=params["purge_rules_egress"],
            tags=None if params["tags"] is None else check_tags(params["tags"]),
            purge_tags=params["purge_tags"],
        )

    @property
    def label(self) -> str:
        """How a message names the group."""
        return self.name or self.group_id or ""

    def find(self, groups: Mapping[str, SecurityGroup]) -> SecurityGroup | None:
        """Return the group that is meant, none where there is none."""
        if self.group_id is not None:
            return groups.get(self.group_id)
        return next((group for group in groups.values() if group.group_name == self.name), None)


def plan_group(
    groups: Mapping[str, SecurityGroup],
    instances: Sequence[Instance],
    request: Request,
    drifted: Collection[str] = (),
) -> Plan:
    """Return what is to be done; raises PocketError where the request cannot be met.

    :param drifted: the groups whose network filter is not as it was made.
    """
    found = request.find(groups)
    if found is None and request.group_id is not None and request.present:
        resolve_groups([request.group_id], groups, "group_id")  # which says that it is not there
    if found is not None and request.name is not None and found.group_name != request.name:
        raise PocketError(
            f"name: the group {found.group_id} is named {found.group_name!r}, and a group keeps its name for life; "
            f"make a new one named {request.name!r}",
            code="InvalidParameterCombination",
        )
    if not request.present:
        return _absent(groups, instances, found)
    wanted = _wanted(groups, request, found)
    subject = f"security group {wanted.group_name}"
    if wanted != found or wanted.printable() != found.printable():
        before = None if found is None else found.printable()
        action = "create" if found is None else "edit"
        return Plan((Operation(action, subject, before, wanted.printable(), payload=wanted),))
    if found.group_id in drifted:
        shown = {"intact": False}
        return Plan((Operation("filter", f"network filter of the {subject}", shown, {"intact": True}, payload=found),))
    return Plan()


def _wanted(groups: Mapping[str, SecurityGroup], request: Request, found: SecurityGroup | None) -> SecurityGroup:
    base = found
    if base is None:
        name = str(request.name)
        base = SecurityGroup(request.drawn_id, name, name, rules_egress=ALLOW_ALL)
    rules = _rules(groups, base, base.rules, request.rules, request.purge_rules, "rules")
    # Of a new group EC2's own egress goes where another is stated.
    purge = request.purge_rules_egress or found is None
    egress = _rules(groups, base, base.rules_egress, request.rules_egress, purge, "rules_egress")
    tags = dict(base.tags)
    if request.tags is not None:
        tags = within_limit(dict(request.tags) if request.purge_tags else {**tags, **request.tags})
    description = base.description if request.description is None else request.description
    return replace(base, description=description, rules=rules, rules_egress=egress, tags=tags)


def _rules(
    groups: Mapping[str, SecurityGroup],
    own: SecurityGroup,
    old: tuple[Rule, ...],
    stated: tuple[Rule, ...] | None,
    purge: bool,
    parameter: str,
) -> tuple[Rule, ...]:
    if stated is None:
        return old
    resolved = resolved_rules(stated, groups, own.group_id, own.group_name, parameter)
    said = {rule: rule.description for rule in old}
    # A rule that says nothing keeps what it said.
    new = {rule: replace(rule, description=rule.description or said.get(rule, "")) for rule in resolved}
    kept = {} if purge else {rule: rule for rule in old}
    return tuple(sorted({**kept, **new}.values()))


def _absent(groups: Mapping[str, SecurityGroup], instances: Sequence[Instance], found: SecurityGroup | None) -> Plan:
    if found is None:
        return Plan()
    members = [instance.label for instance in instances if found.group_id in instance.security_groups]
    namers = [one.group_name for one in groups.values() if found.group_id in one.peers() - {one.group_id}]
    users = [*members, *(f"the rules of the security group {name}" for name in namers)]
    if users:
        raise PocketError(
            f"The security group {found.group_name} ({found.group_id}) cannot be removed: it is used by "
            f"{', '.join(users)}; take it away there first",
            code="DependencyViolation",
        )
    subject = f"security group {found.group_name}"
    return Plan((Operation("delete", subject, found.printable(), payload=found.group_id),))
