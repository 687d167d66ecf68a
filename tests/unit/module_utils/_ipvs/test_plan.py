# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans over random tables: applied they give what is wanted, a second one is empty, and none holds a flush."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.declaration import parse_wanted
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import (
    DEST_SETTINGS,
    SERVICE_SETTINGS,
    Dest,
    DestKey,
    Service,
    ServiceKey,
    VirtualService,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.plan import Wanted, make_plan, outcome, shortfall
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import MemoryKernel

KEYS = [
    ServiceKey(address="192.0.2.10", port=80),
    ServiceKey(address="192.0.2.10", port=443, protocol="udp"),
    ServiceKey(address="2001:db8::10", port=80),
    ServiceKey(fwmark=1),
    ServiceKey(fwmark=1, family="ipv6"),
]
HOSTS = {"ipv4": ["10.0.0.1", "10.0.0.2", "10.0.0.3"], "ipv6": ["fd00::1", "fd00::2", "fd00::3"]}


def stated(values: dict[str, st.SearchStrategy]) -> st.SearchStrategy[dict[str, Any]]:
    """Any subset of the settings, with values."""
    return st.fixed_dictionaries({}, optional=values)


SERVICE = stated(
    {
        "scheduler": st.sampled_from(["rr", "wrr", "sh", "mh"]),
        "scheduler_flags": st.sampled_from([(), ("flag-1",), ("flag-2", "flag-3")]),
        "persistence_timeout": st.sampled_from([0, 60, 300]),
    }
)
PLAIN_DEST = {"weight": st.integers(0, 3), "upper_threshold": st.integers(5, 9), "lower_threshold": st.integers(0, 5)}
DEST = st.one_of(
    stated({"forwarding": st.sampled_from(["masquerade", "direct"]), **PLAIN_DEST}),
    st.fixed_dictionaries(
        {"forwarding": st.just("tunnel"), "tunnel_type": st.just("gue"), "tunnel_port": st.integers(1, 9)},
        optional={"tunnel_checksum": st.sampled_from(["none", "full", "remote"]), **PLAIN_DEST},
    ),
)


@st.composite
def wanted_services(draw: st.DrawFn, purge: bool | None = None) -> list[Wanted]:
    chosen = draw(st.lists(st.sampled_from(KEYS), unique=True))
    found = []
    for key in chosen:
        hosts = draw(st.lists(st.sampled_from(HOSTS[key.family]), unique=True))
        # An upper threshold is always stated with a lower one, which alone may be refused.
        dests = []
        for host in hosts:
            values = draw(DEST)
            if "lower_threshold" in values:
                values.setdefault("upper_threshold", 9)
            elif "upper_threshold" in values:
                values["lower_threshold"] = 0
            dests.append(Dest(DestKey(host, key.port or 0), **values))
        service = Service(key, **draw(SERVICE))
        found.append(Wanted(service, tuple(dests), purge_dests=draw(st.booleans()) if purge is None else purge))
    return found


@st.composite
def tables(draw: st.DrawFn) -> dict[ServiceKey, VirtualService]:
    return outcome({}, make_plan({}, draw(wanted_services())))


def applied(current: dict[ServiceKey, VirtualService], plan: Any) -> dict[ServiceKey, VirtualService]:
    """The table that a strict kernel has after the plan."""
    kernel = MemoryKernel()
    kernel.table = dict(current)
    kernel.apply(plan)
    return kernel.table


def holds(table: dict[ServiceKey, VirtualService], one: Wanted) -> None:
    """Whether all that is stated is there."""
    present = table[one.service.key]
    for setting in SERVICE_SETTINGS[2:]:  # flags change their names with the scheduler
        value = getattr(one.service, setting.name)
        assert value is None or getattr(present.service, setting.name) == value
    for dest in one.dests:
        for setting in DEST_SETTINGS:
            value = getattr(dest, setting.name)
            assert value is None or getattr(present.dests[dest.key], setting.name) == value
    if one.purge_dests:
        assert set(present.dests) == {dest.key for dest in one.dests}


@settings(deadline=None)
@given(tables(), wanted_services(), st.lists(st.sampled_from(KEYS), unique=True))
def test_a_plan_gives_what_is_wanted_and_a_second_one_is_empty(current, wanted, absent):
    absent = [key for key in absent if key not in {one.service.key for one in wanted}]
    plan = make_plan(current, wanted, absent)
    after = applied(current, plan)
    assert after == outcome(current, plan)
    assert make_plan(after, wanted, absent).changed is False
    assert shortfall(after, plan) == []
    assert not set(absent) & set(after)
    for one in wanted:
        holds(after, one)


@settings(deadline=None)
@given(tables(), wanted_services())
def test_nothing_is_touched_that_was_not_named(current, wanted):
    after = outcome(current, make_plan(current, wanted))
    named = {one.service.key: one for one in wanted}
    for key, present in current.items():
        if key not in named:
            assert after[key] == present
        elif not named[key].purge_dests:
            untouched = set(present.dests) - {dest.key for dest in named[key].dests}
            assert all(after[key].dests[dest] == present.dests[dest] for dest in untouched)


@settings(deadline=None)
@given(tables(), wanted_services())
def test_no_plan_flushes_or_makes_anew_what_it_can_edit(current, wanted):
    plan = make_plan(current, wanted)
    kinds = [operation.action for operation in plan]
    assert set(kinds) <= {"create", "edit", "delete"}
    assert kinds == sorted(kinds, key=["create", "edit", "delete"].index)
    subjects = [operation.subject for operation in plan]
    assert len(subjects) == len(set(subjects))
    for operation in plan:
        assert operation.payload.kind == operation.action
        # No service goes: none was asked to.
        assert operation.action != "delete" or operation.payload.dest is not None


@settings(deadline=None)
@given(tables(), wanted_services())
def test_the_diff_shows_what_then_happened(current, wanted):
    plan = make_plan(current, wanted)
    after = applied(current, plan)
    for operation in plan:
        write = operation.payload
        present = after.get(write.service.key)
        thing = present and (present.service if write.dest is None else present.dests.get(write.dest.key))
        assert (thing.settings() if thing else None) == operation.after


def plan_of(current: dict[ServiceKey, VirtualService], **params: Any) -> list[tuple[str, str]]:
    plan = make_plan(current, [parse_wanted(params)])
    return [(operation.action, operation.subject) for operation in plan]


WEB = {"address": "192.0.2.10", "port": 80}


def table_of(*params: dict[str, Any]) -> dict[ServiceKey, VirtualService]:
    return outcome({}, make_plan({}, [parse_wanted(one) for one in params]))


def test_additions_come_before_edits_and_deletions_last():
    current = table_of({**WEB, "dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]})
    dests = [{"address": "10.0.0.2", "weight": 5}, {"address": "10.0.0.3"}]
    assert plan_of(current, **WEB, scheduler="rr", dests=dests, purge_dests=True) == [
        ("create", "tcp 192.0.2.10:80 -> 10.0.0.3:80"),
        ("edit", "tcp 192.0.2.10:80"),
        ("edit", "tcp 192.0.2.10:80 -> 10.0.0.2:80"),
        ("delete", "tcp 192.0.2.10:80 -> 10.0.0.1:80"),
    ]


def test_only_what_differs_is_written():
    dests = [{"address": f"10.0.0.{number}", "weight": number} for number in range(1, 101)]
    current = table_of({**WEB, "dests": dests})
    dests[41]["weight"] = 7
    assert plan_of(current, **WEB, dests=dests) == [("edit", "tcp 192.0.2.10:80 -> 10.0.0.42:80")]


def test_the_diff_of_a_removal_shows_all_that_goes():
    current = table_of({**WEB, "dests": [{"address": "10.0.0.1", "forwarding": "masquerade"}]})
    diff = make_plan(current, [], list(current)).diff()
    assert "10.0.0.1" in diff["before"]
    assert diff["after"] == ""


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"address": "192.0.2.10", "port": 0}, ["port of tcp 192.0.2.10:0 is 0", "persistence_timeout"]),
        ({**WEB, "one_packet": True}, ["one_packet is true", "UDP only"]),
        (
            {**WEB, "persistence_engine": "sip"},
            ["persistence_engine of tcp 192.0.2.10:80", "is off"],
        ),
        ({**WEB, "persistence_engine": "sip", "persistence_timeout": 9}, ["sip", "UDP only"]),
        ({**WEB, "scheduler_flags": ["sh-port"]}, ["'sh-port'", "scheduler is wlc"]),
        (
            {**WEB, "dests": [{"address": "10.0.0.1", "port": 8080}]},
            ["dest 10.0.0.1:8080 is 8080", "masquerade"],
        ),
        (
            {**WEB, "dests": [{"address": "10.0.0.1", "port": 8080, "forwarding": "tunnel"}]},
            ["forwarding tunnel leaves the service's port 80"],
        ),
        ({**WEB, "dests": [{"address": "fd00::1"}]}, ["fd00::1", "is ipv6 and tcp 192.0.2.10:80 is ipv4", "tunnel"]),
        ({**WEB, "dests": [{"address": "10.0.0.1", "lower_threshold": 3}]}, ["lower_threshold", "is 3", "is 0"]),
        (
            {**WEB, "dests": [{"address": "10.0.0.1", "lower_threshold": 3, "upper_threshold": 2}]},
            ["lower_threshold of dest 10.0.0.1:80 is 3 and upper_threshold is 2"],
        ),
        (
            {**WEB, "dests": [{"address": "10.0.0.1", "forwarding": "tunnel", "tunnel_type": "gue"}]},
            ["gue", "tunnel_port"],
        ),
        (
            {**WEB, "dests": [{"address": "10.0.0.1", "forwarding": "tunnel", "tunnel_port": 5}]},
            ["tunnel_port of dest 10.0.0.1:80 is 5", "ipip"],
        ),
        (
            {
                **WEB,
                "dests": [
                    {"address": "10.0.0.1", "forwarding": "tunnel", "tunnel_type": "gre", "tunnel_checksum": "remote"}
                ],
            },
            ["tunnel_checksum", "remote", "none and full"],
        ),
    ],
)
def test_what_could_not_work_is_refused_by_name_and_value(params, names):
    with pytest.raises(PocketError) as caught:
        make_plan({}, [parse_wanted(params)])
    assert all(name in caught.value.message for name in names), caught.value.message


