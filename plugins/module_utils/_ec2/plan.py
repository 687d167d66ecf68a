# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the instances there are and those asked for to the operations between. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .._errors import PocketError
from .._plan import Operation, Plan
from .block_devices import DiskChange, check_once, shown
from .changes import changes, had_for_life, left_as, outdated
from .drift import drift, unreserved
from .filters import matches
from .launches import check_selection, fitting, new_instances
from .model import LAUNCHED, LAUNCHING, Instance
from .orphans import Orphan
from .request import Current, Launch, Request
from .starts import check_start
from .tokens import record_launch, taken_up
from .volumes import Volume

__all__ = ["Planned", "plan_instances"]


@dataclass(frozen=True)
class Planned:
    """The plan, and the ids of the instances that the request is about once it is carried out.

    :param outdated: those of them that stay other than new ones are, for their number alone was asked for.
    :param for_life: option -> those of them that were launched with another value of it, which they keep.
    """

    plan: Plan
    instance_ids: tuple[str, ...]
    outdated: tuple[str, ...] = ()
    for_life: Mapping[str, Sequence[str]] = field(default_factory=dict)


def plan_instances(current: Current, request: Request) -> Planned:
    """Return what is to be done; raises PocketError where the request cannot be met."""
    remains = [instance for instance in current.instances if instance.phase != LAUNCHED]
    live = [instance for instance in current.instances if instance.phase == LAUNCHED]
    chosen = _chosen(live, remains, current, request)
    operations = [*(_clear(instance) for instance in remains), *drift(current)]
    if request.state == "terminated":
        _check_protection(chosen, request)
        operations += unreserved([instance for instance in live if instance not in chosen], current.networks)
        operations += [_terminate(instance) for instance in chosen]
        operations += [_sweep(current.orphans[one]) for one in request.instance_ids or () if one in current.orphans]
        return Planned(Plan(tuple(operations)), _wanted_ids(request, chosen))
    surplus = _surplus(chosen, request)
    _check_protection(surplus, request)
    operations += [_terminate(instance) for instance in surplus]
    kept = [] if request.counted else [instance for instance in chosen if instance not in surplus]
    for instance in kept:
        check_selection(left_as(instance, request, current), request)
        operations += changes(instance, request, current)
    staying = [instance for instance in live if instance not in surplus]
    operations += unreserved(staying, current.networks)
    _check_starts(operations, staying, current)
    left = {instance.instance_id: left_as(instance, request, current) for instance in kept}
    beside = [left.get(instance.instance_id, instance) for instance in staying]
    already, launches, token = _launches(current, request, len(chosen), beside)
    operations += token
    operations += [_launch(number, launch) for number, launch in enumerate(launches, start=1)]
    check_once(_attached(operations))
    ids = [one.instance_id for one in (*kept, *already)] + [launch.instance.instance_id for launch in launches]
    old = [instance.instance_id for instance in kept if outdated(instance, request, current)]
    return Planned(Plan(tuple(operations)), tuple(ids), tuple(old), _for_life(kept, current, request))


def _for_life(kept: Sequence[Instance], current: Current, request: Request) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for instance in kept:
        for option in had_for_life(instance, request, current):
            found.setdefault(option, []).append(instance.label)
    return found


def _launches(
    current: Current, request: Request, chosen: int, beside: Sequence[Instance]
) -> tuple[list[Instance], list[Launch], list[Operation]]:
    """Return what the request's token launched before, what is to be launched, and the write that remembers it.

    :param beside: the other instances, as this run leaves them.
    """
    if request.template.client_token is not None and current.token is not None:
        already, rest = taken_up(current.token, current, request)
        ids = current.token["instance_ids"]
        launches = [] if rest is None else _rest(current, replace(request, drawn=rest), beside)
        return already, [launch.numbered(ids.index(launch.instance.instance_id)) for launch in launches], []
    missing = _missing(chosen, request)
    if not missing:
        return [], [], []
    launches = new_instances(current, request, fitting(current, request, missing, beside))
    token = [record_launch(request, launches)] if request.template.client_token is not None else []
    return [], launches, token


def _rest(current: Current, request: Request, beside: Sequence[Instance]) -> list[Launch]:
    """Return what is missing of a token's launch, all of it: how many there are was settled when it began."""
    missing = len(request.drawn.instance_ids)
    return new_instances(current, request, fitting(current, replace(request, min_count=None), missing, beside))


def _attached(operations: Sequence[Operation]) -> Iterator[Volume]:
    """Yield each volume as often as the operations attach it."""
    for operation in operations:
        payload = operation.payload
        if isinstance(payload, Launch):
            yield from payload.volumes
        elif isinstance(payload, DiskChange) and payload.action == "attach" and payload.volume:
            yield payload.volume


