# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the kernel holds to what is declared, in the fewest writes. Pure. PRIVATE to the collection.

It is written for many services; one service is a table of one. No plan holds a flush, and an object that exists is
edited, never deleted and made anew: live connections survive every edit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan, WhenPrinted
from .checks import check_dest, check_service
from .model import (
    DEST_SETTINGS,
    SERVICE_SETTINGS,
    Dest,
    DestKey,
    Service,
    ServiceKey,
    Table,
    VirtualService,
    declared,
    different,
)

__all__ = ["Wanted", "Write", "make_plan", "missing_modules", "outcome", "shortfall"]


@dataclass(frozen=True)
class Wanted:
    """What is asked for of one virtual service.

    :param service: its key, with the settings that are stated.
    :param dests: the dests that must be there, with the settings that are stated.
    :param absent_dests: the dests that must not be there.
    :param purge_dests: whether all dests that C(dests) does not name must go.
    :param must_exist: whether to refuse, rather than to create the service, where it is missing.
    """

    service: Service
    dests: tuple[Dest, ...] = ()
    absent_dests: tuple[DestKey, ...] = ()
    purge_dests: bool = False
    must_exist: bool = False


@dataclass(frozen=True)
class Write:
    """One message to the kernel: an operation's payload.

    :param kind: C(create), C(edit) or C(delete), as the operation's action.
    :param service: the whole service (on C(create) and C(edit) of it), else only its key counts.
    :param dest: the whole dest, where the message is about a dest.
    :param drained: whether this, a deletion, has to wait until the connections are gone.
    """

    kind: str
    service: Service
    dest: Dest | None = None
    drained: bool = False


Drains = Callable[[ServiceKey], bool]
"""Whether the connections of a service are to end before dests of it are deleted."""


def make_plan(
    current: Table,
    wanted: Iterable[Wanted],
    absent: Iterable[ServiceKey] = (),
    drains: Drains = lambda key: False,
) -> Plan:
    """The writes that turn `current` into what is wanted: additions, then edits, then drains, then deletions."""
    operations: list[Operation] = []
    for one in wanted:
        present = current.get(one.service.key)
        if present is None and one.must_exist:
            if one.dests:
                raise PocketError(
                    f"The virtual service {one.service.key} does not exist, so it can have no dest "
                    f"{one.dests[0].key}; create it with pocket.cloud.ipvs_service first"
                )
            continue
        operations.extend(_service_operations(one, present, drains))
    for key in absent:
        if key in current:
            operations.extend(_deletion(current[key], drains))
    return Plan(tuple(sorted(operations, key=lambda operation: _PHASES[operation.action])))


_PHASES = {"create": 0, "edit": 1, "drain": 2, "delete": 3}


def _service_operations(wanted: Wanted, present: VirtualService | None, drains: Drains) -> Iterator[Operation]:
    target = wanted.service.over(present.service if present else None)
    key = target.key
    changes = [] if present is None else different(SERVICE_SETTINGS, present.service, target)
    if present is None:
        check_service(target)
        yield Operation("create", str(key), None, WhenPrinted(target.settings), Write("create", target))
    elif changes:
        check_service(target)
        yield _edit(str(key), present.service, target, Write("edit", target))
    dests = present.dests if present else {}
    for dest in wanted.dests:
        yield from _dest_operations(target, dest, dests.get(dest.key))
    for dest in _sorted(_leaving(wanted, dests)):
        if drains(key):
            yield from _drain(target, dest)
        write = Write("delete", target, dest, drained=drains(key))
        yield Operation("delete", _name(key, dest.key), WhenPrinted(dest.settings), None, write)


def _leaving(wanted: Wanted, present: Mapping[DestKey, Dest]) -> list[Dest]:
    leaving = [present[key] for key in dict.fromkeys(wanted.absent_dests) if key in present]
    if wanted.purge_dests:
        staying = {dest.key for dest in wanted.dests}.union(wanted.absent_dests)
        leaving += [dest for key, dest in present.items() if key not in staying]
    return leaving


def _drain(service: Service, dest: Dest) -> Iterator[Operation]:
    """No new connections. Its deletion follows; one without, whose service is deleted, is shown as gone, too."""
    if dest.weight:
        write = Write("edit", service, replace(dest, weight=0))
        yield Operation("drain", _name(service.key, dest.key), WhenPrinted(dest.settings), None, write)


