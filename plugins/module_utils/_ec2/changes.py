# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request makes of an instance that exists. Pure. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation
from .block_devices import deleted_after, disk_changes
from .images import Image
from .launches import size_of
from .model import CHANGING, USER_SHUTDOWN, Instance, within_limit
from .protection import protection_stated
from .request import Current, Request

__all__ = ["Change", "changes", "had_for_life", "left_as", "outdated"]

_OF_INTERFACES = ("network", "private_ip_address", "ipv6_address")
# State asked for -> what brings an instance there, and the state it then is in.
_WAYS = {"running": ("start", "running"), "stopped": ("stop", "stopped"), "restarted": ("restart", "running")}


@dataclass(frozen=True)
class Change:
    """An instance as it is and as it is to be.

    :param user_data: what its seed is to hold from now on, none where that stays.
    """

    before: Instance
    after: Instance
    user_data: str | None = field(default=None, repr=False)

    @property
    def instance_id(self) -> str:
        """The instance's id."""
        return self.after.instance_id

    @property
    def refiltered(self) -> bool:
        """Whether its network filters change."""
        before, after = self.before, self.after
        groups = before.security_groups != after.security_groups
        return groups or before.source_dest_check != after.source_dest_check

    @property
    def resized(self) -> bool:
        """Whether its vCPUs or its memory change."""
        return (self.before.vcpus, self.before.memory_mib) != (self.after.vcpus, self.after.memory_mib)


def left_as(instance: Instance, request: Request, current: Current) -> Instance:
    """Return `instance` as the request leaves it."""
    action, state = _way(instance, request)
    return replace(_described(instance, request, current), state=state, paused="" if action else instance.paused)


def _way(instance: Instance, request: Request) -> tuple[str, str]:
    """Return what brings `instance` into the state asked for, and that state; present leaves it in the one it has."""
    state = "running" if request.state == "present" and instance.changing else request.state
    return _WAYS.get(state, ("", instance.state))


def _described(instance: Instance, request: Request, current: Current) -> Instance:
    """Return `instance` with all that the request states about it, but in its present state."""
    template = request.template
    stated: dict[str, Any] = {"tags": _tags_after(instance, request)}
    if template.volumes is not None:
        stated["volumes_deleted_on_termination"] = deleted_after(instance, template.volumes)
    if request.exact_count is None or request.allow_stop:
        stated.update(_machine(request, current))
    for option, name in (
        ("termination_protection", "termination_protection"),
        ("restart_policy", "restart_policy"),
        ("instance_initiated_shutdown_behavior", "shutdown_behavior"),
    ):
        if getattr(template, option) is not None:
            stated[name] = getattr(template, option)
    stated.update(protection_stated(current, template))
    if instance.changing and request.state == "stopped":
        stated["state_reason"] = USER_SHUTDOWN  # no more to be started again
    return replace(instance, **stated)


def _machine(request: Request, current: Current) -> dict[str, Any]:
    """Return what the request states that takes a stop to change."""
    template = request.template
    stated: dict[str, Any] = {}
    if template.instance_type is not None or template.vcpus is not None:
        vcpus, memory_mib = size_of(current, template)
        stated.update(instance_type=template.instance_type, vcpus=vcpus, memory_mib=memory_mib)
    if template.user_data is not None:
        stated["user_data_sha256"] = hashlib.sha256(template.user_data.encode(errors="surrogateescape")).hexdigest()
    return stated


def outdated(instance: Instance, request: Request, current: Current) -> bool:
    """Whether an exact count leaves `instance` with another size or other user data than new ones get."""
    left = left_as(instance, request, current)
    return request.exact_count is not None and replace(left, **_machine(request, current)) != left


def had_for_life(instance: Instance, request: Request, current: Current) -> list[str]:
    """Return the options that state another thing than `instance` was launched with, and has for life."""
    template = request.template
    found = []
    if isinstance(current.image, Image) and current.image.image_id != instance.image_id:
        found.append("image_id")
    if template.key_name not in (None, instance.key_name):
        found.append("key_name")
    several = template.network_interfaces
    if several is not None and len(several) != len(instance.interfaces):
        return [*found, "network_interfaces"]
    alone = {name: getattr(template, name) for name in _OF_INTERFACES}
    for index, (stated, has) in enumerate(zip([alone] if several is None else several, instance.interfaces)):
        parameter = "" if several is None else f"network_interfaces[{index}]."
        for name in _OF_INTERFACES:
            if stated.get(name) is not None and not _same(stated[name], getattr(has, name)):
                found.append(parameter + name)
    return found


def _same(stated: str, has: str | None) -> bool:
    try:
        return has is not None and ipaddress.ip_address(stated) == ipaddress.ip_address(has)
    except ValueError:  # the name of a network
        return stated == has