def _wanted_ids(request: Request, chosen: Sequence[Instance]) -> tuple[str, ...]:
    if request.instance_ids is not None:
        return request.instance_ids
    return tuple(instance.instance_id for instance in chosen)


# Selection


def _chosen(
    live: Sequence[Instance], remains: Sequence[Instance], current: Current, request: Request
) -> list[Instance]:
    if request.instance_ids is not None:
        return _by_id(live, remains, current, request)
    if request.filters is not None:
        return [instance for instance in live if matches(instance, request.filters)]
    wanted = request.tags.items()
    return [instance for instance in live if wanted <= instance.tags.items()] if wanted else []


def _by_id(live: Sequence[Instance], remains: Sequence[Instance], current: Current, request: Request) -> list[Instance]:
    known = {instance.instance_id: instance for instance in live}
    gone = {instance.instance_id for instance in (*current.terminated, *remains)} | current.buried
    found = []
    for instance_id in request.instance_ids or ():
        if instance_id in known:
            found.append(known[instance_id])
        elif instance_id in current.orphans and request.state != "terminated":
            raise PocketError(
                f"instance_ids: the domain of {instance_id} was undefined, and it cannot be made {request.state}; left "
                f"of it are {current.orphans[instance_id]}, which state: terminated takes away; nothing was done to "
                "any of the others",
                code="IncorrectInstanceState",
            )
        elif instance_id not in gone and instance_id not in current.orphans:
            raise PocketError(
                f"instance_ids: there is no instance {instance_id} on this host; nothing was done to any of the others",
                code="InvalidInstanceID.NotFound",
            )
        elif request.state != "terminated":
            raise PocketError(
                f"instance_ids: {instance_id} is terminated and cannot be made {request.state}; launch a new instance",
                code="IncorrectInstanceState",
            )
    return found


def _surplus(chosen: Sequence[Instance], request: Request) -> list[Instance]:
    """Return the instances that are too many, in the order in which they go: the newest first, or the oldest."""
    if request.exact_count is None:
        return []
    ordered = list(chosen) if request.termination_policy == "oldest" else list(reversed(chosen))
    return ordered[: max(0, len(chosen) - request.exact_count)]


def _missing(chosen: int, request: Request) -> int:
    """Return how many instances are missing, or may be launched."""
    if request.counted:
        return request.count or request.max_count or 0
    if request.exact_count is not None:
        return max(0, request.exact_count - chosen)
    launches = request.state in ("present", "running") and request.instance_ids is None and request.filters is None
    return 1 if launches and not chosen else 0


def _check_protection(going: Sequence[Instance], request: Request) -> None:
    protected = [instance.label for instance in going if instance.termination_protection]
    if protected and request.template.termination_protection is not False:
        raise PocketError(
            f"termination_protection: {', '.join(protected)} may not be terminated; state termination_protection: "
            "false to lift it; nothing was done to any of the others",
            code="OperationNotPermitted",
        )


# Operations on what there is


def _clear(instance: Instance) -> Operation:
    """Finish what a run that died has left: a launch is taken back, a termination completed."""
    if instance.phase == LAUNCHING:
        return Operation(
            "remove", f"{instance.instance_id} (unfinished launch)", {"state": "pending"}, payload=instance
        )
    return Operation("terminate", instance.instance_id, instance.printable(), payload=instance)


def _terminate(instance: Instance) -> Operation:
    return Operation("terminate", instance.instance_id, instance.printable(), payload=instance)


def _sweep(orphan: Orphan) -> Operation:
    return Operation("sweep", f"{orphan.instance_id} (undefined)", orphan.printable(), payload=orphan)


def _check_starts(operations: Sequence[Operation], staying: Sequence[Instance], current: Current) -> None:
    """Refuse starts in networks that are not active, without their files, or that the host has no room for."""
    there = {instance.instance_id: instance for instance in staying}
    rebuilt = [operation.payload for operation in operations if operation.action == "rebuild"]
    reseeded = {change.instance_id for change in rebuilt if change.user_data is not None}
    starts = []
    for operation in operations:
        if operation.action in ("start", "restart"):
            instance = there[operation.payload.instance_id]
            check_start(instance, current, new_seed=instance.instance_id in reseeded)
            if operation.action == "start" or instance.state == "stopped":
                starts.append(operation.payload)
    if current.capacity is not None:
        ids = {instance.instance_id for instance in starts}
        running = [one for one in staying if one.state != "stopped" and one.instance_id not in ids]
        current.capacity.check_starts(starts, running)


def _launch(number: int, launch: Launch) -> Operation:
    """Describe a launch by nothing that was drawn or planned for it, so that check mode's diff is the real one's."""
    after = {**launch.instance.with_state("running").printable(), **shown(launch.volumes, launch.template.root)}
    del after["private_ip_address"]
    return Operation("launch", f"new instance {number}", None, after, payload=launch)
