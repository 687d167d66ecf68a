# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.waiters import Readiness, wait_until_ready
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute


class Clock:
    """Time that passes only when somebody sleeps; `at` does something at a second of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: dict[float, Any] = {}

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when in sorted(self.at):
            if when <= self.now:
                self.at.pop(when)()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KvmHost:
    return KvmHost(tmp_path, monkeypatch)


def launched(host: KvmHost, **stated: Any) -> list[str]:
    return execute(host.task, {**PARAMS, "wait": False, **stated})["instance_ids"]  # type: ignore[no-any-return]


def wait(host: KvmHost, ids: list[str], clock: Clock, readiness: Readiness, old: Any = None) -> list[str | None]:
    found = wait_until_ready(host.hypervisor, host.store, ids, readiness, old or {}, clock, clock.sleep)
    return [instance.address_source for instance in found]


def test_an_address_is_there_when_its_lease_is(host: KvmHost) -> None:
    ids, clock = launched(host, count=2), Clock()
    leases = list(host.hypervisor.given)
    host.hypervisor.given.clear()
    clock.at = {3: lambda: host.hypervisor.given.append(leases[0]), 7: lambda: host.hypervisor.given.append(leases[1])}
    assert wait(host, ids, clock, Readiness("ip", None, 60)) == ["lease", "lease"]
    assert 7 <= clock.now < 8


def test_a_lease_from_before_the_start_does_not_count(host: KvmHost) -> None:
    ids, clock = launched(host, count=1), Clock()
    (lease,) = host.hypervisor.given
    old = {lease.mac_address: lease.expires}
    with pytest.raises(PocketError, match="did not ask for its address within 5 s"):
        wait(host, ids, clock, Readiness("ip", None, 5), old)
    assert 5 <= clock.now < 6


def test_the_neighbour_table_vouches_for_guests_without_dhcp(host: KvmHost, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, clock = launched(host, count=1), Clock()
    host.hypervisor.given.clear()
    monkeypatch.setattr(host.hypervisor, "arp_addresses", lambda _id: ["10.80.0.2"] if clock.now > 2 else [])
    assert wait(host, ids, clock, Readiness("ip", None, 60)) == ["arp"]


def test_an_instance_that_stops_is_waited_for_no_longer(host: KvmHost) -> None:
    ids, clock = launched(host, count=1, name="a"), Clock()
    host.hypervisor.given.clear()
    clock.at = {2: lambda: host.hypervisor.running.discard(ids[0])}
    with pytest.raises(PocketError, match=rf"{ids[0]} \(a\) is stopped instead of running"):
        wait(host, ids, clock, Readiness("ip", None, 600))
    assert clock.now < 3
    host.hypervisor.domains.pop(ids[0])
    with pytest.raises(PocketError, match=rf"{ids[0]} is terminated instead of running"):
        wait(host, ids, clock, Readiness("running", None, 600))


def test_the_others_are_waited_for_and_those_that_are_not_ready_are_told(host: KvmHost) -> None:
    ids, clock = launched(host, count=4), Clock()
    leases = {lease.mac_address: lease for lease in host.hypervisor.given}
    host.hypervisor.given.clear()
    macs = {one.instance_id: one.mac_address for one in host.hypervisor.instances()}
    clock.at = {
        2: lambda: host.hypervisor.running.discard(ids[1]),
        7: lambda: host.hypervisor.given.append(leases[macs[ids[0]]]),
        9: lambda: host.hypervisor.given.append(leases[macs[ids[3]]]),
        10: lambda: host.hypervisor.running.discard(ids[3]),  # ready was not enough
    }
    with pytest.raises(PocketError, match=rf"{ids[1]} is stopped.*\(3 of 4 are not ready\); its console") as failed:
        wait(host, ids, clock, Readiness("ip", None, 20))
    assert 20 <= clock.now < 21
    assert [(one["instance_id"], one["action"]) for one in failed.value.results["failures"]] == [
        (instance_id, "wait") for instance_id in ids[1:]
    ]
    assert "did not ask for its address within 20 s" in failed.value.results["failures"][1]["msg"]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port of this machine's loopback on which, at first, nobody listens."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_is_there_when_it_takes_connections(host: KvmHost, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    host.hypervisor.nets["pocket"] = host.network(cidr="127.0.0.2/8")
    ids, clock = launched(host, count=1, private_ip_address="127.0.0.1"), Clock()
    assert wait(host, ids, clock, Readiness("port", port, 60)) == ["lease"]
    assert clock.now == 0


def test_many_that_are_late_are_counted(host: KvmHost) -> None:
    host.hypervisor.nets["pocket"] = host.network(cidr="127.0.0.1/8")
    ids, clock = launched(host, count=3), Clock()
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    number = closed.getsockname()[1]
    closed.close()
    with pytest.raises(
        PocketError, match=rf"did not answer on TCP port {number} at 127.0.0.2 within 1 s \(3 of 3 are not"
    ):
        wait(host, ids, clock, Readiness("port", number, 1))


class Greeter(threading.Thread):
    """A server that says `words` to whoever connects, one after the other, and then says nothing."""

    def __init__(self, *words: bytes) -> None:
        super().__init__(daemon=True)
        self.words = list(words)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.start()

    def run(self) -> None:
        with self.server:
            for word in self.words:
                connection, _peer = self.server.accept()
                with connection:
                    connection.sendall(word)


def test_an_ssh_server_is_there_when_it_greets(host: KvmHost) -> None:
    host.hypervisor.nets["pocket"] = host.network(cidr="127.0.0.2/8")
    ids, clock = launched(host, count=1, private_ip_address="127.0.0.1"), Clock()
    greeter = Greeter(b"", b"HTTP/1.1 400\r\n", b"Welcome\r\nSSH-2.0-OpenSSH_9.2p1\r\n")
    assert wait(host, ids, clock, Readiness("ssh", greeter.port, 60)) == ["lease"]
    assert round(clock.now / 0.3) == 2
    with pytest.raises(PocketError, match=rf"did not greet as an SSH server on TCP port {greeter.port} at 127.0.0.1"):
        wait(host, ids, clock, Readiness("ssh", greeter.port, 0))


def test_cloud_init_ends_the_wait_well_or_with_what_failed(host: KvmHost) -> None:
    ids, clock = launched(host, count=2, name="a"), Clock()
    consoles = [host.store.instance_directory(one) / "console.log" for one in ids]
    done = "Cloud-init v. 22.4.2 finished at noon\n"
    clock.at = {2: lambda: consoles[0].write_text(done), 4: lambda: consoles[1].write_text(done)}
    wait(host, ids, clock, Readiness("cloud-init", None, 60))
    assert 4 <= clock.now < 5
    consoles[1].write_text("x.py[WARNING]: Running module ssh (<module>) failed\n" + done)
    with pytest.raises(
        PocketError, match=rf"{ids[1]} \(a\) finished cloud-init, which failed: its module ssh failed \(1 of 2 "
    ):
        wait(host, ids, clock, Readiness("cloud-init", None, 60))
    with pytest.raises(PocketError, match="its module ssh failed"):  # at the very last look, too
        wait(host, ids, clock, Readiness("cloud-init", None, 0))
    consoles[1].write_text("booting\n")
    with pytest.raises(
        PocketError,
        match=r"did not finish cloud-init within 5 s \(1 of 2 are not ready\); its console's last lines:\nbooting",
    ):
        wait(host, ids, clock, Readiness("cloud-init", None, 5))
