# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random tables as ipvs_info returns them, for tests of what reads and writes them as text."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.checks import check_dest, check_service
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.declaration import parse_wanted
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import VirtualService

ADDRESSES = {"ipv4": ["192.0.2.10", "192.0.2.11"], "ipv6": ["2001:db8::10", "2001:db8::11"]}
HOSTS = {"ipv4": ["10.0.0.1", "10.0.0.2", "10.0.0.30"], "ipv6": ["fd00::1", "fd00::2", "fd00::30"]}
FLAGS = {
    "sh": ["sh-fallback", "sh-port", "flag-3"],
    "mh": ["mh-fallback", "mh-port", "flag-3"],
    "rr": ["flag-1", "flag-2", "flag-3"],
    "wlc": [],
}
MASKS = {"ipv4": ["255.255.255.255", "255.255.255.0", "255.0.0.0"], "ipv6": ["128", "64", "1"]}
families = st.sampled_from(["ipv4", "ipv6"])
thresholds = st.sampled_from([(0, 0), (5, 0), (9, 9), (2**31 - 1, 70_000)])


@st.composite
def _dests(draw: Any, family: str, port: int) -> dict[str, Any]:
    forwarding = draw(st.sampled_from(["masquerade", "direct", "tunnel"]))
    upper, lower = draw(thresholds)
    dest = {
        "address": draw(st.sampled_from(HOSTS[draw(families) if forwarding == "tunnel" else family])),
        "port": draw(st.sampled_from([80, 8080])) if forwarding == "masquerade" else port,
        "forwarding": forwarding,
        "weight": draw(st.sampled_from([0, 1, 3, 2**31 - 1])),
        "upper_threshold": upper,
        "lower_threshold": lower,
    }
    if forwarding == "tunnel":
        kind = draw(st.sampled_from(["ipip", "gue", "gre"]))
        checksums = {"ipip": ["none"], "gre": ["none", "full"], "gue": ["none", "full", "remote"]}[kind]
        dest |= {
            "tunnel_type": kind,
            "tunnel_port": draw(st.integers(1, 65535)) if kind == "gue" else 0,
            "tunnel_checksum": draw(st.sampled_from(checksums)),
        }
    return dest


@st.composite
def _services(draw: Any) -> dict[str, Any]:
    family = draw(families)
    protocol = draw(st.sampled_from(["tcp", "udp", "sctp", None]))
    timeout = draw(st.sampled_from([0, 1, 300, 31 * 86400]))
    port = draw(st.sampled_from([0, 80, 5060] if timeout else [80, 5060])) if protocol else 0
    named = {"protocol": protocol, "address": draw(st.sampled_from(ADDRESSES[family])), "port": port}
    scheduler = draw(st.sampled_from(sorted(FLAGS)))
    udp = protocol in (None, "udp")
    dests = draw(
        st.lists(_dests(family, port), min_size=1, max_size=4, unique_by=lambda one: (one["address"], one["port"]))
    )
    return {
        **(named if protocol else {"fwmark": draw(st.sampled_from([1, 7, 2**32 - 1]))}),
        "family": family,
        "scheduler": scheduler,
        "scheduler_flags": draw(st.lists(st.sampled_from(FLAGS[scheduler]), unique=True)) if FLAGS[scheduler] else [],
        "persistence_timeout": timeout,
        "persistence_netmask": draw(st.sampled_from(MASKS[family])) if timeout else MASKS[family][0],
        "persistence_engine": draw(st.sampled_from(["none", "sip"])) if udp and timeout else "none",
        "one_packet": draw(st.booleans()) if udp else False,
        "dests": dests,
    }


def returned(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The services as ipvs_info returns them once the kernel has them; all of them must be possible."""
    table = []
    for one in map(parse_wanted, services):
        service = one.service.over(None)
        dests = {dest.key: dest.over(None) for dest in one.dests}
        check_service(service)
        for dest in dests.values():
            check_dest(service.key, dest)
        table.append(VirtualService(service, dests))
    return [one.declaration() for one in sorted(table, key=lambda one: one.service.key.order())]


def identity(service: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(service.get(name) for name in ("protocol", "address", "port", "fwmark", "family"))


tables = st.lists(_services(), max_size=4, unique_by=identity).map(returned)
"""What ipvs_info may return, without counters."""


def sentence(function: Any, value: Any) -> str:
    """What a function says when it refuses `value`: one sentence."""
    with pytest.raises(PocketError) as caught:
        function(value)
    assert "\n" not in caught.value.message
    assert len(re.findall(r"\bline \d+:", caught.value.message)) <= 1
    return caught.value.message


def survives(function: Any, value: Any) -> None:
    """The function reads `value`, or refuses it in a sentence; nothing else comes out of it."""
    message = "none"
    try:
        function(value)
    except PocketError as error:
        message = error.message
    assert 0 < len(message) < 2000
