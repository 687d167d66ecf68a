# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a module's parameters to a request on instances, and what can be refused unseen. PRIVATE to the collection."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

from .._errors import PocketError
from .._seconds import check_seconds
from .addresses import check_stated
from .filters import check_filters
from .keys import check_key_name
from .machine import check_machine
from .mappings import disks_from
from .model import MOST_VCPUS, check_instance_id, check_tags, check_text, within_limit
from .request import Drawn, Request, Template
from .tokens import check_client_token
from .tombstones import timestamp
from .user_data import user_data_of
from .waiters import Readiness

__all__ = ["draw", "readiness_of", "request_of"]

# Each state and its other names, which are those of amazon.aws.
STATES = {
    "present": "present",
    "running": "running",
    "started": "running",
    "stopped": "stopped",
    "restarted": "restarted",
    "rebooted": "restarted",
    "terminated": "terminated",
    "absent": "terminated",
}
_MOST_AT_ONCE = 1000
_LEAST_MEMORY = 32
_MOST_MEMORY = 32 << 20  # EC2's largest type, u7inh-32tb.480xlarge, has as much
_MOST_INTERFACES = 8
_SPARE_IDS = 16
_SSH = 22
_NAMES = ("image_id", "instance_type", "key_name", "network", "private_ip_address", "ipv6_address")


def draw(count: int) -> Drawn:
    """Draw ids for `count` new instances, and read the clock."""
    return Drawn(
        instance_ids=tuple(f"i-{secrets.token_hex(9)[:17]}" for _number in range(count + _SPARE_IDS)),
        reservation_id=f"r-{secrets.token_hex(9)[:17]}",
        launch_time=timestamp(datetime.now(timezone.utc)),
    )


def request_of(params: Mapping[str, Any]) -> Request:
    """Return the request that `params` state; raises PocketError for what cannot be right on any host."""
    state = STATES[params["state"]]
    ids = params["instance_ids"]
    count = _count(params, "count", 1)
    min_count, max_count = _count(params, "min_count", 1), _count(params, "max_count", 1)
    exact_count = _count(params, "exact_count", 0)
    tags = check_tags(params["tags"])
    if params["name"] is not None:
        if not params["name"]:
            raise _bad("name: is empty; give the instances a name, or leave it out")
        tags = within_limit({**tags, **check_tags({"Name": params["name"]}, "name")})
    request = Request(
        state=state,
        drawn=draw(max(count or 0, max_count or 0, exact_count or 0, 1)),
        template=_template(params),
        instance_ids=None if ids is None else tuple(dict.fromkeys(check_instance_id(one) for one in ids)),
        filters=None if params["filters"] is None else check_filters(params["filters"]),
        count=count,
        min_count=min_count,
        max_count=max_count,
        exact_count=exact_count,
        termination_policy=params["termination_policy"],
        allow_stop=params["allow_stop"],
        hibernate=params["hibernate"],
        tags=tags,
        purge_tags=params["purge_tags"] and params["tags"] is not None,
    )
    _check_combination(request)
    _check_launch(request)
    if params["hibernate"] and state != "stopped":
        raise PocketError(
            f"hibernate: has no meaning with state {state}; it is a way to be stopped",
            code="InvalidParameterCombination",
        )
    return request


def _check_launch(request: Request) -> None:
    least, most = request.min_count, request.max_count
    if least is not None and most is not None and least > most:
        raise _bad(f"min_count: {least} is more than the max_count of {most}; give at most that")
    if check_client_token(request.template.client_token) is not None and not request.counted:
        raise PocketError(
            "client_token: is for launches of a number of instances; give count, or min_count and max_count",
            code="InvalidParameterCombination",
        )


def _count(params: Mapping[str, Any], name: str, least: int) -> int | None:
    value = params[name]
    if value is not None and not least <= value <= _MOST_AT_ONCE:
        raise _bad(f"{name}: {value} is out of range; it is {least} to {_MOST_AT_ONCE}")
    return value  # type: ignore[no-any-return]


