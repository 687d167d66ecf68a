# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must fail on a real kernel, and how it says so."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import NOBODY, Director, Interpreter

WEB = {"protocol": "tcp", "address": "192.0.2.10", "port": 80}
DEST = {"service": WEB, "address": "10.0.0.1"}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("ipvs_service", WEB),
    ("ipvs_dest", DEST),
    ("ipvs_info", {}),
    ("ipvs_restore", {"name": "web", "services": [WEB]}),
    ("ipvs_table", {"services": [WEB]}),
    ("ipvs_config", {"timeouts": {"tcp": 60}}),
    ("ipvs_sync_daemon", {"daemon": "master", "interface": "lo"}),
    ("ipvs_zero", {}),
]


@pytest.fixture
def unloaded(director: Director) -> Interpreter:
    """A kernel as it is before anything has loaded the module."""
    for _write in range(50):
        modules = [path.name for path in Path("/sys/module").glob("ip_vs*")]
        if not modules:
            break
        # Schedulers first; a network namespace that was deleted may still be using them for a moment.
        subprocess.run(["rmmod", *sorted(modules, reverse=True)], capture_output=True, check=False)
        time.sleep(0.1)
    assert not Path("/sys/module/ip_vs").exists()
    return director.interpreter


@pytest.fixture
def without_ipvs(unloaded: Interpreter) -> Iterator[Interpreter]:
    """A kernel that has no module to load."""
    place = Path("/lib/modules", os.uname().release)
    aside = place.with_name("aside")
    place.rename(aside)
    yield unloaded
    aside.rename(place)
    subprocess.run(["modprobe", "ip_vs"], check=True)


def test_the_kernel_loads_ipvs_on_first_use(unloaded: Interpreter):
    assert unloaded.run("ipvs_info", {})["services"] == []
    assert Path("/sys/module/ip_vs").exists()


def test_a_kernel_without_ipvs(without_ipvs: Interpreter):
    for (module, params), check in itertools.product(CALLS, (True, False)):
        answer = without_ipvs.run(module, params, check=check)
        if check and module in ("ipvs_restore", "ipvs_config"):  # what an earlier task of a play is to bring
            assert answer["changed"] is True
            continue
        assert answer.get("failed"), module
        assert "no IPVS at present: its module ip_vs is not loaded; load it with: modprobe ip_vs" in answer["msg"]
    assert not Path("/sys/module/ip_vs").exists()
    assert not Path("/etc/pocket-cloud/director.d/web.json").exists()


def test_no_permission(director: Director):
    director.service(**WEB)
    for module, params in CALLS:
        failed = director.interpreter.run(module, params, user=NOBODY)
        assert failed.get("failed"), module
        assert "CAP_NET_ADMIN" in failed["msg"]
        assert "become: true" in failed["msg"]


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"scheduler": "wrrr"}, ["scheduler is 'wrrr'", "rr, wrr, lc"]),
        ({"scheduler": "twos"}, ["scheduler is twos", "without the module ip_vs_twos"]),
        ({"port": 70000}, ["port is 70000"]),
        ({"port": 0}, ["port of tcp 192.0.2.10:0 is 0"]),
        ({"address": "192.0.2.300"}, ["address is '192.0.2.300'"]),
        ({"persistence_timeout": 20_000_000}, ["persistence_timeout is 20000000"]),
        ({"persistence_netmask": "255.0.255.0"}, ["persistence_netmask is '255.0.255.0'"]),
        ({"one_packet": True}, ["one_packet is true", "UDP only"]),
        ({"namespace": "nowhere"}, ["namespace is 'nowhere'", "ip netns add nowhere"]),
        ({"dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.2", "port": 8080}]}, ["10.0.0.2:8080", "masquerade"]),
        ({"dests": [{"address": "10.0.0.1", "weight": 2**31}]}, ["dests[0]: weight is 2147483648"]),
        ({"dests": [{"address": "10.0.0.1", "lower_threshold": 1}]}, ["lower_threshold of dest 10.0.0.1:80 is 1"]),
        ({"dests": [{"address": "224.0.0.1"}]}, ["multicast"]),
        ({"dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.1", "port": 80}]}, ["dests[0] and dests[1] are both"]),
    ],
)
def test_bad_requests_write_nothing(director: Director, params: dict[str, Any], names: list[str]):
    message = director.refusal("ipvs_service", **{**WEB, **params})
    assert all(name in message for name in names), message


def test_fwmark_0_and_two_identities(director: Director):
    assert "fwmark is 0" in director.refusal("ipvs_service", fwmark=0)
    assert "both address '192.0.2.10' and fwmark 5" in director.refusal("ipvs_service", **WEB, fwmark=5)
    assert "neither is given" in director.refusal("ipvs_service", scheduler="rr")


def test_a_dest_of_no_service(director: Director):
    assert "The virtual service tcp 192.0.2.10:80 does not exist" in director.refusal("ipvs_dest", **DEST)


def test_what_only_the_kernel_knows_to_be_wrong_has_a_sentence(director: Director):
    """The broadcast address of a network that the host is in."""
    subprocess.run(["ip", "address", "add", "10.9.9.1/24", "dev", "lo"], check=True)
    try:
        director.service(**WEB)
        failed = director.interpreter.run("ipvs_dest", {"service": WEB, "address": "10.9.9.255"})
    finally:
        subprocess.run(["ip", "address", "delete", "10.9.9.1/24", "dev", "lo"], check=True)
    assert failed["failed"] is True
    assert failed["changed"] is False
    assert "does not take 10.9.9.255 as a real server" in failed["msg"]
