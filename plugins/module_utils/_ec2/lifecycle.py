# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's life, each step in the order in which a kill between two leaves no orphan. PRIVATE to the collection.

The domain is made first and goes last: as long as anything of an instance exists, its domain tells what it is and, by
its phase, that a launch or a termination was not finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from threading import Lock
from typing import TypeVar

from .._errors import PocketError
from . import seed
from .block_devices import DiskChange
from .changes import Change
from .connection import THREADS, THREADS_THAT_WAIT
from .directories import make_directory, remove_directory
from .disks import ROOT_DEVICE, Disk
from .domain_xml import Files
from .filter_sync import FilterSync
from .hypervisor import Hypervisor
from .instance_disks import InstanceDisks
from .key_task import authorized_keys
from .model import LAUNCHED, LAUNCHING, TERMINATING, USER_SHUTDOWN, Instance
from .network_config import is_needed, network_config
from .networks import Host
from .orphans import Orphan
from .request import Launch
from .store import Store
from .tombstones import record_of, timestamp

__all__ = ["Failure", "Lifecycle"]

Item = TypeVar("Item")


# Seconds after which a guest that has not asked for its address no longer holds up the next boot.
BOOT_PATIENCE = 30.0
# Seconds over which a machine that used less than a tenth of a processor is not booting: there is nothing in it.
IDLE_SPAN = 1.0
# Seconds between two presses of the power button: a guest that is still booting hears none.
PRESS_INTERVAL = 5.0
# Seconds in which a machine that was resumed shows whether what stopped it does so again.
RELAPSE = 0.5
# Seconds in which a machine whose memory is being saved is off.
END_PATIENCE = 300.0


@dataclass(frozen=True)
class Failure:
    """What went wrong with one instance."""

    instance_id: str
    error: PocketError


