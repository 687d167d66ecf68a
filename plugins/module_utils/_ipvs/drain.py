# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the connections of dests end before the dests are deleted. PRIVATE to the collection.

A dest that drains has weight 0, which takes no new connections and keeps the live ones. That is all the state there
is: a run that is interrupted is resumed by the next one, which finds the weight at 0 and goes on waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .backend import Backend
from .model import Dest, ServiceKey, Table
from .plan import Write

__all__ = ["Drain", "await_drain", "deferred", "immediate", "parse_drain", "persistence_warnings"]

POLL = 1.0  # seconds between two looks at the kernel's counts
QUIESCENT = "expire_quiescent_template"


@dataclass(frozen=True)
class Drain:
    """How connections are let end.

    :param timeout: seconds to wait for their end.
    :param wait_for_udp: whether to wait for UDP, too, where nothing says that a connection has ended: the kernel
        forgets it some time (C(udp) in ipvs_config) after its last packet.
    :param remove_at_timeout: whether a dest that still has connections then is deleted, rather than an error.
    :param step: seconds after which to return with what is left; None to wait for all of it.
    """

    timeout: int
    wait_for_udp: bool = True
    remove_at_timeout: bool = False
    step: int | None = None

    def __call__(self, key: ServiceKey) -> bool:
        """Whether the connections of the service are waited for."""
        return self.wait_for_udp or key.protocol != "udp"


def parse_drain(params: Mapping[str, Any] | None) -> Drain | None:
    """How to drain, out of the options; None where that is not asked for."""
    if params is None:
        return None
    for name in ("timeout", "step"):
        if params.get(name) is not None and params[name] < 0:
            raise PocketError(f"drain: {name} is {params[name]}; give seconds, 0 or more")
    return Drain(params["timeout"], params["udp"] == "wait", params["at_timeout"] == "remove", params.get("step"))


def immediate(plan: Plan) -> Plan:
    """What is to be written at once."""
    return Plan(tuple(one for one in plan if not one.payload.drained))


def deferred(plan: Plan) -> Plan:
    """The deletions that wait for the end of connections."""
    return Plan(tuple(one for one in plan if one.payload.drained))


def persistence_warnings(plan: Plan, current: Table, read_sysctl: Callable[[str], str | None]) -> list[str]:
    """What would keep a drain from ending: persistence that goes on giving clients to dests of weight 0."""
    waiting = {one.payload.service.key for one in deferred(plan)}
    keys = [key for key in waiting if key in current and current[key].service.persistence_timeout]
    if not keys or read_sysctl(QUIESCENT) != "0":
        return []
    names = ", ".join(str(key) for key in sorted(keys, key=ServiceKey.order))
    warning = (
        f"{names} is persistent and net.ipv4.vs.{QUIESCENT} is 0, so clients that come back within the persistence "
        "timeout still get the dests that drain, which may keep the drain from ending; set it to 1 before"
    )
    return [warning]


def await_drain(
    plan: Plan,
    drain: Drain,
    kernel: Backend,
    exclusive: Callable[[], AbstractContextManager[Any]],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any]]:
    """Delete each drained dest and service as its connections end; what is left when the step is over.

    PocketError when the timeout is over, or when somebody gave a draining dest weight again.
    """
    waiting = list(deferred(plan))
    start = clock()
    while True:
        passed = clock() - start
        with exclusive():
            table = kernel.read({one.payload.service.key for one in waiting}, stats=True)
            left = {one.subject: _left(one.payload, table) for one in waiting}
            over = drain.remove_at_timeout and passed >= drain.timeout
            ready = [one for one in waiting if over or not any(map(_total, left[one.subject]))]
            kernel.apply(Plan(tuple(one for one in ready if _is_there(one.payload, table))))
        waiting = [one for one in waiting if one not in ready]
        rest = [entry for one in waiting for entry in left[one.subject]]
        if not waiting:
            return []
        if passed >= drain.timeout:
            raise PocketError(_late(waiting, rest), changed=True, draining=rest)
        if drain.step is not None and passed >= drain.step:
            return rest
        sleep(min(POLL, drain.timeout - passed))


def _is_there(write: Write, table: Table) -> bool:
    """Whether it is still to be deleted: somebody else may have done it."""
    present = table.get(write.service.key)
    return present is not None and (write.dest is None or write.dest.key in present.dests)


def _left(write: Write, table: Table) -> list[dict[str, Any]]:
    """The connections of each dest that the deletion waits for."""
    present = table.get(write.service.key)
    if present is None:
        return []
    dests = [dest for dest in present.dests.values() if write.dest is None or dest.key == write.dest.key]
    for dest in dests:
        if dest.weight:
            raise PocketError(
                f"The dest {write.service.key} -> {dest.key} drained, but somebody gave it weight {dest.weight} "
                "meanwhile, so it was left alone; settle who looks after it, and run the task again",
                changed=True,
            )
    return [_counts(write.service.key, dest) for dest in dests]


def _counts(service: ServiceKey, dest: Dest) -> dict[str, Any]:
    counters = dest.stats or {}
    names = ("active_connections", "inactive_connections", "persistent_connections")
    return {"service": str(service), "dest": str(dest.key), **{name: counters.get(name, 0) for name in names}}


def _total(entry: Mapping[str, Any]) -> int:
    return sum(value for name, value in entry.items() if name.endswith("_connections"))


def _late(waiting: list[Operation], rest: list[dict[str, Any]]) -> str:
    left = "; ".join(f"{one['service']} -> {one['dest']} has {_total(one)}" for one in rest if _total(one))
    return (
        f"The drain of {', '.join(one.subject for one in waiting)} did not end within its timeout: "
        f"{left} connections left. They go on at weight 0, without new ones; run the task again to wait on, "
        "with a longer timeout, or remove them with their connections (at the timeout, or without a drain)"
    )