def _tags_after(instance: Instance, request: Request) -> dict[str, str]:
    kept = dict(instance.tags)
    if request.purge_tags:
        kept = {key: value for key, value in kept.items() if key in request.tags or key == "Name"}
    return within_limit({**kept, **request.tags})


def changes(instance: Instance, request: Request, current: Current) -> Iterator[Operation]:
    """Yield what is to be done to `instance`; raises IncorrectInstanceState for what needs a stop that is not allowed.

    What needs a stop is done between a stop and a start, the rest before either.
    """
    now = _described(instance, request, current)
    change = Change(instance, now, request.template.user_data if _reseeds(instance, now) else None)
    offline = change.resized or change.user_data is not None
    action, state = _way(instance, request)
    after = replace(now, state=state, paused="" if action else now.paused)
    acts = bool(action) and (after.state != now.state or action == "restart")
    drawn = request.drawn.launch_time
    disks = list(disk_changes(instance, request.template.volumes, request.template.root, current.shelf, drawn))
    if request.hibernate and instance.state != "stopped":
        _check_hibernates(change, disks, request)
    yield from disks
    if offline:
        _check_offline(change, request)
        if instance.state != "stopped":
            yield from _through_a_stop(change, after)
            return
        yield Operation("rebuild", now.instance_id, instance.printable(), now.printable(), change)
    elif now != instance or (now.forgotten_at_boot and not acts):
        before = {**instance.printable(), **({"to_be_started": True} if now.changing != instance.changing else {})}
        repaired = {} if acts or not instance.forgotten_at_boot else {"starts_at_boot": instance.starts_at_boot}
        shown = {name: not value for name, value in repaired.items()}
        yield Operation("modify", now.instance_id, {**before, **repaired}, {**now.printable(), **shown}, change)
    if acts:
        restarted = {"restarted": True} if after.state == now.state else {}
        yield Operation(action, now.instance_id, now.printable(), {**after.printable(), **restarted}, payload=now)
    elif after.paused != now.paused:
        yield Operation("resume", now.instance_id, now.printable(), after.printable(), payload=now)


def _reseeds(before: Instance, after: Instance) -> bool:
    return before.user_data_sha256 != after.user_data_sha256


def _through_a_stop(change: Change, after: Instance) -> Iterator[Operation]:
    before, subject, after = change.before, change.instance_id, replace(after, paused="")
    shown = {**after.printable(), **({"restarted": True} if after.state == before.state else {})}
    # Said while it is off, so that the run after one that dies in between starts it.
    running = replace(before, state_reason=CHANGING if after.state == "running" else "")
    yield Operation("stop", subject, before.printable(), shown, payload=running)
    stopped = replace(change, after=replace(change.after, state="stopped", paused=""))
    yield Operation("rebuild", subject, before.printable(), shown, payload=stopped)
    if after.state == "running":
        yield Operation("start", subject, before.printable(), shown, payload=stopped.after)


def _check_hibernates(change: Change, disks: Sequence[Operation], request: Request) -> None:
    """Refuse to change what the guest goes on with in the run that hibernates it."""
    touched = [operation.subject for operation in disks if operation.payload.action != "keep"]
    if touched or change.resized or change.user_data is not None:
        what = touched[0] if touched else f"its {_offline_option(change, request)}"
        raise PocketError(
            f"hibernate: {change.before.label} cannot be hibernated by a run that changes {what}, for what it was "
            "doing depends on that; change it by a run before, or stop the instance without hibernate",
            code="InvalidParameterCombination",
        )


def _offline_option(change: Change, request: Request) -> str:
    size = "instance_type" if request.template.instance_type else "vcpus, memory_mib"
    return size if change.resized else "user_data"


def _check_offline(change: Change, request: Request) -> None:
    instance = change.before
    what = _offline_option(change, request)
    if instance.hibernated:
        raise PocketError(
            f"{what}: {instance.label} is hibernated, and what it was doing depends on what it has; start it first",
            code="IncorrectInstanceState",
        )
    if instance.state == "stopped" or request.state in ("stopped", "restarted") or request.allow_stop:
        return
    has, wanted = (_size(instance), _size(change.after)) if change.resized else ("other user data", "new user data")
    raise PocketError(
        f"{what}: {instance.label} is {instance.state} with {has}, and to give it {wanted} it must be stopped; state "
        "allow_stop: true to have it stopped and started again, or stop it first",
        code="IncorrectInstanceState",
    )


def _size(instance: Instance) -> str:
    return f"{instance.instance_type or ''} ({instance.vcpus} vCPUs, {instance.memory_mib} MiB)".strip()
