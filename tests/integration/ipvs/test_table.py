# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many services in one task, in the kernel's own table."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from functools import partial
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.netlink import Kernel
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import BulkTask
from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, outcome, saved
from ansible_collections.pocket.cloud.tests.unit.support import execute

OURS = {"addresses": ["192.0.2.0/24", "2001:db8::/32"], "fwmarks": ["1-99"]}

SERVICES: list[dict[str, Any]] = [
    {
        "address": "192.0.2.10",
        "port": 80,
        "scheduler": "wrr",
        "dests": [
            {"address": "10.0.0.1", "port": 8080, "forwarding": "masquerade", "weight": 2},
            {"address": "10.0.0.2", "upper_threshold": 9, "lower_threshold": 4},
        ],
    },
    {"protocol": "udp", "address": "2001:db8::10", "port": 53, "one_packet": True, "scheduler": "rr"},
    {
        "fwmark": 7,
        "scheduler": "sh",
        "scheduler_flags": ["sh-port"],
        "dests": [{"address": "fd00::9", "forwarding": "tunnel", "tunnel_type": "gue", "tunnel_port": 6080}],
    },
    {"fwmark": 7, "family": "ipv6", "persistence_timeout": 60, "persistence_netmask": "64"},
]

SAVED = [
    "-A -f 7 -6 -s wlc -p 60 -M 64",
    "-A -f 7 -s sh -b sh-port",
    "-A -t 192.0.2.10:80 -s wrr",
    "-A -u [2001:db8::10]:53 -s rr -o",
    "-a -f 7 -r [fd00::9]:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
    "-a -t 192.0.2.10:80 -r 10.0.0.1:8080 -m -w 2",
    "-a -t 192.0.2.10:80 -r 10.0.0.2:80 -g -w 1",
]


def foreign() -> list[str]:
    """Makes a service that is nobody's here; what ipvsadm says of it."""
    subprocess.run(["ipvsadm", "-A", "-t", "198.51.100.1:25", "-s", "rr"], check=True)
    return ["-A -t 198.51.100.1:25 -s rr"]


def test_many_services_are_made_changed_and_purged(director: Director):
    others = foreign()
    made = director.table(*SERVICES, purge=True, scope=OURS)
    assert made["writes"]["services"] == {"created": 4, "edited": 0, "deleted": 0}
    assert saved() == sorted([*SAVED, *others])
    web = {**SERVICES[0], "scheduler": "rr", "dests": [{"address": "10.0.0.2", "weight": 3}]}
    changed = director.table(web, SERVICES[2], purge=True, scope=OURS)
    assert changed["writes"] == {
        "services": {"created": 0, "edited": 1, "deleted": 2},
        "dests": {"created": 0, "edited": 1, "deleted": 1},
    }
    assert saved() == sorted(
        [
            "-A -f 7 -s sh -b sh-port",
            "-A -t 192.0.2.10:80 -s rr",
            "-a -f 7 -r [fd00::9]:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
            "-a -t 192.0.2.10:80 -r 10.0.0.2:80 -g -w 3",
            *others,
        ]
    )
    director.table(purge=True, scope=OURS)
    assert saved() == others


def test_what_the_information_module_returns_makes_the_same_table(director: Director):
    director.table(*SERVICES)
    services = director.info()["services"]
    assert director.table(*services, purge=True, scope=OURS)["changed"] is False
    director.clear()
    director.table(*services)
    assert saved() == SAVED
    assert director.info()["services"][2]["dests"] == services[2]["dests"]  # thresholds, which ipvsadm does not save


def many(count: int, port: int = 80) -> list[dict[str, Any]]:
    return [
        {
            "address": f"192.0.2.{number % 250 + 1}",
            "port": port + number // 250,
            "dests": [{"address": f"10.0.0.{dest}", "port": 8080, "forwarding": "masquerade"} for dest in (1, 2)],
        }
        for number in range(count)
    ]


TUNNEL = {"forwarding": "tunnel"}
BAD_SERVICES: list[tuple[dict[str, Any], str]] = [
    ({"address": None, "port": None, "fwmark": 0}, "fwmark is 0"),
    ({"port": 0}, "port of tcp 192.0.2.243:0 is 0"),
    ({"one_packet": True}, "one_packet is true for tcp 192.0.2.243:82"),
    ({"persistence_timeout": 17_000_001}, "persistence_timeout is 17000001"),
    ({"persistence_timeout": 60, "persistence_netmask": "255.0.255.0"}, "persistence_netmask is '255.0.255.0'"),
    ({"scheduler": "twos"}, "without the module ip_vs_twos"),
    ({"scheduler": "best"}, "scheduler is 'best'"),
    ({"address": "192.0.2.243", "port": 83}, "services[742] and services[992] are both tcp 192.0.2.243:83"),
]
BAD_DESTS: list[tuple[dict[str, Any], str]] = [
    ({"weight": 2**31}, "weight is 2147483648"),
    ({"forwarding": "pigeon"}, "value of forwarding must be one of: masquerade, direct, tunnel, got: pigeon"),
    ({"upper_threshold": 5, "lower_threshold": 6}, "lower_threshold of dest 10.0.0.2:8080 is 6"),
    ({"lower_threshold": 1}, "lower_threshold of dest 10.0.0.2:8080 is 1"),
    ({**TUNNEL, "port": 82, "tunnel_type": "gue"}, "tunnel_type of dest 10.0.0.2:82 is gue"),
    ({**TUNNEL, "port": 82, "tunnel_type": "gre", "tunnel_checksum": "remote"}, "tunnel_checksum of dest 10.0.0.2:82"),
    ({"forwarding": "direct"}, "port of dest 10.0.0.2:8080 is 8080, but forwarding direct"),
    ({"address": "fd00::1"}, "address of dest [fd00::1]:8080 is ipv6"),
    ({"address": "10.0.0.1"}, "dests[0] and dests[1] are both 10.0.0.1:8080"),
    ({"address": "255.255.255.255"}, "the broadcast address"),
    ({"address": "10.0.0.٢"}, "which is neither an IPv4 nor an IPv6 address"),
]


