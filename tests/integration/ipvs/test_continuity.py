# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that go on talking while the table is edited: an edit disturbs none of them, a restore breaks some."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, outcome, saved
from ansible_collections.pocket.cloud.tests.integration.ipvs.network import (
    GUE_PORT,
    OTHER_PORT,
    REAL,
    VIRTUAL,
    Connection,
    Network,
    virtual_address,
)
from ansible_collections.pocket.cloud.tests.integration.ipvs.test_drain import on, wait_for, weights

FAMILIES = tuple(VIRTUAL)
OURS = {"addresses": [*VIRTUAL.values()]}
_ports = itertools.count(9001)  # one for each test: a dest that is made again gets the connections that it left behind


class Talk:
    """Connections that ask again and again, in turn, until one gets no answer, or somebody else's."""

    def __init__(self, connections: list[Connection]) -> None:
        self.partners = {connection: connection.ask() for connection in connections}
        self._rounds = 0
        self._over = False
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self.broken: list[str] = []

    def __enter__(self) -> Talk:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join(60)
        for connection in self.partners:
            connection.close()

    def _talk(self) -> None:
        while not self._over:
            for connection, partner in self.partners.items():
                try:
                    answer = connection.ask()
                except OSError as error:
                    answer = repr(error)
                if answer != partner:
                    self.broken.append(f"{answer} instead of {partner}")
                    return
            self._rounds += 1

    def go_round(self) -> None:
        """Wait until each of them has asked anew and been answered, or one is broken."""
        last = self._rounds
        wait_for(lambda: self.broken or self._rounds >= last + 2, 120)


def dests(family: str, port: int, **settings: Any) -> list[dict[str, Any]]:
    masqueraded = {"port": port, "forwarding": "masquerade", "weight": 1}
    return [{"address": REAL[family][name], **masqueraded, **settings} for name in ("one", "two")]


@pytest.fixture
def web() -> Iterator[list[dict[str, Any]]]:
    """A service of each family, with two servers."""
    port = next(_ports)
    with Network() as network, ExitStack() as addresses:
        network.listen(port, "tcp")
        for family in FAMILIES:
            addresses.enter_context(virtual_address(family))
        yield [{"address": VIRTUAL[family], "port": port, "dests": dests(family, port)} for family in FAMILIES]


def two_hundred(director: Director, web: list[dict[str, Any]]) -> Talk:
    director.table(*({**service, "scheduler": "rr"} for service in web))
    talk = Talk([Connection(family, web[0]["port"]) for family in FAMILIES for _connection in range(100)])
    assert Counter(talk.partners.values()) == {"one": 100, "two": 100}
    return talk


# What is not stated stays, so these add up.
SERVICE_EDITS: dict[str, dict[str, Any]] = {
    "scheduler": {"scheduler": "wrr"},
    "scheduler's flags": {"scheduler": "sh", "scheduler_flags": ["sh-port", "sh-fallback"]},
    "persistence": {"persistence_timeout": 300},
    "no persistence": {"persistence_timeout": 0},
}
DEST_EDITS: dict[str, dict[str, Any]] = {
    "weights": {"weight": 5},
    "weights of 0": {"weight": 0},
    "thresholds that are passed already": {"upper_threshold": 10, "lower_threshold": 5},
    "no thresholds": {"upper_threshold": 0, "lower_threshold": 0},
    "forwarding": {"forwarding": "tunnel", "tunnel_type": "gue", "tunnel_port": GUE_PORT},
    "forwarding as before": {"forwarding": "masquerade"},
}


def edited(web: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Tables, each with what was edited in the one before."""
    for edit, settings in SERVICE_EDITS.items():
        yield edit, [{**service, **settings} for service in web]
    for edit, settings in DEST_EDITS.items():
        changed = [dests(family, service["port"], **settings) for family, service in zip(FAMILIES, web)]
        yield edit, [{**service, "dests": of_it} for service, of_it in zip(web, changed)]
    more = [[*service["dests"], dests(family, OTHER_PORT)[0]] for family, service in zip(FAMILIES, web)]
    yield "one more dest", [{**service, "dests": of_it} for service, of_it in zip(web, more)]
    yield "that dest gone", web
    yield "other services", [*web, *({**service, "port": OTHER_PORT, "dests": []} for service in web)]
    yield "those services gone", web


def restored(old: str, new: str) -> None:
    """The same edit by ipvsadm, which can only clear the table and fill it anew."""
    text = "\n".join(saved()).replace(old, new) + "\n"
    subprocess.run(["ipvsadm", "-C"], check=True)
    subprocess.run(["ipvsadm", "-R"], input=text, text=True, check=True)


def test_no_edit_disturbs_anybody_where_restoring_the_same_does(director: Director, web):
    with two_hundred(director, web) as talk:
        for edit, services in edited(web):
            # Twice, like all that the director does, to see that the second time changes nothing.
            assert director.table(*services, purge=True, scope=OURS)["changed"] is True, edit
            talk.go_round()
            assert talk.broken == [], edit
        scheduler, persistent, weight = "-s sh -b sh-fallback,sh-port", "-s wrr -p 300", "-w 5"
        for old, new in ((scheduler, "-s wrr"), ("-s wrr", persistent), ("-w 1", weight)):
            assert old in "\n".join(saved())
            restored(old, new)
            talk.go_round()
        assert talk.broken


FORGOTTEN = 2  # seconds


@pytest.fixture
def forgetful(director: Director) -> Iterator[None]:
    """A kernel that soon forgets a connection that has ended."""
    subprocess.run(["ipvsadm", "--set", "900", str(FORGOTTEN), "300"], check=True)
    yield
    subprocess.run(["ipvsadm", "--set", "900", "120", "300"], check=True)


@pytest.mark.usefixtures("forgetful")
def test_a_drained_server_sees_all_its_connections_to_their_end(director: Director):
    family, port = "ipv4", next(_ports)
    service = {"address": VIRTUAL[family], "port": port}
    one = {"service": service, "address": REAL[family]["one"], "port": port}
    with Network(bypass=True) as network, virtual_address(family):
        network.listen(port, "tcp")
        director.service(**service, scheduler="rr", dests=dests(family, port, forwarding="direct"))
        alive = [Connection(family, port) for _connection in range(20)]
        (*leaving, last), staying = on("one", alive), on("two", alive)
        draining = director.start("ipvs_dest", **one, state="drained", drain_timeout=120)
        wait_for(lambda: weights() == {REAL[family]["one"]: "0", REAL[family]["two"]: "1"})
        for connection in leaving:
            assert connection.ask() == "one"
            connection.end()
        time.sleep(FORGOTTEN + 2)
        assert weights() == {REAL[family]["one"]: "0", REAL[family]["two"]: "1"}
        assert last.ask() == "one"
        last.end()
        done = outcome(draining)
        assert (done["changed"], done["dest"], done["draining"]) == (True, None, [])
        assert weights() == {REAL[family]["two"]: "1"}
        assert on("two", staying) == staying
