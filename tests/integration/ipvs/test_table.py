# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many services in one task, in the kernel's own table."""

from __future__ import annotations

import subprocess
from typing import Any

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, outcome, saved

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


def test_one_bad_item_of_a_thousand_writes_nothing_and_is_named(director: Director):
    services = many(1000)
    services[742]["dests"][1]["weight"] = 2**31
    message = director.refusal("ipvs_table", services=services)
    assert message.startswith("services[742]: dests[1]: weight is 2147483648")
    services[742]["dests"][1].update(weight=1, forwarding="direct")
    message = director.refusal("ipvs_table", services=services)
    assert "tcp 192.0.2.243:82" in message
    assert "10.0.0.2:8080" in message


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
