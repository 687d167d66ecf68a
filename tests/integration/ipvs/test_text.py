# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Export and import against ipvsadm itself: what it prints is read, what is written it takes, and nothing is lost."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.ipvsadm_text import read_ipvsadm, write_ipvsadm
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.keepalived_text import (
    read_keepalived,
    write_keepalived,
)
from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, saved

DESTS = [
    {"address": "10.0.0.1", "port": 8080, "forwarding": "masquerade", "weight": 3},
    {"address": "10.0.0.2", "weight": 0, "upper_threshold": 2**31 - 1, "lower_threshold": 70000},
    {"address": "10.0.0.3", "forwarding": "tunnel", "weight": 2**31 - 1},
    {"address": "10.0.0.4", "forwarding": "tunnel", "tunnel_type": "gue", "tunnel_port": 6080},
    {
        "address": "10.0.0.5",
        "forwarding": "tunnel",
        "tunnel_type": "gue",
        "tunnel_port": 6081,
        "tunnel_checksum": "remote",
        "upper_threshold": 9,
    },
    {"address": "fd00::6", "forwarding": "tunnel", "tunnel_type": "gre", "tunnel_checksum": "full"},
]
TABLE: list[dict[str, Any]] = [
    {"address": "192.0.2.10", "port": 80, "scheduler": "wrr", "dests": DESTS},
    {"address": "192.0.2.10", "port": 0, "persistence_timeout": 31 * 86400, "persistence_netmask": "255.255.255.0"},
    {
        "protocol": "udp",
        "address": "192.0.2.10",
        "port": 5060,
        "one_packet": True,
        "persistence_engine": "sip",
        "persistence_timeout": 60,
        "dests": [{"address": "10.0.0.1"}],
    },
    {"protocol": "sctp", "address": "192.0.2.10", "port": 80, "scheduler": "sh", "scheduler_flags": ["sh-port"]},
    {
        "address": "2001:db8::10",
        "port": 443,
        "persistence_timeout": 300,
        "persistence_netmask": "64",
        "scheduler": "mh",
        "scheduler_flags": ["mh-fallback", "mh-port"],
        "dests": [{"address": "fd00::1", "forwarding": "masquerade", "port": 8443}],
    },
    {
        "fwmark": 7,
        "scheduler": "rr",
        "scheduler_flags": ["flag-1", "flag-3"],
        "dests": [{"address": "10.0.0.1", "port": 8080, "forwarding": "masquerade"}],
    },
    {"fwmark": 7, "family": "ipv6", "dests": [{"address": "fd00::1"}]},
]

ALL = {"addresses": ["0.0.0.0/0", "::/0"], "fwmarks": ["1-4294967295"]}
THRESHOLDS = {"upper_threshold": None, "lower_threshold": None}


@pytest.fixture
def table(director: Director) -> list[dict[str, Any]]:
    """The services that the kernel has, as ipvs_info returns them."""
    director.table(*TABLE)
    services: list[dict[str, Any]] = director.info()["services"]
    return services


def settings(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Services without their counters."""
    return [
        {
            **{key: value for key, value in service.items() if key not in ("stats", "dests")},
            "dests": [{key: value for key, value in dest.items() if key != "stats"} for dest in service["dests"]],
        }
        for service in services
    ]


def restore(text: str) -> None:
    """Empty the table, and give ipvsadm the text. It says so on standard error when it does not take a line."""
    subprocess.run(["ipvsadm", "-C"], check=True)
    done = subprocess.run(["ipvsadm", "-R"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_ipvsadm_makes_the_same_table_of_the_export(director: Director, table: list[dict[str, Any]]):
    before = saved()
    restore(write_ipvsadm(table))
    assert saved() == before
    assert settings(director.info()["services"]) == settings(table)


def test_the_export_is_what_ipvsadm_prints_but_for_thresholds(table: list[dict[str, Any]]):
    without = [{**one, "dests": [{**dest, **THRESHOLDS} for dest in one["dests"]]} for one in table]
    assert sorted(write_ipvsadm(without).splitlines()) == saved()


def test_what_ipvsadm_prints_changes_nothing_where_it_came_from(director: Director, table: list[dict[str, Any]]):
    printed = subprocess.run(["ipvsadm", "-Sn"], capture_output=True, text=True, check=True).stdout
    results = director.table(*read_ipvsadm(printed), purge=True, scope=ALL)
    assert (results["changed"], results["diff"]) == (False, {"before": "", "after": ""})
    assert settings(director.info()["services"]) == settings(table)


def test_what_ipvsadm_prints_makes_the_same_table_elsewhere(director: Director, table: list[dict[str, Any]]):
    before = saved()
    imported = read_ipvsadm("\n".join(before))
    director.clear()
    director.table(*imported)
    assert saved() == before


def test_a_table_goes_through_keepalived_and_back(director: Director, table: list[dict[str, Any]]):
    kept = [service for service in table if service["dests"]]
    imported = read_keepalived(write_keepalived(kept))
    assert imported == {"services": settings(kept), "aside": []}


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_ipvsadm_takes_a_flag_that_it_does_not_print(director: Director, scheduler: str):
    service = {"address": "192.0.2.10", "port": 80, "scheduler": scheduler, "scheduler_flags": ["flag-3"]}
    table = [director.service(**service)["service"]]
    assert "flag-3" not in saved()[0]
    restore(write_ipvsadm(table))
    assert settings(director.info()["services"]) == table


def test_a_mark_that_ipvsadm_prints_as_negative(director: Director):
    table = [director.service(fwmark=mark)["service"] for mark in (2**31 - 1, 2**31, 2**32 - 1)]
    assert [line.split()[2] for line in saved()] == ["-1", "-2147483648", "2147483647"]
    assert read_ipvsadm("\n".join(saved())) == table
    restore(write_ipvsadm(table))
    assert settings(director.info()["services"]) == table
