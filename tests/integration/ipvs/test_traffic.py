# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections through real virtual services: shares follow the weights, and edits disturb nobody."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director
from ansible_collections.pocket.cloud.tests.integration.ipvs.network import (
    OTHER_PORT,
    PORT,
    REAL,
    VIRTUAL,
    Connection,
    Network,
    shares,
    udp_shares,
    virtual_address,
)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as running:
        running.listen(PORT, "sctp")
        yield running


@pytest.fixture(params=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest, network: Network, director: Director) -> Iterator[str]:
    """The address family, with the virtual address on the director."""
    with virtual_address(request.param):
        yield request.param


def web(family: str, weights: tuple[int, int] = (1, 1), **settings: Any) -> dict[str, Any]:
    """A service with both servers, masqueraded."""
    dests = [
        {"address": REAL[family][name], "forwarding": "masquerade", "weight": weight}
        for name, weight in zip(("one", "two"), weights)
    ]
    return {"protocol": "tcp", "address": VIRTUAL[family], "port": 80, "dests": dests, **settings}


def test_shares_follow_the_weights(director: Director, family: str):
    director.service(**web(family, scheduler="rr"))
    assert shares(family, 10) == {"one": 5, "two": 5}
    director.service(**web(family, (3, 1), scheduler="wrr"))
    assert shares(family, 40) == {"one": 30, "two": 10}
    director.service(**web(family, (0, 1)))
    assert shares(family, 5) == {"two": 5}


def test_datagrams(director: Director, family: str):
    director.service(**{**web(family, scheduler="rr"), "protocol": "udp"})
    assert udp_shares(family, 6) == {"one": 3, "two": 3}


def test_sctp(director: Director, family: str):
    director.service(**{**web(family, scheduler="rr"), "protocol": "sctp"})
    assert shares(family, 6, PORT, "sctp") == {"one": 3, "two": 3}


@pytest.fixture
def mark(family: str) -> Iterator[int]:
    """Packets to both of the servers' ports bear this mark."""
    program = {"ipv4": "iptables-legacy", "ipv6": "ip6tables-legacy"}[family]
    rule = ["PREROUTING", "-d", VIRTUAL[family], "-p", "tcp", "--dport", f"{PORT}:{OTHER_PORT}", "-j", "MARK"]
    subprocess.run([program, "-t", "mangle", "-A", *rule, "--set-mark", "7"], check=True)
    yield 7
    subprocess.run([program, "-t", "mangle", "-D", *rule, "--set-mark", "7"], check=True)


def test_a_mark_makes_one_service_of_two_ports(director: Director, family: str, mark: int):
    dests = [{"address": REAL[family][name], "forwarding": "masquerade"} for name in ("one", "two")]
    service = director.service(fwmark=mark, family=family, scheduler="rr", dests=dests)["service"]
    for port in (PORT, OTHER_PORT):
        assert shares(family, 4, port) == {"one": 2, "two": 2}
    director.service(**{**service, "persistence_timeout": 60})
    assert set(shares(family, 3, PORT)) == set(shares(family, 3, OTHER_PORT))


def test_live_connections_outlive_every_edit(director: Director, family: str):
    director.service(**web(family, scheduler="rr"))
    alive = [Connection(family) for _connection in range(6)]
    answers = [connection.ask() for connection in alive]
    assert sorted(answers) == ["one"] * 3 + ["two"] * 3
    edits: list[dict[str, Any]] = [
        web(family, scheduler="wrr"),
        web(family, (5, 0)),
        web(family, persistence_timeout=300),
        web(family, persistence_timeout=0, scheduler="wlc"),
        web(family, (0, 0)),
        web(family),
    ]
    for edit in edits:
        assert director.service(**edit)["changed"] is True
        assert [connection.ask() for connection in alive] == answers
    for name in ("one", "two"):
        service = {"protocol": "tcp", "address": VIRTUAL[family], "port": 80}
        director.dest(service=service, address=REAL[family][name], upper_threshold=100)
    other = director.service(protocol="tcp", address=VIRTUAL[family], port=8080)["service"]
    director.service(**other, state="absent")
    assert [connection.ask() for connection in alive] == answers
    for connection in alive:
        connection.close()


def test_a_persistent_client_stays_with_its_server(director: Director, family: str):
    director.service(**web(family, scheduler="rr", persistence_timeout=60))
    assert len(shares(family, 6)) == 1


SUMMED_UP = 3  # seconds
COUNTED = ("packets_in", "packets_out", "bytes_in", "bytes_out")


def dest_connections(director: Director, family: str) -> int:
    """How many connections the kernel has counted for the dests of the service."""
    (service,) = director.info(filters={"address": VIRTUAL[family]})["services"]
    return sum(dest["stats"]["connections"] for dest in service["dests"])


def test_counters_and_rates_are_those_of_the_traffic(director: Director, family: str):
    director.service(**web(family, (3, 1), scheduler="wrr"))
    # A dest that is made while connections of a former one like it last goes on with that one's counters, though only
    # from the next time on that the kernel sums them up: every two seconds.
    time.sleep(SUMMED_UP)
    former = dest_connections(director, family)
    shares(family, 8)
    alive = Connection(family)
    alive.ask()
    time.sleep(SUMMED_UP)
    (service,) = director.info(filters={"address": VIRTUAL[family]})["services"]
    assert service["stats"]["connections"] == 9
    assert service["stats"]["packets_in"] > 9 * 3
    assert service["stats"]["bytes_out"] > 9 * 4
    assert dest_connections(director, family) - former == 9
    assert sum(dest["stats"]["active_connections"] for dest in service["dests"]) == 1
    listed = subprocess.run(["ipvsadm", "-Ln", "--stats", "--exact"], capture_output=True, text=True, check=True).stdout
    (witness,) = [line.split() for line in listed.splitlines() if line.startswith("TCP")]
    assert int(witness[2]) == service["stats"]["connections"]
    assert int(witness[3]) == service["stats"]["packets_in"]
    assert int(witness[6]) == service["stats"]["bytes_out"]
    rates = [service["stats"][f"{name}_per_second"] for name in ("connections", *COUNTED)]
    assert all(rates[1:])  # less than one connection a second is none
    listed = subprocess.run(["ipvsadm", "-Ln", "--rate", "--exact"], capture_output=True, text=True, check=True).stdout
    (witness,) = [line.split() for line in listed.splitlines() if line.startswith("TCP")]
    assert all(int(word) <= rate for word, rate in zip(witness[2:], rates))  # they fade
    alive.close()
    # What it returns can be given back unchanged.
    assert director.service(**service)["changed"] is False
