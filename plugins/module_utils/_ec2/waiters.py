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
    """Return the instances once all are ready; raises PocketError with the console of one that did not get there.

    An instance that is stopped, paused or gone cannot get ready, so waiting for it ends at once; so does waiting for
    cloud-init where it ended with errors.
    """
    cloud_init = cloud_init or CloudInit(hypervisor, store)
    deadline = clock() + readiness.timeout
    ready: dict[str, Instance] = {}
    while True:
        found = {instance.instance_id: instance for instance in hypervisor.instances()}
        waiting = [found[one] for one in instance_ids if one in found and one not in ready]
        for instance_id in instance_ids:
            if instance_id not in found or found[instance_id].state in ("stopped", "shutting-down"):
                state = found[instance_id].state if instance_id in found else "terminated"
                raise _not_ready(store, instance_id, f"is {state} instead of running, and so did not {readiness.text}")
        _refuse_paused(hypervisor, store, waiting, readiness)
        for instance in _ready(hypervisor, waiting, readiness, old, cloud_init):
            ready[instance.instance_id] = instance
        if len(ready) == len(set(instance_ids)):
            found_ready = [ready[instance_id] for instance_id in instance_ids]
            # Who answers is known to the host now.
            return found_ready if readiness.condition == "running" else confirm(hypervisor, found_ready, old)
        if clock() >= deadline:
            late = next(instance for instance in waiting if instance.instance_id not in ready)
            at = f" at {late.private_ip_address}" if readiness.port is not None else ""
            more = len(instance_ids) - len(ready) - 1
            others = f" (nor did {more} more)" if more else ""
            said = f"did not {readiness.text}{at} within {readiness.timeout:g} s{others}"
            raise _not_ready(store, late.label, said, late.instance_id)
        sleep(_INTERVAL)


def _refuse_paused(hypervisor: Hypervisor, store: Store, instances: Sequence[Instance], readiness: Readiness) -> None:
    for paused in (one for one in instances if one.paused):
        why = hypervisor.disk_errors(paused.instance_id) or "state: running lets it go on"
        said = f"stands still, and so did not {readiness.text} ({paused.paused}: {why})"
        raise _not_ready(store, paused.label, said, paused.instance_id)


def _ready(
    hypervisor: Hypervisor, instances: Sequence[Instance], readiness: Readiness, old: Old, cloud_init: CloudInit
) -> list[Instance]:
    running = [instance for instance in instances if instance.state == "running"]
    checked = confirm(hypervisor, running, old, readiness.condition == "ip")
    if readiness.condition == "running":
        return checked
    if readiness.condition == "cloud-init":
        return _set_up(checked, cloud_init)
    port = readiness.port
    if port is None:
        return [instance for instance in checked if instance.interfaces[0].confirmed_by]
    probe = _greets if readiness.condition == "ssh" else _answers
    with ThreadPoolExecutor(_CONNECTS) as pool:
        answers = list(pool.map(lambda instance: probe(instance.private_ip_address or "", port), checked))
    return [instance for instance, answer in zip(checked, answers) if answer]


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


def _set_up(instances: Sequence[Instance], cloud_init: CloudInit) -> list[Instance]:
    """Return those that cloud-init has finished with; raises for one where it ended with errors."""
    ready = []
    for instance, progress in zip(instances, cloud_init.progress(instances)):
        if progress.finished and progress.errors:
            said = f"finished cloud-init, which failed: {progress.text}"
            raise _not_ready(cloud_init.store, instance.label, said, instance.instance_id)
        if progress.finished:
            ready.append(instance)
    return ready


def _not_ready(store: Store, label: str, said: str, instance_id: str | None = None) -> PocketError:
    lines = tail(Files.of(store.instance_directory(instance_id or label)).console)
    shown = "its console's last lines:\n" + "\n".join(lines) if lines else "its console is empty"
    return PocketError(f"wait_for: the instance {label} {said}; {shown}")
