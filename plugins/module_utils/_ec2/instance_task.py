# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_instance does. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .._runner import Task
from .block_devices import DiskChange
from .changes import Change
from .cloud_init import CloudInit
from .confirmation import confirmed
from .drift import verify_filters
from .hypervisor import Hypervisor
from .instance_reading import InstanceReading
from .lifecycle import Failure, Lifecycle
from .model import LAUNCHED, Instance
from .parameters import readiness_of, request_of
from .plan import plan_instances
from .protection import unprotected
from .request import Current
from .store import Store
from .tokens import TOKENS
from .verification import verify_disks, verify_swept, verify_there
from .waiters import wait_until_ready

__all__ = ["InstanceTask"]

# What is about no one instance.
_ASIDE = ("token", "filter", "reserve")
_STARTS = ("start", "restart", "launch")
# Of so many a warning tells the ids.
_NAMED = 10
# In this order: what makes room comes first.
_FIRST = ("remove", "terminate", "sweep", "token", "filter", "reserve")
_THEN = ("modify", "stop", "rebuild", "disk", "restart", "resume", "start", "launch")


class InstanceTask(Task[Current]):
    """One call of ec2like_instance."""

    def __init__(
        self,
        params: Mapping[str, Any],
        hypervisor: Hypervisor | None = None,
        store: Store | None = None,
        lifecycle: Lifecycle | None = None,
    ) -> None:
        self._readiness = readiness_of(params)
        self._request = request_of(params)
        self._stop_timeout = params["stop_timeout"]
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])
        self._lifecycle = lifecycle or Lifecycle(self._hypervisor, self._store)
        self._reading = InstanceReading(self._request, params["accel"], self._hypervisor, self._store)
        self._instance_ids: tuple[str, ...] = ()
        self._outdated: tuple[str, ...] = ()
        self._for_life: Mapping[str, Sequence[str]] = {}
        self._old_leases: dict[str, int] = {}
        self._cloud_init = CloudInit(self._hypervisor, self._store)

    def exclusive(self) -> AbstractContextManager[Any]:
        return self._store.lock()

    def undisturbed(self) -> AbstractContextManager[Any]:
        return self._store.undisturbed()

    def read(self) -> Current:
        current = self._reading.current()
        if current.capacity:
            self._lifecycle.boots_at_once = current.capacity.boots_at_once
        return current

    def plan(self, current: Current) -> Plan:
        planned = plan_instances(current, self._request)
        self._instance_ids = planned.instance_ids
        self._outdated = planned.outdated
        self._for_life = planned.for_life
        # A guest that is started here is there when its lease is a newer one than now.
        self._old_leases = {
            lease.mac_address: lease.expires
            for lease in current.leases
            for operation in planned.plan
            if operation.action in ("start", "restart")
            and lease.mac_address in {interface.mac_address for interface in operation.payload.interfaces}
        }
        return planned.plan

    def warnings(self, plan: Plan, current: Current) -> list[str]:
        launched = [one.payload.instance for one in plan if one.action == "launch"]
        said = unprotected(current) if any(instance.source_dest_check for instance in launched) else ""
        warnings = [said] if said else []
        if self._request.state == "present":
            stopped = {_subject(one).instance_id for one in plan if one.action == "stop"}
            paused = [one for one in current.instances if one.paused and one.instance_id in self._instance_ids]
            warnings += [
                f"{one.label} stands still ({one.paused}); state: running lets it go on"
                for one in paused
                if one.instance_id not in stopped
            ]
        warnings += [
            f"{option}: {_named(labels)} keep what they were launched with, which is another; for what is stated, "
            "terminate them and launch others"
            for option, labels in self._for_life.items()
        ]
        if not self._outdated:
            return warnings
        warning = (
            f"{', '.join(self._outdated)} keep the size and the user data they have, which are not those stated for "
            "new instances; state allow_stop: true to have them stopped, changed and started again"
        )
        return [*warnings, warning]

    def apply(self, plan: Plan) -> None:
        self._cloud_init.mark(_subject(operation).instance_id for operation in plan if operation.action in _STARTS)
        for action in (*_FIRST, *_THEN):
            operations = [operation for operation in plan if operation.action == action]
            failures = self._carry_out(action, [operation.payload for operation in operations])
            if failures:
                if action == "launch":
                    self._take_back(operations, failures)
                asleep = self._start_again(plan, action, failures)
                raise self._failed(action, operations, failures, asleep)

    def _take_back(self, operations: list[Operation], failures: list[Failure]) -> None:
        """Take the launched ones away again where they are fewer than the user can do with."""
        failed = {failure.instance_id for failure in failures}
        launched = [one.payload.instance for one in operations if one.payload.instance.instance_id not in failed]
        if self._request.min_count is not None and len(launched) < self._request.min_count:
            self._lifecycle.take_back(launched)

    def _start_again(self, plan: Plan, action: str, failures: list[Failure]) -> list[Failure]:
        """Start those that were stopped for a change alone, changed or not, where a failure ends the run earlier."""
        if action not in ("stop", "rebuild", "disk"):
            return []
        before = {one.payload.instance_id: one.payload for one in plan if one.action == "stop"}
        after = {one.payload.instance_id: one.payload for one in plan if one.action == "start"}
        failed = {failure.instance_id for failure in failures}
        unchanged = {"stop": set(before), "rebuild": failed, "disk": set()}[action]
        asleep = sorted(before.keys() & after.keys())
        return self._lifecycle.start([before[one] if one in unchanged else after[one] for one in asleep])

    def _carry_out(self, action: str, payloads: list[Any]) -> list[Failure]:
        if not payloads:
            return []
        if action == "stop" and not self._request.hibernate:
            return self._lifecycle.stop(payloads, self._stop_timeout)
        if action == "restart":
            return self._lifecycle.restart(payloads, self._stop_timeout)
        acts: dict[str, Callable[[list[Any]], list[Failure]]] = {
            "remove": self._lifecycle.remove,
            "terminate": self._lifecycle.terminate,
            "sweep": self._lifecycle.sweep,
            "token": self._remember,
            "filter": self._lifecycle.sync_filters,
            "reserve": self._lifecycle.reserve,
            "modify": self._lifecycle.modify,
            "stop": self._lifecycle.hibernate,
            "rebuild": self._lifecycle.rebuild,
            "disk": self._lifecycle.change_disks,
            "resume": self._lifecycle.resume,
            "start": self._lifecycle.start,
            "launch": self._lifecycle.launch,
        }
        return acts[action](payloads)

    def _remember(self, tokens: list[Any]) -> list[Failure]:
        for token, record in tokens:
            self._store.records(TOKENS).put(token, record)
        return []

    def _failed(
        self, action: str, operations: list[Operation], failures: list[Failure], asleep: list[Failure]
    ) -> PocketError:
        """Return the first failure as the error, with all of them and what is there now as results.

        :param asleep: those that could not be started again.
        """
        first = failures[0].error
        kept = [one.ec2() for one in self._there() if one.instance_id in self._instance_ids and one.phase == LAUNCHED]
        count = f" ({len(failures)} of {len(operations)} failed)" if len(operations) > 1 else ""
        return PocketError(
            f"{first.message}{count}",
            code=first.code,
            changed=True,
            instances=kept,
            instance_ids=[instance["instance_id"] for instance in kept],
            failures=[
                {"instance_id": failure.instance_id, "action": what, "msg": failure.error.message}
                for what, found in ((action, failures), ("start", asleep))
                for failure in found
            ],
        )

    def _there(self) -> list[Instance]:
        """Return what is there after a failure, which may be that libvirt does not answer."""
        try:
            return self._hypervisor.instances()
        except PocketError:
            return []

    def verify(self, plan: Plan, after: Current) -> None:
        there = {instance.instance_id: instance for instance in after.instances}
        reserved = {host.mac_address for network in after.networks for host in network.hosts}
        last = {_subject(one).instance_id: one for one in plan if one.action not in ("disk", *_ASIDE)}
        for operation in last.values():
            if operation.action == "sweep":
                verify_swept(operation.payload, after)
            elif operation.action in ("remove", "terminate"):
                self._verify_gone(operation.payload, there, reserved)
            else:
                asked = _subject(operation)
                verify_there(operation.action, asked, there.get(asked.instance_id))
        for operation in plan:
            if operation.action in ("disk", "launch"):
                verify_disks(operation.payload, there[_subject(operation).instance_id], after.shelf)
        verify_filters(after)

    def _verify_gone(self, instance: Instance, there: Mapping[str, Instance], reserved: set[str]) -> None:
        directory = self._store.instance_directory(instance.instance_id)
        left = [
            what
            for what, still in (
                ("its domain", instance.instance_id in there),
                ("its address reservation", any(one.mac_address in reserved for one in instance.interfaces)),
                (f"its directory {directory}", directory.exists()),
            )
            if still
        ]
        if left:
            raise PocketError(
                f"Of the terminated instance {instance.label} {' and '.join(left)} is still there", changed=True
            )

    def settle(self, plan: Plan, after: Current) -> Current:
        if self._readiness is None or self._request.state in ("terminated", "stopped"):
            return after
        there = {instance.instance_id: instance for instance in after.instances}
        started = {_subject(operation).instance_id for operation in plan if operation.action in _STARTS}
        waited = [
            one
            for one in self._instance_ids
            if one in there and (one in started or _goes_on(there[one]) or self._request.state != "present")
        ]
        try:
            ready = wait_until_ready(
                self._hypervisor,
                self._store,
                waited,
                self._readiness,
                self._old_leases,
                cloud_init=self._cloud_init,
            )
        except PocketError as error:
            results = self.result(plan, after, plan.changed)
            raise PocketError(error.message, changed=plan.changed, **{**results, **error.results}) from error
        now = {instance.instance_id: instance for instance in ready}
        return replace(after, instances=tuple(now.get(one.instance_id, one) for one in after.instances))

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        there = {instance.instance_id: instance for instance in (*state.terminated, *state.instances)}
        shown = confirmed([there[one] for one in self._instance_ids if one in there], state.leases, self._old_leases)
        terminated = [op.payload.instance_id for op in plan if op.action in ("terminate", "sweep")]
        untouched = ("launch", "remove", "terminate", "sweep", *_ASIDE)
        touched = [op.payload.instance_id for op in plan if op.action not in untouched]
        launched = [op.payload.instance.instance_id for op in plan if op.action == "launch" and applied]
        return {
            "instances": [instance.ec2() for instance in shown],
            "instance_ids": [instance.instance_id for instance in shown],
            "changed_ids": list(dict.fromkeys([*terminated, *touched, *launched])),
            "terminated_ids": terminated,
            "reservation_id": next((one.reservation_id for one in shown if one.instance_id in launched), None),
        }


def _subject(operation: Operation) -> Instance:
    """Return the instance that an operation leaves, or takes away."""
    payload = operation.payload
    if operation.action == "launch":
        return payload.instance  # type: ignore[no-any-return]
    return payload.after if isinstance(payload, (Change, DiskChange)) else payload


def _named(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else "")


def _goes_on(instance: Instance) -> bool:
    """Whether it may get ready by itself."""
    return instance.state != "stopped" and not instance.paused
