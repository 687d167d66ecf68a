# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import Service, ServiceKey
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import ServiceTask
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import Bench, MemoryKernel, WrittenInCheckModeError
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

WEB = {"protocol": "tcp", "address": "192.0.2.10", "port": 80}
KEY = ServiceKey(address="192.0.2.10", port=80)


@pytest.fixture
def service(bench: Bench):
    """Runs the module's task: in check mode, for real, and again."""
    make = partial(ServiceTask, connect=bench.kernel.connect)
    return lambda **params: bench.run(make, {"state": "present", **params})


@pytest.fixture
def refused(bench: Bench):
    make = partial(ServiceTask, connect=bench.kernel.connect)
    return lambda **params: bench.refusal(make, {"state": "present", **params})


OPTIONS = [
    ({"scheduler": "rr"}, {"scheduler": "wrr"}),
    ({"scheduler": "sh", "scheduler_flags": ["sh-port"]}, {"scheduler_flags": ["sh-fallback", "sh-port"]}),
    ({"persistence_timeout": 300}, {"persistence_timeout": 60}),
    (
        {"persistence_timeout": 300, "persistence_netmask": "255.255.255.0"},
        {"persistence_netmask": "255.255.0.0"},
    ),
    ({"dests": [{"address": "10.0.0.1"}]}, {"dests": [{"address": "10.0.0.1", "weight": 3}]}),
]


@pytest.mark.parametrize(("first", "second"), OPTIONS)
@pytest.mark.parametrize("identity", [WEB, {"fwmark": 7}], ids=["address", "fwmark"])
def test_each_option_is_set_set_again_changed_and_cleaned_up(service, kernel: MemoryKernel, identity, first, second):
    created = service(**identity, **first)
    assert created["changed"] is True
    for name, value in first.items():
        assert created["service"][name] == value or name == "dests"
    changed = service(**identity, **second)
    assert changed["changed"] is True
    assert changed["diff"]["before"] != changed["diff"]["after"]
    for name, value in second.items():
        assert changed["service"][name] == value or name == "dests"
    assert [write.kind for write in kernel.writes][-1] == "edit"
    removed = service(**identity, state="absent")
    assert (removed["changed"], removed["service"]) == (True, None)
    assert kernel.table == {}
    assert service(**identity, state="absent")["changed"] is False


def test_udp_options(service):
    sip = {**WEB, "protocol": "udp", "port": 5060}
    assert service(**sip, persistence_timeout=30, persistence_engine="sip")["service"]["persistence_engine"] == "sip"
    assert service(**sip, persistence_engine="none")["service"]["persistence_engine"] == "none"
    assert service(**sip, one_packet=True)["service"]["one_packet"] is True
    assert service(**sip, one_packet=False)["service"]["one_packet"] is False


def test_a_service_with_dests_in_one_run(service, kernel: MemoryKernel):
    dests = [
        {"address": "10.0.0.2", "forwarding": "masquerade"},
        {"address": "10.0.0.1", "port": 8080, "forwarding": "masquerade", "weight": 2},
    ]
    created = service(**WEB, scheduler="wrr", dests=dests)
    assert [dest["address"] for dest in created["service"]["dests"]] == ["10.0.0.1", "10.0.0.2"]
    assert "tcp 192.0.2.10:80 -> 10.0.0.1:8080" in created["diff"]["after"]
    # What it returns it also takes.
    assert service(**created["service"])["changed"] is False
    assert len(kernel.writes) == 3


def test_dests_that_are_not_listed_stay_unless_they_are_to_be_purged(service, kernel: MemoryKernel):
    service(**WEB, dests=[{"address": "10.0.0.1"}, {"address": "10.0.0.2"}])
    assert service(**WEB, dests=[{"address": "10.0.0.1"}])["changed"] is False
    assert service(**WEB)["changed"] is False
    assert len(service(**WEB, dests=[{"address": "10.0.0.1"}], purge_dests=True)["service"]["dests"]) == 1
    assert service(**WEB, dests=[], purge_dests=True)["service"]["dests"] == []
    assert KEY in kernel.table


def test_unstated_settings_stay(service):
    service(**WEB, scheduler="rr", persistence_timeout=60)
    edited = service(**WEB, scheduler="wrr")["service"]
    assert (edited["scheduler"], edited["persistence_timeout"]) == ("wrr", 60)


def test_other_services_stay(service, kernel: MemoryKernel):
    service(**WEB)
    service(**{**WEB, "port": 443})
    service(**WEB, state="absent")
    assert [key.port for key in kernel.table] == [443]


def test_the_namespace_is_passed_on(service, kernel: MemoryKernel):
    service(**WEB, namespace="blue")
    assert set(kernel.opened) == {"blue"}


def test_nothing_is_opened_for_a_bad_request(refused, kernel: MemoryKernel):
    assert "port is 70000" in refused(**{**WEB, "port": 70000})
    assert "scheduler is 'fastest'" in refused(**WEB, scheduler="fastest")
    assert "address is '192.0.2'" in refused(**{**WEB, "address": "192.0.2"})
    assert "dests[1]: weight is -1" in refused(
        **WEB, dests=[{"address": "10.0.0.1"}, {"address": "10.0.0.2", "weight": -1}]
    )
    assert kernel.opened == []


def test_one_bad_dest_among_many_writes_nothing(refused, kernel: MemoryKernel):
    dests = [{"address": f"10.0.0.{number}", "port": 8080 if number == 151 else 80} for number in range(1, 200)]
    assert "port of dest 10.0.0.151:8080 is 8080" in refused(**WEB, dests=dests)
    assert kernel.writes == []


def test_a_scheduler_that_the_kernel_lacks_is_refused_before_a_write(refused):
    assert "ip_vs_twos" in refused(**WEB, scheduler="twos")


def test_what_the_kernel_does_not_keep_is_an_error(kernel: MemoryKernel):
    def wrap(write):
        return replace(write, service=replace(write.service, persistence_timeout=705_032))

    kernel.distort = wrap
    params = {"state": "present", **WEB, "persistence_timeout": 5_000_000}
    failed = refusal(partial(ServiceTask, connect=kernel.connect), params)
    assert "persistence_timeout of tcp 192.0.2.10:80 was to be 5000000 and is 705032" in failed["msg"]
    assert failed["changed"] is True


def test_check_mode_cannot_write(kernel: MemoryKernel):
    make = partial(ServiceTask, connect=kernel.connect)
    with kernel.sealed(), pytest.raises(WrittenInCheckModeError):
        execute(make, {"state": "present", **WEB})
    assert kernel.table == {}


def test_what_others_created_is_edited_not_made_anew(service, kernel: MemoryKernel):
    service(**WEB, dests=[{"address": "10.0.0.1"}])
    kernel.writes.clear()
    service(**WEB, scheduler="rr", persistence_timeout=10, dests=[{"address": "10.0.0.1", "weight": 9}])
    assert [write.kind for write in kernel.writes] == ["edit", "edit"]
    assert kernel.table[KEY].service == Service(KEY, "rr", (), 10, "255.255.255.255", "none", False)
