# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the instances there are and those asked for to the operations between. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .._errors import PocketError
from .._plan import Operation, Plan
from .filters import matches
from .launches import active_network, check_selection, new_instances
from .model import LAUNCHED, LAUNCHING, Instance
from .request import Current, Launch, Request

__all__ = ["Planned", "plan_instances"]


@dataclass(frozen=True)
class Planned:
    """The plan, and the ids of the instances that the request is about once it is carried out."""

    plan: Plan
    instance_ids: tuple[str, ...]


def plan_instances(current: Current, request: Request) -> Planned:
    """Return what is to be done; raises PocketError where the request cannot be met."""
    remains = [instance for instance in current.instances if instance.phase != LAUNCHED]
    live = [instance for instance in current.instances if instance.phase == LAUNCHED]
    chosen = _chosen(live, remains, current, request)
    operations = [_clear(instance) for instance in remains]
    if request.state == "terminated":
        operations += [_terminate(instance) for instance in chosen]
        return Planned(Plan(tuple(operations)), _wanted_ids(request, chosen))
    missing, surplus = _difference(chosen, request)
    kept = [instance for instance in chosen if instance not in surplus]
    if request.count is not None:
        kept = []
    launches = new_instances(current, request, missing) if missing else []
    operations += [_terminate(instance) for instance in surplus]
    for instance in kept:
        check_selection(_left_as(instance, request), request)
        operations += _changes(instance, request)
    _check_networks(operations, current)
    operations += [_launch(number, launch) for number, launch in enumerate(launches, start=1)]
    ids = [instance.instance_id for instance in kept] + [launch.instance.instance_id for launch in launches]
    return Planned(Plan(tuple(operations)), tuple(ids))


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
    gone = {instance.instance_id for instance in (*current.terminated, *remains)}
    found = []
    for instance_id in request.instance_ids or ():
        if instance_id in known:
            found.append(known[instance_id])
        elif instance_id not in gone:
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


def _difference(chosen: Sequence[Instance], request: Request) -> tuple[int, list[Instance]]:
    """Return how many instances are missing, and which are too many: the newest."""
    if request.count is not None:
        return request.count, []
    if request.exact_count is not None:
        surplus = len(chosen) - request.exact_count
        newest_first = list(reversed(chosen))
        return max(0, -surplus), newest_first[: max(0, surplus)]
    launches = request.state in ("present", "running") and request.instance_ids is None and request.filters is None
    return (1 if launches and not chosen else 0), []


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


# State asked for -> what brings an instance there, and the state it then is in.
_WAYS = {"running": ("start", "running"), "stopped": ("stop", "stopped"), "restarted": ("restart", "running")}


def _left_as(instance: Instance, request: Request) -> Instance:
    """Return `instance` as the request leaves it."""
    _action, state = _WAYS.get(request.state, ("", instance.state))
    return replace(instance, tags=_tags_after(instance, request), state=state)


def _changes(instance: Instance, request: Request) -> Iterator[Operation]:
    after = _left_as(instance, request)
    now = replace(instance, tags=after.tags)
    if now.tags != instance.tags:
        yield Operation("tag", now.instance_id, instance.printable(), now.printable(), payload=now)
    action, _state = _WAYS.get(request.state, ("", ""))
    if action and (after.state != now.state or action == "restart"):
        restarted = {"restarted": True} if after.state == now.state else {}
        shown = {**after.printable(), **restarted}
        yield Operation(action, now.instance_id, now.printable(), shown, payload=now)


def _tags_after(instance: Instance, request: Request) -> dict[str, str]:
    kept = dict(instance.tags)
    if request.purge_tags:
        kept = {key: value for key, value in kept.items() if key in request.tags or key == "Name"}
    return {**kept, **request.tags}


def _check_networks(operations: Sequence[Operation], current: Current) -> None:
    for operation in operations:
        if operation.action in ("start", "restart"):
            for interface in operation.payload.interfaces:
                active_network(interface.network, current)


def _launch(number: int, launch: Launch) -> Operation:
    """Describe a launch by nothing that was drawn or planned for it, so that check mode's diff is the real one's."""
    after = launch.instance.with_state("running").printable()
    del after["private_ip_address"]
    return Operation("launch", f"new instance {number}", None, after, payload=launch)
