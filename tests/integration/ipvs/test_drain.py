# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections end by themselves before their real server is taken out."""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, outcome, saved
from ansible_collections.pocket.cloud.tests.integration.ipvs.network import (
    REAL,
    VIRTUAL,
    Connection,
    Network,
    shares,
    udp_shares,
)
from ansible_collections.pocket.cloud.tests.integration.ipvs.test_playbook import play

FAMILY = "ipv4"
DESTS = [{"address": REAL[FAMILY][name], "port": 80, "forwarding": "masquerade"} for name in ("one", "two")]
_ports = itertools.count(8001)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as running:
        subprocess.run(["ip", "address", "add", f"{VIRTUAL[FAMILY]}/32", "dev", "to-client"], check=True)
        # how long the kernel keeps what has ended: TCP after its end, UDP after its last packet
        subprocess.run(["ipvsadm", "--set", "900", "2", "3"], check=True)
        yield running
        subprocess.run(["ipvsadm", "--set", "900", "120", "300"], check=True)


@pytest.fixture
def service() -> dict[str, Any]:
    """A service that no test had before: a dest that is made again gets the connections that it left behind."""
    return {"protocol": "tcp", "address": VIRTUAL[FAMILY], "port": next(_ports)}


@pytest.fixture
def one(service: dict[str, Any]) -> dict[str, Any]:
    """Its first dest."""
    return {"service": service, "address": REAL[FAMILY]["one"], "port": 80}


@pytest.fixture
def alive(director: Director, network: Network, service: dict[str, Any]) -> Iterator[list[Connection]]:
    """Four connections through a service with two dests, two to each."""
    director.service(**service, scheduler="rr", dests=DESTS)
    connections = [Connection(FAMILY, service["port"]) for _connection in range(4)]
    assert sorted(connection.ask() for connection in connections) == ["one", "one", "two", "two"]
    yield connections
    for connection in connections:
        connection.close()


def on(name: str, connections: list[Connection]) -> list[Connection]:
    return [connection for connection in connections if connection.ask() == name]


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def weights() -> dict[str, str]:
    lines = [line.split() for line in saved() if line.startswith("-a")]
    return {words[words.index("-r") + 1].partition(":")[0]: words[words.index("-w") + 1] for words in lines}


def test_a_drained_server_goes_when_its_last_connection_has_ended(
    director: Director, alive: list[Connection], service, one
):
    draining = director.start("ipvs_dest", **one, state="drained", drain_timeout=60)
    wait_for(lambda: weights() == {REAL[FAMILY]["one"]: "0", REAL[FAMILY]["two"]: "1"})
    assert shares(FAMILY, 4, service["port"]) == {"two": 4}
    first, second = on("one", alive)
    first.reset()
    time.sleep(2)
    assert draining.poll() is None
    assert second.ask() == "one"
    second.reset()
    done = outcome(draining)
    assert not done.get("failed"), done
    assert (done["changed"], done["dest"], done["draining"]) == (True, None, [])
    assert weights() == {REAL[FAMILY]["two"]: "1"}
    assert [connection.ask() for connection in alive if connection not in (first, second)] == ["two", "two"]


def test_a_drain_that_takes_too_long_breaks_nothing(director: Director, alive: list[Connection], one):
    late = outcome(director.start("ipvs_dest", **one, state="drained", drain_timeout=2))
    assert late["failed"]
    assert "did not end within its timeout" in late["msg"]
    assert late["draining"][0]["active_connections"] == 2
    assert weights()[REAL[FAMILY]["one"]] == "0"
    assert len(on("one", alive)) == 2
    forced = outcome(director.start("ipvs_dest", **one, state="drained", drain_timeout=2, drain_at_timeout="remove"))
    assert (forced["changed"], forced["dest"]) == (True, None)
    assert weights() == {REAL[FAMILY]["two"]: "1"}


def test_killed_in_its_middle_it_is_resumed_by_the_next_run(director: Director, alive: list[Connection], one):
    draining = director.start("ipvs_dest", **one, state="drained", drain_timeout=60)
    wait_for(lambda: weights()[REAL[FAMILY]["one"]] == "0")
    with draining:
        draining.send_signal(signal.SIGKILL)
    assert len(on("one", alive)) == 2
    for connection in on("one", alive):
        connection.reset()
    again = outcome(director.start("ipvs_dest", **one, state="drained", drain_timeout=60))
    assert (again["changed"], again["dest"]) == (True, None)
    assert outcome(director.start("ipvs_dest", **one, state="drained"))["changed"] is False


PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_connection: local
    ansible_python_interpreter: /usr/bin/python3
  tasks:
    - pocket.cloud.ipvs_dest:
        service: {{address: {address}, port: {port}}}
        address: {dest}
        port: 80
        state: drained
        drain_step: 1
        drain_timeout: 150
"""


def test_a_play_tells_meanwhile_how_many_are_left(director: Director, alive: list[Connection], service, one, tmp_path):
    path = tmp_path / "play.yml"
    path.write_text(PLAY.format(address=service["address"], port=service["port"], dest=one["address"]))
    ending = on("one", alive)

    def end() -> None:
        wait_for(lambda: weights()[REAL[FAMILY]["one"]] == "0")
        time.sleep(5)
        for connection in ending:
            connection.reset()

    client = threading.Thread(target=end)
    client.start()
    output, recap = play(path, "--diff")
    client.join()
    told = (
        f"tcp {service['address']}:{service['port']} -> {one['address']}:80: 2 connections left (2 active, 0 inactive"
    )
    assert told in output
    assert "-  weight: 1" in output
    assert recap == "changed=1"
    assert weights() == {REAL[FAMILY]["two"]: "1"}
    assert play(path)[1] == "changed=0"


def test_a_table_drains_what_it_purges(director: Director, alive: list[Connection], service):
    wanted = [{**service, "dests": [{**DESTS[1], "weight": 3}]}]
    scope = {"addresses": ["192.0.2.0/24"]}
    running = director.start("ipvs_table", services=wanted, purge=True, scope=scope, drain={"timeout": 60})
    wait_for(lambda: weights() == {REAL[FAMILY]["one"]: "0", REAL[FAMILY]["two"]: "3"})
    staying = on("two", alive)
    for connection in on("one", alive):
        connection.reset()
    done = outcome(running)
    assert not done.get("failed"), done
    assert done["writes"]["dests"] == {"created": 0, "edited": 1, "deleted": 1}
    assert weights() == {REAL[FAMILY]["two"]: "3"}
    assert len(on("two", staying)) == 2


def test_udp_is_waited_for_until_the_kernel_forgets_it(director: Director, network: Network, service):
    service["protocol"] = "udp"
    for policy, least in (("wait", 2.0), ("ignore", 0.0)):
        director.service(**service, scheduler="rr", dests=DESTS)
        assert udp_shares(FAMILY, 2, service["port"]) == {"one": 1, "two": 1}
        start = time.monotonic()
        done = outcome(director.start("ipvs_service", **service, state="absent", drain={"timeout": 60, "udp": policy}))
        assert not done.get("failed"), done
        assert saved() == []
        assert time.monotonic() - start > least


def test_persistence_is_waited_for_and_brings_nobody_back(director: Director, network: Network, service):
    service["protocol"] = "udp"  # of which a connection is forgotten before its persistence
    director.service(**service, scheduler="rr", persistence_timeout=15, dests=DESTS)
    subprocess.run(["sysctl", "-qw", "net.ipv4.vs.expire_quiescent_template=1"], check=True)
    subprocess.run(["ipvsadm", "--set", "900", "2", "10"], check=True)
    try:
        (leaving,) = udp_shares(FAMILY, 1, service["port"])
        (staying,) = {"one", "two"} - {leaving}
        dest = {"service": service, "address": REAL[FAMILY][leaving], "port": 80, "state": "drained"}
        late = outcome(director.start("ipvs_dest", **dest, drain_timeout=0))
        counts = {name: late["draining"][0][f"{name}_connections"] for name in ("active", "inactive", "persistent")}
        assert counts == {"active": 0, "inactive": 1, "persistent": 1}
        assert udp_shares(FAMILY, 3, service["port"]) == {staying: 3}
        done = outcome(director.start("ipvs_dest", **dest, drain_timeout=60))
        assert not done.get("failed"), done
        assert (done["changed"], done["dest"], done["draining"]) == (True, None, [])
    finally:
        subprocess.run(["ipvsadm", "--set", "900", "2", "3"], check=True)
        subprocess.run(["sysctl", "-qw", "net.ipv4.vs.expire_quiescent_template=0"], check=True)


def test_persistence_that_would_keep_it_from_ending_is_said(director: Director, network: Network, service, one):
    director.service(**service, persistence_timeout=60, dests=DESTS)
    setting = "net.ipv4.vs.expire_quiescent_template"
    for value, said in (("1", False), ("0", True)):
        subprocess.run(["sysctl", "-qw", f"{setting}={value}"], check=True)
        predicted = outcome(director.start("ipvs_dest", **one, state="drained", _ansible_check_mode=True))
        assert predicted["changed"]
        assert (setting in str(predicted.get("warnings"))) is said
