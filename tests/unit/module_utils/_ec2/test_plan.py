# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.changes import Change
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.filters import matches
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.images import Image, ImageSource
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.lost_files import LostFile
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import (
    CHANGING,
    IMAGING,
    LAUNCHED,
    LAUNCHING,
    TERMINATING,
    USER_SHUTDOWN,
    Instance,
    Interface,
    mac_address,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import Host, Network
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.plan import plan_instances
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.request import Current, Drawn, Request, Template
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._plan import Plan
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import instance_id, network

IMAGE = Image("ami-" + "0" * 17, "guest", None, "raw", 1, 1, "", ImageSource("", 1, None, ""))  # type: ignore[arg-type]
DRAWN = Drawn(tuple(instance_id(number) for number in range(900, 960)), "r-1", "2026-06-01T00:00:00Z")
STATES = ("present", "running", "stopped", "restarted", "terminated")
STATED: tuple[dict[str, Any], ...] = (
    {},
    {"instance_type": "t3.nano"},
    {"vcpus": 1, "memory_mib": 64, "user_data": "#!/bin/sh"},
    {"termination_protection": True, "restart_policy": "always"},
    {"termination_protection": False, "instance_initiated_shutdown_behavior": "terminate"},
)
TAGS: tuple[dict[str, str], ...] = ({}, {"pool": "web"}, {"pool": "db"}, {"pool": "web", "x": "1"})


def interface(number: int) -> Interface:
    return Interface("pocket", mac_address(instance_id(number)), f"10.80.0.{number + 2}")


@st.composite
def current_instances(draw: st.DrawFn) -> tuple[Instance, ...]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        phase = draw(st.sampled_from([LAUNCHED, LAUNCHED, LAUNCHED, LAUNCHING, TERMINATING]))
        state = {LAUNCHING: "pending", TERMINATING: "shutting-down"}.get(phase)
        found.append(
            Instance(
                instance_id=instance_id(number),
                image_id=IMAGE.image_id,
                vcpus=1,
                memory_mib=64,
                interfaces=(interface(number),),
                launch_time=f"2026-01-01T00:00:0{number // 2}Z",
                reservation_id="r-0",
                ami_launch_index=number % 2,
                tags=draw(st.sampled_from(TAGS)),
                termination_protection=draw(st.sampled_from([False, False, False, True])),
                phase=phase,
                state=state or draw(st.sampled_from(["running", "stopped"])),
            )
        )
    return tuple(found)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    tags = draw(st.sampled_from(TAGS[1:]))
    state = draw(st.sampled_from(STATES))
    selected: dict[str, Any] = draw(
        st.sampled_from(
            [
                {},
                {"filters": {"tag:pool": ("web",)}},
                {"filters": {"tag:pool": (tags["pool"],), "instance-state-name": ("running", "stopped")}},
                {"instance_ids": (instance_id(0), instance_id(1))},
            ]
        )
    )
    counted = state in ("present", "running") and "instance_ids" not in selected
    return Request(
        state=state,
        drawn=DRAWN,
        template=Template(**draw(st.sampled_from(STATED))),
        allow_stop=draw(st.booleans()),
        termination_policy=draw(st.sampled_from(["newest", "oldest"])),
        tags=tags,
        exact_count=draw(st.none() | st.integers(0, 5)) if counted else None,
        purge_tags=draw(st.booleans()),
        **selected,
    )


def serving(instances: Iterable[Instance]) -> Network:
    """The network with the reservations of the instances."""
    return replace(network(), hosts=tuple(host for one in instances for _network, host in Host.of(one)))


def carried_out(current: Current, plan: Plan) -> Current:
    """What there is after the plan, by the plainest reading of its operations."""
    there = {instance.instance_id: instance for instance in current.instances}
    gone = list(current.terminated)
    for operation in plan:
        payload = operation.payload
        if operation.action == "launch":
            there[payload.instance.instance_id] = payload.instance.with_state("running")
        elif operation.action in ("terminate", "remove"):
            gone.append(there.pop(payload.instance_id))
        else:
            state = {"start": "running", "restart": "running", "stop": "stopped"}.get(operation.action)
            left = payload.after if isinstance(payload, Change) else payload
            there[payload.instance_id] = left.with_state(state or there[payload.instance_id].state)
    order = sorted(there.values(), key=lambda one: (one.launch_time, one.ami_launch_index, one.instance_id))
    return replace(current, instances=tuple(order), terminated=tuple(gone), networks=(serving(order),))


@given(current_instances(), requests())
def test_a_plan_carried_out_is_what_was_asked_for_and_the_next_one_is_empty(
    instances: tuple[Instance, ...], request: Request
) -> None:
    current = Current(instances, networks=(serving(instances),), image=IMAGE)
    try:
        planned = plan_instances(current, request)
    except PocketError as error:
        assert error.code in (  # noqa: PT017
            "InvalidInstanceID.NotFound",
            "IncorrectInstanceState",
            "InvalidParameterCombination",
            "OperationNotPermitted",
        )
        return
    assert planned == plan_instances(current, request)
    after = carried_out(current, planned.plan)
    assert all(instance.phase == LAUNCHED for instance in after.instances)
    again = plan_instances(after, replace(request, drawn=replace(DRAWN, instance_ids=DRAWN.instance_ids[30:])))
    actions = {operation.action for operation in again.plan}
    assert actions <= ({"restart"} if request.state == "restarted" else set())
    if request.exact_count is not None:
        chosen = [one for one in after.instances if selected(one, request)]
        assert len(chosen) == request.exact_count
    addresses = [instance.private_ip_address for instance in after.instances]
    assert len(set(addresses)) == len(addresses)
    untouched = [one for one in instances if one.phase == LAUNCHED and not selected(one, request)]
    assert set(untouched_ids(untouched)) <= set(untouched_ids(after.instances))
    assert all(one in after.instances for one in untouched)


def untouched_ids(instances: Any) -> list[str]:
    return [instance.instance_id for instance in instances]


def selected(instance: Instance, request: Request) -> bool:
    if request.instance_ids is not None:
        return instance.instance_id in request.instance_ids
    if request.filters is not None:
        return matches(instance, request.filters)
    return request.tags.items() <= instance.tags.items()


@given(current_instances())
def test_remains_are_cleared_first_whatever_is_asked(instances: tuple[Instance, ...]) -> None:
    current = Current(instances, networks=(serving(instances),))
    plan = plan_instances(current, Request("terminated", DRAWN, filters={"tag:none": ("x",)})).plan
    remains = {one.instance_id: one.phase for one in instances if one.phase != LAUNCHED}
    assert {operation.payload.instance_id for operation in plan} == set(remains)
    for operation in plan:
        finished = remains[operation.payload.instance_id] == TERMINATING
        assert operation.action == ("terminate" if finished else "remove")


def test_scaling_down_takes_the_newest_whatever_their_state() -> None:
    instances = tuple(made(number, state) for number, state in enumerate(["running", "stopped", "running", "stopped"]))
    request = Request("present", DRAWN, tags={"pool": "web"}, exact_count=2)
    plan = plan_instances(Current(instances), request).plan
    assert [operation.subject for operation in plan] == [instance_id(3), instance_id(2)]


def made(number: int, state: str) -> Instance:
    return Instance(
        instance_id=instance_id(number),
        image_id=IMAGE.image_id,
        vcpus=1,
        memory_mib=64,
        interfaces=(interface(number),),
        launch_time=f"2026-01-01T00:00:0{number}Z",
        reservation_id="r-0",
        tags={"pool": "web"},
        state=state,
    )


def test_a_mac_address_that_somebody_has_is_not_given() -> None:
    other = replace(interface(0), mac_address=mac_address(DRAWN.instance_ids[0]))
    taken = replace(made(0, "running"), interfaces=(interface(0), other))
    current = Current((taken,), networks=(serving([taken]),), image=IMAGE)
    plan = plan_instances(current, Request("present", DRAWN, count=1)).plan
    (operation,) = plan
    assert operation.payload.instance.instance_id == DRAWN.instance_ids[1]


def test_a_stopped_network_keeps_instances_from_starting() -> None:
    stopped = made(0, "stopped")
    idle = replace(serving([stopped]), active=False)
    current = Current((stopped,), networks=(idle,))
    with pytest.raises(PocketError, match="not active"):
        plan_instances(current, Request("running", DRAWN, instance_ids=(instance_id(0),)))
    assert not plan_instances(current, Request("stopped", DRAWN, instance_ids=(instance_id(0),))).plan.changed


@pytest.mark.parametrize(
    ("device", "state", "request_", "refused"),
    [
        ("vda", "stopped", Request("running", DRAWN), True),
        ("vda", "running", Request("restarted", DRAWN), True),
        ("vda", "running", Request("running", DRAWN), False),
        ("vda", "running", Request("stopped", DRAWN), False),
        ("vda", "stopped", Request("terminated", DRAWN), False),
        ("vdb", "stopped", Request("running", DRAWN), True),
        ("vdb", "stopped", Request("running", DRAWN, Template(user_data="new")), False),
    ],
)
def test_what_lost_a_file_is_neither_started_nor_stopped_for_a_start(
    device: str, state: str, request_: Request, refused: bool
) -> None:
    there = made(0, state)
    lost = {instance_id(0): (LostFile(device, Path("/store/file"), "its file"),)}
    current = Current((there,), networks=(serving([there]),), lost=lost)
    asked = replace(request_, instance_ids=(instance_id(0),))
    if not refused:
        plan_instances(current, asked)
        return
    with pytest.raises(PocketError, match="its file is not there: /store/file; bring it back, or terminate") as caught:
        plan_instances(current, asked)
    assert caught.value.code == "IncorrectInstanceState"
    assert ("while it runs" in caught.value.message) == (state == "running")


@pytest.mark.parametrize("reason", [CHANGING, IMAGING])
def test_what_a_run_that_died_had_stopped_for_a_while_is_started_unless_it_is_to_be_stopped(reason: str) -> None:
    there = replace(made(0, "stopped"), state_reason=reason)
    current = Current((there,), networks=(serving([there]),))
    (start,) = plan_instances(current, Request("present", DRAWN, instance_ids=(instance_id(0),))).plan
    assert start.action == "start"
    (modify,) = plan_instances(current, Request("stopped", DRAWN, instance_ids=(instance_id(0),))).plan
    assert (modify.action, modify.payload.after.state_reason) == ("modify", USER_SHUTDOWN)
