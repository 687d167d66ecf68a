# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import hypervisor, lifecycle
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.lifecycle import Lifecycle
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute

BOOTING = 3


class Guests:
    """Takes the place of starting: a guest asks for its address a moment after its start, if it ever does."""

    def __init__(self, host: KvmHost, silent: bool = False) -> None:
        self.hypervisor = host.hypervisor
        self.start = host.hypervisor.start
        self.silent = silent
        self.guard = threading.Lock()
        self.booting = 0
        self.most = 0

    def __call__(self, instance: Instance) -> None:
        with self.guard:
            leases = list(self.hypervisor.given)
            self.start(instance)
            (fresh,) = [lease for lease in self.hypervisor.given if lease not in leases]
            self.hypervisor.given = leases
            self.booting += 1
            self.most = max(self.most, self.booting)

        def ask() -> None:
            with self.guard:
                self.hypervisor.given.append(fresh)
                self.booting -= 1

        if not self.silent:
            threading.Timer(0.05, ask).start()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KvmHost:
    return KvmHost(tmp_path, monkeypatch)


def stopped(host: KvmHost, count: int, accel: str) -> list[Instance]:
    execute(host.task, {**PARAMS, "exact_count": count, "tags": {"pool": "web"}, "accel": accel, "wait": False})
    execute(host.task, {**PARAMS, "tags": {"pool": "web"}, "state": "stopped"})
    return host.hypervisor.instances()


def test_emulated_guests_boot_a_few_at_a_time(host: KvmHost, monkeypatch: pytest.MonkeyPatch) -> None:
    instances = stopped(host, 8, "tcg")
    guests = Guests(host)
    monkeypatch.setattr(host.hypervisor, "start", guests)
    assert Lifecycle(host.hypervisor, host.store, threads=4).start(instances) == []
    assert {one.state for one in host.hypervisor.instances()} == {"running"}
    assert 1 <= guests.most <= BOOTING


def test_few_or_accelerated_guests_are_not_held_up(host: KvmHost, monkeypatch: pytest.MonkeyPatch) -> None:
    instances = stopped(host, 8, "kvm")
    monkeypatch.setattr(host.hypervisor, "start", Guests(host, silent=True))
    begun = time.monotonic()
    assert Lifecycle(host.hypervisor, host.store, threads=4).start(instances) == []
    few = [replace(one, accel="tcg") for one in instances[:BOOTING]]
    host.hypervisor.running.clear()
    assert Lifecycle(host.hypervisor, host.store, threads=4).start(few) == []
    assert time.monotonic() - begun < 5


def test_a_guest_that_never_speaks_does_not_hold_up_the_others_for_ever(
    host: KvmHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = stopped(host, 5, "tcg")
    monkeypatch.setattr(lifecycle, "BOOT_PATIENCE", 0.1)
    monkeypatch.setattr(host.hypervisor, "start", Guests(host, silent=True))
    assert Lifecycle(host.hypervisor, host.store, threads=4).start(instances) == []
    assert {one.state for one in host.hypervisor.instances()} == {"running"}


def test_a_machine_with_nothing_to_do_does_not_hold_up_the_others(
    host: KvmHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = stopped(host, 5, "tcg")
    monkeypatch.setattr(lifecycle, "IDLE_SPAN", 0.1)
    monkeypatch.setattr(host.hypervisor, "start", Guests(host, silent=True))
    monkeypatch.setattr(host.hypervisor, "cpu_seconds", lambda _instance_id: 1.5)
    begun = time.monotonic()
    assert Lifecycle(host.hypervisor, host.store, threads=4).start(instances) == []
    assert time.monotonic() - begun < lifecycle.BOOT_PATIENCE / 2


def test_the_power_button_is_pressed_again_for_a_guest_that_was_still_booting(
    host: KvmHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(host.task, {**PARAMS, "name": "a"})
    (instance,) = host.hypervisor.instances()
    presses: list[str] = []
    press = host.hypervisor.press_power_button

    def second_counts(pressed: Instance) -> None:
        presses.append(pressed.instance_id)
        if len(presses) > 1:
            press(pressed)

    monkeypatch.setattr(lifecycle, "PRESS_INTERVAL", 0.3)
    monkeypatch.setattr(host.hypervisor, "press_power_button", second_counts)
    assert Lifecycle(host.hypervisor, host.store).stop([instance], 30) == []
    assert len(presses) == 2
    (after,) = host.hypervisor.instances()
    assert (after.state, after.state_reason) == ("stopped", "User initiated shutdown")


def test_as_many_machines_end_at_a_time_as_may_be_waited_for(host: KvmHost, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(host.task, {**PARAMS, "count": 16, "tags": {"a": "b"}})
    instances = host.hypervisor.instances()
    together = threading.Barrier(16)
    guard = threading.Lock()
    off = host.hypervisor.power_off

    def once_all_are_here(instance: Instance) -> None:
        together.wait(20)
        with guard:
            off(instance)

    monkeypatch.setattr(host.hypervisor, "power_off", once_all_are_here)
    assert Lifecycle(host.hypervisor, host.store).terminate(instances) == []
    assert host.hypervisor.instances() == []


def test_one_whose_memory_is_being_saved_starts_when_it_is_off(host: KvmHost, monkeypatch: pytest.MonkeyPatch) -> None:
    (instance,) = stopped(host, 1, "kvm")
    looks = iter([True, True, False])
    monkeypatch.setattr(host.hypervisor, "is_running", lambda _id: next(looks))
    assert Lifecycle(host.hypervisor, host.store).start([replace(instance, state="stopping")]) == []
    assert list(looks) == []  # all were asked for, and only then it was started
    assert host.hypervisor.instances()[0].state == "running"


@pytest.mark.parametrize(
    ("state", "reason", "name"),
    [
        (1, 1, "running"),
        (3, 1, "running"),
        (3, 5, "running"),
        (3, 3, "stopping"),
        (4, 1, "stopping"),
        (5, 4, "stopped"),
    ],
)
def test_a_machine_is_to_ec2_what_its_next_moment_is(state: int, reason: int, name: str) -> None:
    assert hypervisor._state_name(state, reason) == name
