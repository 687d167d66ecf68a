# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_service on a real kernel: each option set, set again, changed and cleaned up, with ipvsadm as the witness."""

from __future__ import annotations

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, saved

WEB = {"address": "192.0.2.10", "port": 80}


def test_both_generations_of_the_library_are_tested(director: Director):
    generation = {"debian": "0.7.", "venv": "0.9."}[director.interpreter.name]
    assert director.interpreter.versions["pyroute2"].startswith(generation)


@pytest.mark.parametrize(
    ("identity", "flag"),
    [
        ({"protocol": "tcp", "address": "192.0.2.10", "port": 80}, "-t 192.0.2.10:80"),
        ({"protocol": "udp", "address": "192.0.2.10", "port": 53}, "-u 192.0.2.10:53"),
        ({"protocol": "sctp", "address": "192.0.2.10", "port": 5060}, "--sctp-service 192.0.2.10:5060"),
        ({"protocol": "tcp", "address": "2001:DB8:0::0:10", "port": 80}, "-t [2001:db8::10]:80"),
        ({"fwmark": 7}, "-f 7"),
        ({"fwmark": 7, "family": "ipv6"}, "-f 7 -6"),
    ],
    ids=["tcp", "udp", "sctp", "ipv6", "fwmark4", "fwmark6"],
)
def test_life_of_a_service(director: Director, identity, flag):
    created = director.service(**identity)
    assert created["changed"] is True
    assert saved() == [f"-A {flag} -s wlc"]
    edited = director.service(**identity, scheduler="rr")
    assert saved() == [f"-A {flag} -s rr"]
    assert "scheduler: wlc" in edited["diff"]["before"]
    assert "scheduler: rr" in edited["diff"]["after"]
    # Unstated means untouched.
    assert director.service(**identity)["changed"] is False
    assert director.service(**identity, state="absent")["service"] is None
    assert saved() == []
