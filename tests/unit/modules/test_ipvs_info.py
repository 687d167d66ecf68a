# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from functools import partial

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.info import TableInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import ServiceTask
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import MemoryKernel
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

SERVICES = [
    {"address": "192.0.2.10", "port": 80, "scheduler": "rr", "dests": [{"address": "10.0.0.1"}]},
    {"address": "192.0.2.11", "port": 53, "protocol": "udp"},
    {"address": "2001:db8::10", "port": 80, "dests": [{"address": "fd00::1"}, {"address": "fd00::2"}]},
    {"fwmark": 7, "family": "ipv6"},
]


@pytest.fixture
def info(kernel: MemoryKernel):
    for service in SERVICES:
        execute(partial(ServiceTask, connect=kernel.connect), {"state": "present", **service})

    def read(**filters):
        with kernel.sealed():
            results = execute(partial(TableInfoTask, connect=kernel.connect), {"filters": filters})
            assert results == execute(partial(TableInfoTask, connect=kernel.connect), {"filters": filters}, check=True)
        assert results["changed"] is False
        return results

    return read


def named(results):
    return [service.get("address", service.get("fwmark")) for service in results["services"]]


def test_all_services_in_order(info):
    results = info()
    assert named(results) == ["192.0.2.10", "192.0.2.11", "2001:db8::10", 7]
    assert results["version"] == "1.2.1"
    assert results["timeouts"] == {"tcp": 900, "tcp_fin": 120, "udp": 300}
    assert results["daemons"] == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"protocol": "udp"}, ["192.0.2.11"]),
        ({"protocol": ["tcp", "udp"]}, ["192.0.2.10", "192.0.2.11", "2001:db8::10"]),
        ({"address": "192.0.2.10"}, ["192.0.2.10"]),
        ({"address": "192.0.2.0/24"}, ["192.0.2.10", "192.0.2.11"]),
        ({"address": "2001:DB8:0::10"}, ["2001:db8::10"]),
        ({"port": 80}, ["192.0.2.10", "2001:db8::10"]),
        ({"port": "80", "family": "ipv6"}, ["2001:db8::10"]),
        ({"family": "ipv6"}, ["2001:db8::10", 7]),
        ({"fwmark": 7}, [7]),
        ({"scheduler": "rr"}, ["192.0.2.10"]),
        ({"dest_address": "fd00::/8"}, ["2001:db8::10"]),
        ({"dest_port": 80}, ["192.0.2.10", "2001:db8::10"]),
        ({"port": 81}, []),
    ],
)
def test_filters(info, filters, found):
    assert named(info(**filters)) == found


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"vip": "192.0.2.10"}, ["filters holds 'vip'", "address"]),
        ({"address": "192.0.2"}, ["filters: address is '192.0.2'"]),
        ({"port": "http"}, ["filters: port is 'http'", "whole number"]),
    ],
)
def test_bad_filters_are_refused(kernel: MemoryKernel, filters, names):
    message = refusal(partial(TableInfoTask, connect=kernel.connect), {"filters": filters})["msg"]
    assert all(name in message for name in names)
    assert kernel.opened == []


def test_what_it_returns_can_be_given_to_ipvs_service(info, kernel: MemoryKernel):
    for service in info()["services"]:
        make = partial(ServiceTask, connect=kernel.connect)
        with kernel.sealed():
            assert execute(make, {"state": "present", **service})["changed"] is False