def test_one_bad_item_of_a_thousand_writes_nothing_and_is_named(director: Director):
    for bad, said in BAD_SERVICES:
        services = many(1000)
        services[742].update(bad)
        message = director.refusal("ipvs_table", services=services)
        assert said in message
        assert "services[742]" in message or "192.0.2.243:" in message or "scheduler is twos" in message, message
    for bad, said in BAD_DESTS:
        services = many(1000)
        services[742]["dests"][1].update(bad)
        message = director.refusal("ipvs_table", services=services)
        assert said in message
        assert "services[742]" in message or "tcp 192.0.2.243:82" in message or "pigeon" in message, message


def test_a_thousand_in_one_task(director: Director):
    services = many(1000)
    assert director.table(*services)["writes"]["dests"]["created"] == 2000
    assert len(saved()) == 3000
    for number in range(10):
        services[number * 90]["dests"][0]["weight"] = 7
    changed = director.table(*services, purge=True, scope=OURS)
    assert changed["writes"]["dests"] == {"created": 0, "edited": 10, "deleted": 0}
    assert sum(line.endswith("-w 7") for line in saved()) == 10
    assert director.table(purge=True, scope=OURS)["writes"]["services"]["deleted"] == 1000


def test_two_at_once_both_end_well_and_the_table_is_that_of_one(director: Director):
    tables = [many(150), many(150, port=81)]
    for services in tables:
        for service in services:
            service["scheduler"] = "rr" if services is tables[0] else "wrr"
    alone = []
    for services in tables:
        director.table(*services, purge=True, scope=OURS)
        alone.append(saved())
    for _round in range(3):
        running = [director.start("ipvs_table", services=services, purge=True, scope=OURS) for services in tables]
        for process in running:
            assert not outcome(process).get("failed")
        assert saved() in alone


WRITES = (1, 2, 3, 5, 6, 7)  # the commands that create, edit and delete services and dests


class Watched(Kernel):
    """Notes each message that writes; with so many lives it kills its process after as many sends of them."""

    def __init__(self, messages: list[int], lives: int | None = None) -> None:
        self._messages = messages
        self._lives = lives
        super().__init__()

    def _send(self, data: bytes) -> None:
        super()._send(data)
        commands = []
        while data:
            commands.append(data[16])
            data = data[(int.from_bytes(data[:4], sys.byteorder) + 3) & ~3 :]
        if self._sequence == 1 or not set(commands) <= set(WRITES):  # first it asks for the family's number
            return
        self._messages.extend(commands)
        if self._lives is not None:
            self._lives -= 1
            if not self._lives:
                os.kill(os.getpid(), signal.SIGKILL)


def messages(services: list[dict[str, Any]]) -> list[int]:
    """The commands that bringing the table to this sends to the kernel."""
    sent: list[int] = []
    params = {"services": services, "purge": True, "scope": OURS}
    execute(partial(BulkTask, connect=lambda _namespace: Watched(sent)), params)
    return sent


def test_only_what_differs_is_sent_to_the_kernel(director: Director):
    services = many(200)
    assert sorted(messages(services)) == [1] * 200 + [5] * 400
    assert messages(services) == []
    for number in range(10):
        services[number * 20]["dests"][0]["weight"] = 7
    assert messages(services) == [6] * 10


def killed(services: list[dict[str, Any]], sends: int) -> bool:
    """Begin to bring the table to this, and be killed after so many sends; whether it came to that."""
    params = {"services": services, "purge": True, "scope": OURS, "drain": DRAIN}
    child = os.fork()
    if not child:
        try:
            execute(partial(BulkTask, connect=lambda _namespace: Watched([], sends)), params)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


DRAIN = {"timeout": 60, "udp": "wait", "at_timeout": "fail", "step": None}


def test_killed_after_any_send_the_next_run_ends_it(director: Director):
    others = foreign()
    before = many(60)
    after = [{**one, "scheduler": "rr", "dests": [{**one["dests"][1], "weight": 3}]} for one in many(50, port=81)]
    after += [{**one, "scheduler": "rr"} for one in before[:30]]
    after += [{**one, "dests": one["dests"][:1]} for one in before[30:40]]
    director.table(*after, purge=True, scope=OURS)
    wanted = saved()
    for sends in itertools.count(1):
        director.table(*before, purge=True, scope=OURS)
        if not killed(after, sends):
            break
        ended = saved() == wanted
        assert set(others) <= set(saved())
        again = {"services": after, "purge": True, "scope": OURS, "drain": DRAIN}
        assert director.interpreter.run("ipvs_table", again)["changed"] is not ended
        assert saved() == wanted
    assert saved() == wanted
    assert sends > 4  # a send each at least for what is added, edited, drained and deleted


def test_a_director_may_be_one_of_its_own_servers(director: Director):
    subprocess.run(["ip", "address", "add", "10.9.9.1/32", "dev", "lo"], check=True)
    try:
        for forwarding in ("masquerade", "direct", "tunnel"):
            dests = [{"address": "10.9.9.1", "forwarding": forwarding}, {"address": "10.0.0.2"}]
            director.table({"address": "192.0.2.10", "port": 80, "dests": dests})
    finally:
        subprocess.run(["ip", "address", "delete", "10.9.9.1/32", "dev", "lo"], check=True)