def _dest_operations(service: Service, wanted: Dest, present: Dest | None) -> Iterator[Operation]:
    target = wanted.over(present)
    if present is None:
        _check_dest(service.key, target)
        name = _name(service.key, target.key)
        yield Operation("create", name, None, WhenPrinted(target.settings), Write("create", service, target))
    elif different(DEST_SETTINGS, present, target):
        _check_dest(service.key, target)
        name = _name(service.key, target.key)
        yield _edit(name, present, target, Write("edit", service, target))


def _check_dest(service: ServiceKey, dest: Dest) -> None:
    try:
        check_dest(service, dest)
    except PocketError as error:
        raise PocketError(f"{service}: {error.message}") from None


def _edit(subject: str, before: Service | Dest, after: Service | Dest, write: Write) -> Operation:
    return Operation("edit", subject, WhenPrinted(before.settings), WhenPrinted(after.settings), write)


def _deletion(present: VirtualService, drains: Drains) -> Iterator[Operation]:
    service = present.service
    dests = _sorted(present.dests.values())

    def before() -> dict[str, Any]:
        return {**service.settings(), **({"dests": [declared(dest) for dest in dests]} if dests else {})}

    drained = bool(dests) and drains(service.key)
    for dest in dests if drained else ():
        yield from _drain(service, dest)
    write = Write("delete", service, drained=drained)
    yield Operation("delete", str(service.key), WhenPrinted(before), None, write)


def _sorted(dests: Iterable[Dest]) -> list[Dest]:
    return sorted(dests, key=lambda dest: dest.key.order())


def _name(service: ServiceKey, dest: DestKey) -> str:
    return f"{service} -> {dest}"


def missing_modules(current: Table, wanted: Iterable[Wanted]) -> tuple[set[str], set[str]]:
    """The schedulers and the persistence engines that are wanted and that no service of `current` uses already."""
    targets = [one.service.over(_service_of(current, one)) for one in wanted if not one.must_exist]
    present = [one.service for one in current.values()]
    schedulers = {one.scheduler or "" for one in targets} - {one.scheduler for one in present}
    engines = {one.persistence_engine or "" for one in targets} - {one.persistence_engine for one in present}
    return schedulers, engines - {"none"}


def _service_of(current: Table, wanted: Wanted) -> Service | None:
    present = current.get(wanted.service.key)
    return present.service if present else None


def outcome(current: Table, plan: Plan) -> dict[ServiceKey, VirtualService]:
    """The table that `plan` makes of `current`."""
    services = {key: one.service for key, one in current.items()}
    dests = {key: dict(one.dests) for key, one in current.items()}
    for operation in plan:
        write: Write = operation.payload
        key = write.service.key
        if write.dest is not None:
            if write.kind == "delete":
                del dests[key][write.dest.key]
            else:
                dests[key][write.dest.key] = write.dest
        elif write.kind == "delete":
            del services[key], dests[key]
        else:
            services[key] = write.service
            dests.setdefault(key, {})
    return {key: VirtualService(service, dests[key]) for key, service in services.items()}


def shortfall(after: Table, plan: Plan) -> list[str]:
    """What the kernel did not take of a plan that was applied, one phrase for each value."""
    missed: list[str] = []
    last = {operation.subject: operation.payload for operation in plan}
    for subject, write in last.items():
        present = after.get(write.service.key)
        asked: Any = write.service if write.dest is None else write.dest
        found: Any = _found(present, write)
        if write.kind == "delete":
            missed.extend([f"{subject} is still there"] if found is not None else [])
        elif found is None:
            missed.append(f"{subject} is not there")
        else:
            settings: Collection[Any] = SERVICE_SETTINGS if write.dest is None else DEST_SETTINGS
            missed.extend(
                f"{name} of {subject} was to be {getattr(asked, name)!r} and is {getattr(found, name)!r}"
                for name in different(settings, asked, found)
            )
    return missed


def _found(present: VirtualService | None, write: Write) -> Service | Dest | None:
    if present is None:
        return None
    return present.service if write.dest is None else present.dests.get(write.dest.key)