class Lifecycle:
    """The writes on instances of one host. Its caller holds the lock of the store."""

    def __init__(self, hypervisor: Hypervisor, store: Store, threads: int = THREADS) -> None:
        self._hypervisor = hypervisor
        self._store = store
        self._threads = threads
        self.boots_at_once = 3  # the operator's policy may say otherwise
        self._disks = InstanceDisks(hypervisor, store)
        self._filters = FilterSync(hypervisor, store)

    # Launch

    def launch(self, launches: Sequence[Launch]) -> list[Failure]:
        """Make and start the instances; one that fails leaves nothing of itself, and the others in place."""
        ready: list[Launch] = []
        guard = Lock()

        def prepare(launch: Launch) -> None:
            self._prepare(launch)
            with guard:
                ready.append(launch)

        failures = self._each(launches, lambda launch: launch.instance.instance_id, prepare)
        ready.sort(key=lambda launch: launch.instance.ami_launch_index)
        instances = [replace(launch.instance, phase=LAUNCHED) for launch in ready]
        unfiltered = self.sync_filters([instance.instance_id for instance in instances])
        failures += unfiltered or self._boot(instances, self._start_launched)
        for failure in failures:
            instance = next(one.instance for one in launches if one.instance.instance_id == failure.instance_id)
            self.remove([instance])
        return failures

    def _prepare(self, launch: Launch) -> None:
        instance = launch.instance
        root = launch.template.root
        files = Files.of(self._store.instance_directory(instance.instance_id), root.format)
        self._hypervisor.define(replace(instance, phase=LAUNCHING), files, launch.template)
        for network, host in Host.of(instance):
            self._hypervisor.reserve(network, host)
        make_directory(files.disk.parent)
        self._disks.make_root(Disk(ROOT_DEVICE, files.disk, root.format), launch.image, root)
        for volume in launch.volumes:
            self._disks.make(volume)
        self._write_seed(files, instance, launch.template.user_data)

    def _write_seed(self, files: Files, instance: Instance, user_data: str | None) -> None:
        name = instance.instance_id
        keys = authorized_keys(self._store, instance.key_name)
        network = self._network_config(instance)
        seed.build(files.seed, name, name, user_data, public_keys=keys, network_config=network)

    def _network_config(self, instance: Instance) -> str | None:
        if not is_needed(instance.interfaces):
            return None
        return network_config(instance.interfaces, self._hypervisor.networks())

    def _start_launched(self, instance: Instance) -> None:
        self._hypervisor.start(instance)
        self._hypervisor.describe(instance)

    # Terminate

    def terminate(self, instances: Sequence[Instance]) -> list[Failure]:
        """Take the instances away and remember them as terminated."""
        failures = self._waiting()._one_by_one(instances, self._end, self._filters.remove, self._bury)
        return failures + self._forget_members(instances)

    def _waiting(self) -> Lifecycle:
        """The same with as many threads as there may be, for work that takes no processor."""
        return Lifecycle(self._hypervisor, self._store, self._threads if self._threads < THREADS else THREADS_THAT_WAIT)

    def _end(self, instance: Instance) -> None:
        self._hypervisor.describe(replace(instance, phase=TERMINATING))
        self._hypervisor.power_off(instance)

    def _bury(self, instance: Instance) -> None:
        self._clear(instance, unfinished=False)
        now = datetime.now(timezone.utc)
        self._store.bury(record_of(instance, now), now)
        self._hypervisor.undefine(instance.instance_id)

    def remove(self, instances: Sequence[Instance]) -> list[Failure]:
        """Take away what is left of launches that nobody was told of."""
        failures = self._one_by_one(instances, self._end_remains, self._filters.remove, self._remove_remains)
        return failures + self._forget_members(instances)

    def take_back(self, instances: Sequence[Instance]) -> list[Failure]:
        """Take away launched instances that are too few, and of which nobody was told."""
        # Said first, so that of a run that is killed here no instance without its disk counts as launched.
        failures = self._each(instances, lambda instance: instance.instance_id, self._unlaunch)
        failed = {failure.instance_id for failure in failures}
        return failures + self.remove([one for one in instances if one.instance_id not in failed])

    def _unlaunch(self, instance: Instance) -> None:
        self._hypervisor.describe(replace(instance, phase=LAUNCHING))

    def _end_remains(self, instance: Instance) -> None:
        if self._hypervisor.exists(instance.instance_id):
            self._hypervisor.power_off(instance)

    def _remove_remains(self, instance: Instance) -> None:
        if self._hypervisor.exists(instance.instance_id):
            self._clear(instance, unfinished=True)
            self._hypervisor.undefine(instance.instance_id)

    def sweep(self, orphans: Sequence[Orphan]) -> list[Failure]:
        """Take away what is left of instances whose domains somebody undefined."""
        return self._each(orphans, lambda orphan: orphan.instance_id, self._sweep)

    def _sweep(self, orphan: Orphan) -> None:
        # First the id, which nothing tells any more once the rest is gone.
        if orphan.instance_id not in {record["instance_id"] for record in self._store.tombstones()}:
            now = datetime.now(timezone.utc)
            self._store.bury({"instance_id": orphan.instance_id, "terminated_at": timestamp(now)}, now)
        for network, host in orphan.reservations:
            self._hypervisor.release(network, host)
        if orphan.directory:
            remove_directory(orphan.directory)

    def _clear(self, instance: Instance, unfinished: bool) -> None:
        for network, host in Host.of(instance):
            self._hypervisor.release(network, host)
        self._disks.take_away(instance, unfinished)
        remove_directory(self._store.instance_directory(instance.instance_id))

    # Start and stop

    def start(self, instances: Sequence[Instance]) -> list[Failure]:
        """Start instances that are stopped."""
        return self._boot(instances, self._start)

    def _start(self, instance: Instance) -> None:
        if instance.state == "stopping":  # by a run that died; libvirt finishes what that began
            self._await_end(instance)
        self._hypervisor.start(instance)
        self._hypervisor.describe(replace(instance, state_reason=""))

    def resume(self, instances: Sequence[Instance]) -> list[Failure]:
        """Let machines go on that stand still, and see that they do."""
        return self._each(instances, lambda instance: instance.instance_id, self._resume)

    def _resume(self, instance: Instance) -> None:
        self._hypervisor.resume(instance)
        deadline = time.monotonic() + RELAPSE
        while time.monotonic() < deadline:
            there = self._hypervisor.instance(instance.instance_id)
            if there and there.paused:
                errors = self._hypervisor.disk_errors(instance.instance_id)
                raise PocketError(
                    f"The instance {instance.label} was resumed and is paused again: "
                    f"{errors or there.paused}; mend that, or stop the instance, and run this again"
                )
            time.sleep(0.1)

    def stop(self, instances: Sequence[Instance], timeout: float, reason: str = USER_SHUTDOWN) -> list[Failure]:
        """Shut the guests down; one that does not follow within `timeout` seconds is powered off.

        :param reason: what their state reason then begins with.
        """
        return self._each(
            instances, lambda instance: instance.instance_id, lambda one: self._stop(one, timeout, reason)
        )

    def _stop(self, instance: Instance, timeout: float, reason: str) -> None:
        # Said beforehand, so that nobody takes the guest's end for its own decision
        reason = instance.state_reason or reason  # the plan may say why
        stopping = replace(instance, state_reason=reason, reason_boot=self._hypervisor.boot())
        self._hypervisor.describe(stopping)
        if not self._shut_down(instance, timeout):
            self._hypervisor.power_off(instance)
            reason = f"{reason}; powered off, for the guest did not shut down within {timeout:g} s"
            self._hypervisor.describe(replace(stopping, state_reason=reason))

    def _await_end(self, instance: Instance) -> None:
        deadline = time.monotonic() + END_PATIENCE
        while self._hypervisor.is_running(instance.instance_id) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _shut_down(self, instance: Instance, timeout: float) -> bool:
        now = time.monotonic()
        deadline, press = now + timeout, now
        while now < deadline:
            if now >= press:
                self._hypervisor.press_power_button(instance)
                press = now + PRESS_INTERVAL
            if not self._hypervisor.is_running(instance.instance_id):
                return True
            time.sleep(0.2)
            now = time.monotonic()
        return not self._hypervisor.is_running(instance.instance_id)

    def hibernate(self, instances: Sequence[Instance]) -> list[Failure]:
        """Write what the guests are doing to disk, and stop them; their next start goes on from there."""
        return self._each(instances, lambda instance: instance.instance_id, self._hypervisor.hibernate)

    def restart(self, instances: Sequence[Instance], timeout: float) -> list[Failure]:
        """Stop and start; those that are stopped are started. Disk, id, MAC and IP address stay."""
        failures = self.stop([instance for instance in instances if instance.state != "stopped"], timeout)
        failed = {failure.instance_id for failure in failures}
        return failures + self.start([one for one in instances if one.instance_id not in failed])

    # Changes

    def modify(self, changes: Sequence[Change]) -> list[Failure]:
        """Change what can be changed of an instance whether it runs or not."""
        failures = self._each(changes, lambda change: change.instance_id, self._modify)
        return failures + self.sync_filters([change.instance_id for change in changes if change.refiltered])

    def sync_filters(self, ids: Sequence[str]) -> list[Failure]:
        """Make the network filters what the instances and their groups want, if that concerns any; each fails alike."""
        try:
            if ids:
                self._filters.sync()
        except PocketError as error:
            return [Failure(instance_id, error) for instance_id in ids]
        return []

    def reserve(self, reservations: Sequence[tuple[str, Host]]) -> list[Failure]:
        """Make the reservations of instances that there are, each in its network."""
        return self._each(reservations, lambda one: one[1].instance_id, lambda one: self._hypervisor.reserve(*one))

    def _forget_members(self, instances: Sequence[Instance]) -> list[Failure]:
        """Take the addresses of instances that are gone out of the filters that let members of their groups in."""
        return self.sync_filters([one.instance_id for one in instances if one.security_groups])

    def _modify(self, change: Change) -> None:
        if change.before.restart_policy != change.after.restart_policy or change.after.forgotten_at_boot:
            self._hypervisor.set_start_at_boot(change.after)
        self._hypervisor.describe(change.after)

    def rebuild(self, changes: Sequence[Change]) -> list[Failure]:
        """Change what can be changed of a stopped instance only: its size, and what its seed holds."""
        failures = self._each(changes, lambda change: change.instance_id, self._rebuild)
        return failures + self.sync_filters([change.instance_id for change in changes if change.refiltered])

    def _rebuild(self, change: Change) -> None:
        # Of the machine that was stopped meanwhile, who did that stays said: it was not its guest.
        there = self._hypervisor.instance(change.instance_id) or change.before
        instance = replace(change.after, state_reason=there.state_reason, reason_boot=there.reason_boot)
        if change.user_data is not None:
            files = Files.of(self._store.instance_directory(instance.instance_id))
            self._write_seed(files, instance, change.user_data)
        if change.before.restart_policy != instance.restart_policy:
            self._hypervisor.set_start_at_boot(replace(instance, state="stopped"))
        self._hypervisor.redefine(instance)

    def change_disks(self, changes: Sequence[DiskChange]) -> list[Failure]:
        """Make, attach and grow disks of instances that exist; those of one instance in their order."""
        by_instance: dict[str, list[DiskChange]] = {}
        for change in changes:
            by_instance.setdefault(change.instance_id, []).append(change)
        return self._each(list(by_instance.values()), lambda group: group[0].instance_id, self._change_disks)

    def _change_disks(self, changes: Sequence[DiskChange]) -> None:
        for change in changes:
            self._disks.change(change)

    # Many at a time

    def _each(self, items: Sequence[Item], id_of: Callable[[Item], str], act: Callable[[Item], None]) -> list[Failure]:
        """Act on each, several at a time; return the failures in the order of `items`."""

        def attempt(item: Item) -> Failure | None:
            try:
                act(item)
            except PocketError as error:
                return Failure(id_of(item), error)
            except OSError as error:  # a disk that is full, wherever that shows
                named = f" of {error.filename}" if error.filename else ""
                said = f"Cannot write the files{named} for the instance {id_of(item)}: {error.strerror or error}"
                return Failure(id_of(item), PocketError(said))
            return None

        if self._threads == 1 or len(items) < 2:
            found = [attempt(item) for item in items]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                found = list(pool.map(attempt, items))
        return [failure for failure in found if failure]

    def _one_by_one(self, instances: Sequence[Instance], *steps: Callable[[Instance], None]) -> list[Failure]:
        """Do one step with all before the next; where one fails with an instance, the rest is left out for that.

        libvirt lets nobody at its network filters while any machine starts or ends.
        """
        failures: list[Failure] = []
        left = list(instances)
        for step in steps:
            failures += self._each(left, lambda instance: instance.instance_id, step)
            failed = {failure.instance_id for failure in failures}
            left = [instance for instance in left if instance.instance_id not in failed]
        return failures

    def _boot(self, instances: Sequence[Instance], start: Callable[[Instance], None]) -> list[Failure]:
        """Start each. Emulated guests boot a few at a time: all at once they would take the processors off each other.

        With one to spare nobody waits: the next one starts when a guest has asked for its address.
        """
        paced = [instance for instance in instances if instance.accel == "tcg"]
        if len(paced) <= self.boots_at_once:
            return self._each(instances, lambda instance: instance.instance_id, start)
        waiting = len(instances)
        guard = Lock()

        def paced_start(instance: Instance) -> None:
            nonlocal waiting
            before = self._leases(instance)
            start(instance)
            with guard:
                waiting -= 1
            self._wait_for_boot(instance, before, lambda: waiting > 0)

        pacer = Lifecycle(self._hypervisor, self._store, min(self.boots_at_once, self._threads))
        return pacer._each(instances, lambda instance: instance.instance_id, paced_start)

    def _wait_for_boot(self, instance: Instance, before: list[int], matters: Callable[[], bool]) -> None:
        """Wait until the guest has asked for its address, or its machine has nothing to do, or patience ends."""
        now = since = time.monotonic()
        deadline = now + BOOT_PATIENCE
        used = self._hypervisor.cpu_seconds(instance.instance_id)
        while matters() and now < deadline and self._leases(instance) == before:
            time.sleep(0.2)
            now = time.monotonic()
            if now - since >= IDLE_SPAN:
                then, used = used, self._hypervisor.cpu_seconds(instance.instance_id)
                if used - then < (now - since) / 10:
                    return
                since = now

    def _leases(self, instance: Instance) -> list[int]:
        leases = self._hypervisor.leases(instance.network)
        return [lease.expires for lease in leases if lease.mac_address == instance.mac_address]