def test_a_new_combination_with_what_the_kernel_has_is_refused():
    current = table_of({**WEB, "dests": [{"address": "10.0.0.1", "upper_threshold": 5}]})
    wanted = parse_wanted({**WEB, "dests": [{"address": "10.0.0.1", "lower_threshold": 6}]})
    with pytest.raises(PocketError, match=r"lower_threshold of dest 10\.0\.0\.1:80 is 6 and upper_threshold is 5"):
        make_plan(current, [wanted])


def test_what_works_is_not_refused():
    assert plan_of({}, address="192.0.2.10", port=0, persistence_timeout=60)
    assert plan_of({}, **WEB, protocol="udp", one_packet=True)
    assert plan_of({}, fwmark=1, dests=[{"address": "10.0.0.1", "port": 8080, "forwarding": "direct"}])
    assert plan_of({}, **WEB, dests=[{"address": "fd00::1", "forwarding": "tunnel"}])
    assert plan_of({}, **WEB, dests=[{"address": "10.0.0.1", "port": 8080, "forwarding": "masquerade"}])


def test_what_the_kernel_did_not_keep_is_named_with_both_values():
    plan = make_plan({}, [parse_wanted({**WEB, "persistence_timeout": 5_000_000})])
    distorted = table_of({**WEB, "persistence_timeout": 705_032})
    assert shortfall(distorted, plan) == [
        "persistence_timeout of tcp 192.0.2.10:80 was to be 5000000 and is 705032",
    ]
    assert shortfall({}, plan) == ["tcp 192.0.2.10:80 is not there"]