def _template(params: Mapping[str, Any]) -> Template:
    for name, least in (("vcpus", 1), ("memory_mib", _LEAST_MEMORY)):
        if params[name] is not None and params[name] < least:
            raise _bad(f"{name}: {params[name]} is too few; an instance has at least {least}")
    if params["vcpus"] is not None and params["vcpus"] > MOST_VCPUS:
        raise _bad(f"vcpus: {params['vcpus']} are too many; an instance has at most {MOST_VCPUS}")
    if params["memory_mib"] is not None and params["memory_mib"] > _MOST_MEMORY:
        raise _bad(f"memory_mib: is too much; an instance has at most {_MOST_MEMORY}, which is 32 TiB")
    _check_not_empty(params)
    if params["key_name"] is not None:
        check_key_name(params["key_name"], "key_name")
    _check_interfaces(params)
    check_machine(params)
    volumes, root = disks_from(params)
    stated = {one.name: params[one.name] for one in fields(Template) if one.name in params}
    if params["security_groups"] is not None:
        stated["security_groups"] = tuple(params["security_groups"])
    template = Template(**{**stated, "user_data": user_data_of(params), "volumes": volumes, "root": root})
    for interface in template.interfaces:
        check_stated(interface)
    return template


def _check_not_empty(params: Mapping[str, Any]) -> None:
    """Refuse texts that name nothing, or that can be no name: what is not to be stated is left out."""
    given = {name: params[name] for name in _NAMES}
    for index, one in enumerate(params["network_interfaces"] or ()):
        given.update({f"network_interfaces[{index}].{name}": value for name, value in one.items()})
    for name, value in given.items():
        if value is not None and not value.strip():
            raise _bad(f"{name}: is empty; state one, or leave it out, as default(omit) does")
    for name, value in {**given, "machine_type": params["machine_type"], "cpu_model": params["cpu_model"]}.items():
        check_text(value or "", name)


def _check_interfaces(params: Mapping[str, Any]) -> None:
    interfaces = params["network_interfaces"]
    if interfaces is None:
        return
    if not 1 <= len(interfaces) <= _MOST_INTERFACES:
        raise _bad(f"network_interfaces: {len(interfaces)} cannot be made; an instance has 1 to {_MOST_INTERFACES}")
    for name in ("network", "private_ip_address", "ipv6_address"):
        if params[name] is not None:
            raise PocketError(
                f"{name}: {params[name]} cannot be combined with network_interfaces; state it there, of the first one",
                code="InvalidParameterCombination",
            )


def _check_combination(request: Request) -> None:
    names = ("count", "max_count", "exact_count")
    counted = next((name for name in names if getattr(request, name) is not None), None)
    if counted and request.state not in ("present", "running"):
        raise PocketError(
            f"{counted}: cannot be combined with state {request.state}; it is for the states present and running",
            code="InvalidParameterCombination",
        )
    if request.filters is not None and not request.filters:
        raise _bad("filters: is empty, which would select every instance; give at least one filter")
    selected = request.instance_ids is not None or request.filters is not None or bool(request.tags)
    if not selected and not request.counted:
        what = (
            "exact_count needs to know which instances it counts"
            if counted
            else f"state {request.state} needs to know which instances are meant"
        )
        raise PocketError(
            f"{what}: give filters, tags or name" + ("" if counted else ", or instance_ids"), code="MissingParameter"
        )


def readiness_of(params: Mapping[str, Any]) -> Readiness | None:
    """Return what the user wants to wait for, none for nothing."""
    port = params["wait_port"]
    condition = params["wait_for"] or ("port" if port is not None else "running")
    if condition == "port" and port is None:
        raise PocketError("wait_for: port needs wait_port, the TCP port to connect to", code="MissingParameter")
    if condition == "ssh" and port is None:
        port = _SSH
    if port is not None and condition not in ("port", "ssh"):
        raise PocketError(f"wait_port: has no meaning with wait_for {condition}", code="InvalidParameterCombination")
    if port is not None and not 1 <= port <= 65535:
        raise _bad(f"wait_port: {port} is no TCP port; one is 1 to 65535")
    for name in ("wait_timeout", "stop_timeout"):
        check_seconds(name, params[name])
    return Readiness(condition, port, params["wait_timeout"]) if params["wait"] else None


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
