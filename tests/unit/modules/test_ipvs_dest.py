# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from functools import partial

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import DestTask, ServiceTask
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import Bench, MemoryKernel
from ansible_collections.pocket.cloud.tests.unit.support import execute

WEB = {"protocol": "tcp", "address": "192.0.2.10", "port": 80}


@pytest.fixture
def web(kernel: MemoryKernel) -> None:
    """A service that exists."""
    execute(partial(ServiceTask, connect=kernel.connect), {"state": "present", **WEB})
    kernel.writes.clear()


@pytest.fixture
def dest(bench: Bench, web: None):
    """Runs the module's task on that service: in check mode, for real, and again."""
    make = partial(DestTask, connect=bench.kernel.connect)
    return lambda **params: bench.run(make, {"state": "present", "service": WEB, **params})


@pytest.fixture
def refused(bench: Bench):
    make = partial(DestTask, connect=bench.kernel.connect)
    return lambda **params: bench.refusal(make, {"state": "present", "service": WEB, **params})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"weight": 5}, {"weight": 0}),
        ({"forwarding": "masquerade"}, {"forwarding": "tunnel"}),
        ({"forwarding": "tunnel"}, {"forwarding": "direct"}),
        ({"upper_threshold": 10}, {"upper_threshold": 20, "lower_threshold": 15}),
        ({"upper_threshold": 10, "lower_threshold": 5}, {"lower_threshold": 0}),
        ({"forwarding": "tunnel", "tunnel_type": "gue", "tunnel_port": 6080}, {"tunnel_port": 6081}),
        ({"forwarding": "tunnel", "tunnel_type": "gre"}, {"tunnel_checksum": "full"}),
        ({"forwarding": "tunnel", "tunnel_type": "gre", "tunnel_checksum": "full"}, {"tunnel_type": "ipip"}),
    ],
)
def test_each_option_is_set_set_again_changed_and_cleaned_up(dest, kernel: MemoryKernel, first, second):
    created = dest(address="10.0.0.1", **first)
    assert created["changed"] is True
    assert {name: created["dest"][name] for name in first} == first
    changed = dest(address="10.0.0.1", **second)
    assert changed["changed"] is True
    assert {name: changed["dest"][name] for name in second} == second
    assert [write.kind for write in kernel.writes] == ["create", "edit"]
    removed = dest(address="10.0.0.1", state="absent")
    assert (removed["changed"], removed["dest"]) == (True, None)
    assert dest(address="10.0.0.1", state="absent")["changed"] is False
    assert len(kernel.table) == 1


def test_a_dest_of_a_service_named_by_a_mark(bench: Bench, kernel: MemoryKernel):
    execute(partial(ServiceTask, connect=kernel.connect), {"state": "present", "fwmark": 7, "family": "ipv6"})
    params = {"state": "present", "service": {"fwmark": 7, "family": "ipv6"}, "address": "FD00::0:1"}
    created = bench.run(partial(DestTask, connect=kernel.connect), params)
    assert created["service"] == {"fwmark": 7, "family": "ipv6"}
    assert (created["dest"]["address"], created["dest"]["port"]) == ("fd00::1", 0)


def test_what_is_unstated_stays_the_tunnel_included(dest):
    dest(address="10.0.0.1", forwarding="tunnel", tunnel_type="gue", tunnel_port=6080, tunnel_checksum="remote")
    edited = dest(address="10.0.0.1", weight=0)["dest"]
    assert edited["weight"] == 0
    assert (edited["tunnel_type"], edited["tunnel_port"], edited["tunnel_checksum"]) == ("gue", 6080, "remote")


def test_other_dests_stay(dest, kernel: MemoryKernel):
    dest(address="10.0.0.1")
    dest(address="10.0.0.2")
    dest(address="10.0.0.1", state="absent")
    (service,) = kernel.table.values()
    assert [str(key) for key in service.dests] == ["10.0.0.2:80"]


def test_a_dest_without_its_service_is_an_error_that_names_the_way_out(refused):
    message = refused(address="10.0.0.1")
    assert "The virtual service tcp 192.0.2.10:80 does not exist" in message
    assert "pocket.cloud.ipvs_service" in message


def test_no_dest_of_no_service_is_absent_already(bench: Bench, kernel: MemoryKernel):
    params = {"state": "absent", "service": WEB, "address": "10.0.0.1"}
    assert bench.run(partial(DestTask, connect=kernel.connect), params)["changed"] is False
    assert kernel.table == {}


def test_bad_requests_name_parameter_and_value(refused, kernel: MemoryKernel):
    assert "service: port is 99999" in refused(address="10.0.0.1", service={**WEB, "port": 99999})
    assert "service: A virtual service is named" in refused(address="10.0.0.1", service={})
    assert "weight is 2147483648" in refused(address="10.0.0.1", weight=2**31)
    assert "fe80::1, which is link-local" in refused(address="fe80::1")
    assert kernel.opened == []


def test_bad_combinations_write_nothing(web: None, refused, kernel: MemoryKernel):
    assert "lower_threshold of dest 10.0.0.1:80 is 5" in refused(address="10.0.0.1", lower_threshold=5)
    assert "set forwarding to masquerade" in refused(address="10.0.0.1", port=8080)
    assert "set forwarding to tunnel" in refused(address="fd00::1", forwarding="masquerade")
    assert kernel.writes == []
