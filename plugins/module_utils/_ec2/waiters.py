# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until instances run, have their address, or answer on a port. PRIVATE to the collection."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .._errors import PocketError
from .cloud_init import CloudInit
from .confirmation import confirm
from .console import tail
from .domain_xml import Files
from .hypervisor import Hypervisor
from .model import Instance
from .store import Store

__all__ = ["CONDITIONS", "Readiness", "wait_until_ready"]

CONDITIONS = ("running", "ip", "port", "ssh", "cloud-init")

_INTERVAL = 0.3
_CONNECT_TIMEOUT = 1.0
# Seconds for a word of greeting; a server that has just started takes its time for the first.
_GREETING_TIMEOUT = 3.0
_CONNECTS = 16

Old = Mapping[str, int]


@dataclass(frozen=True)
class Readiness:
    """What is waited for: one of CONDITIONS, for C(port) and C(ssh) the TCP port; `timeout` is in seconds."""

    condition: str
    port: int | None
    timeout: float

    @property
    def text(self) -> str:
        """What an instance that is not ready did not do."""
        if self.condition == "port":
            return f"answer on TCP port {self.port}"
        if self.condition == "ssh":
            return f"greet as an SSH server on TCP port {self.port}"
        if self.condition == "cloud-init":
            return "finish cloud-init"
        return "ask for its address" if self.condition == "ip" else "run"


def wait_until_ready(
    hypervisor: Hypervisor,
    store: Store,
    instance_ids: Sequence[str],
    readiness: Readiness,
    old: Old,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    cloud_init: CloudInit | None = None,
) -> list[Instance]:
    """Return the instances once all are ready; raises PocketError once each is, or cannot get there any more.

    One that is stopped, paused or gone cannot get ready, nor one where cloud-init ended with errors; the others are
    waited for. The error has the last lines of the console of the first that is not ready, and them all as `failures`.
    """
    cloud_init = cloud_init or CloudInit(hypervisor, store)
    deadline = clock() + readiness.timeout
    ready: dict[str, Instance] = {}
    lost: dict[str, str] = {}
    while True:
        found = {instance.instance_id: instance for instance in hypervisor.instances()}
        lost.update(_hopeless(hypervisor, found, [one for one in instance_ids if one not in lost], readiness))
        waiting = [found[one] for one in instance_ids if one not in ready and one not in lost]
        fine, failed = _ready(hypervisor, waiting, readiness, old, cloud_init)
        ready.update({instance.instance_id: instance for instance in fine})
        lost.update(failed)
        if clock() >= deadline:
            undecided = [one for one in waiting if one.instance_id not in ready.keys() | lost.keys()]
            lost.update({one.instance_id: _late(one, readiness) for one in undecided})
        if len(ready.keys() | lost.keys()) == len(set(instance_ids)):
            break
        sleep(_INTERVAL)
    if lost:
        raise _not_ready(store, {one: lost[one] for one in instance_ids if one in lost}, len(set(instance_ids)))
    found_ready = [ready[instance_id] for instance_id in instance_ids]
    # Who answers is known to the host now.
    return found_ready if readiness.condition == "running" else confirm(hypervisor, found_ready, old)


def _hopeless(
    hypervisor: Hypervisor, found: Mapping[str, Instance], instance_ids: Sequence[str], readiness: Readiness
) -> dict[str, str]:
    """Return of those that cannot get ready by themselves what keeps them from it."""
    said = {}
    for instance_id in instance_ids:
        instance = found.get(instance_id)
        if instance is None or instance.state in ("stopped", "shutting-down"):
            state, label = (instance.state, instance.label) if instance else ("terminated", instance_id)
            said[instance_id] = f"{label} is {state} instead of running, and so did not {readiness.text}"
        elif instance.paused:
            why = _disk_errors(hypervisor, instance_id) or "state: running lets it go on"
            stands = f"{instance.label} stands still, and so did not {readiness.text}"
            said[instance_id] = f"{stands} ({instance.paused}: {why})"
    return said


def _disk_errors(hypervisor: Hypervisor, instance_id: str) -> str:
    try:
        return hypervisor.disk_errors(instance_id)
    except PocketError:  # it has ended since we looked
        return ""


def _late(instance: Instance, readiness: Readiness) -> str:
    at = f" at {instance.private_ip_address}" if readiness.port is not None else ""
    return f"{instance.label} did not {readiness.text}{at} within {readiness.timeout:g} s"


def _ready(
    hypervisor: Hypervisor, instances: Sequence[Instance], readiness: Readiness, old: Old, cloud_init: CloudInit
) -> tuple[list[Instance], dict[str, str]]:
    """Return those that are ready, and what went wrong for good with others."""
    running = [instance for instance in instances if instance.state == "running"]
    checked = confirm(hypervisor, running, old, readiness.condition == "ip")
    if readiness.condition == "running":
        return checked, {}
    if readiness.condition == "cloud-init":
        return _set_up(checked, cloud_init)
    port = readiness.port
    if port is None:
        return [instance for instance in checked if instance.interfaces[0].confirmed_by], {}
    probe = _greets if readiness.condition == "ssh" else _answers
    with ThreadPoolExecutor(_CONNECTS) as pool:
        answers = list(pool.map(lambda instance: probe(instance.private_ip_address or "", port), checked))
    return [instance for instance, answer in zip(checked, answers) if answer], {}


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=_CONNECT_TIMEOUT).close()
    except OSError:
        return False
    return True


def _greets(address: str, port: int) -> bool:
    """Whether what answers there says that it is an SSH server: an open port alone may be a server in its start."""
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_TIMEOUT) as connection:
            connection.settimeout(_GREETING_TIMEOUT)
            with connection.makefile("rb") as lines:
                # Other lines may come before.
                return any(lines.readline(1024).startswith(b"SSH-") for _number in range(10))
    except OSError:
        return False


def _set_up(instances: Sequence[Instance], cloud_init: CloudInit) -> tuple[list[Instance], dict[str, str]]:
    """Return those that cloud-init has finished with, and what it failed at where it ended with errors."""
    finished = [pair for pair in zip(instances, cloud_init.progress(instances)) if pair[1].finished]
    failed = {
        instance.instance_id: f"{instance.label} finished cloud-init, which failed: {progress.text}"
        for instance, progress in finished
        if progress.errors
    }
    return [instance for instance, progress in finished if not progress.errors], failed


def _not_ready(store: Store, lost: Mapping[str, str], count: int) -> PocketError:
    first, said = next(iter(lost.items()))
    lines = tail(Files.of(store.instance_directory(first)).console)
    shown = "its console's last lines:\n" + "\n".join(lines) if lines else "its console is empty"
    others = f" ({len(lost)} of {count} are not ready)" if count > 1 else ""
    return PocketError(
        f"wait_for: the instance {said}{others}; {shown}",
        failures=[{"instance_id": one, "action": "wait", "msg": f"wait_for: {what}"} for one, what in lost.items()],
    )
