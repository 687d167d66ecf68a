# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_service on a real kernel: each option set, set again, changed and cleaned up, with ipvsadm as the witness."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, saved

WEB = {"address": "192.0.2.10", "port": 80}
IDENTITIES: list[tuple[dict[str, Any], str]] = [
    ({"protocol": "tcp", "address": "192.0.2.10", "port": 80}, "-t 192.0.2.10:80"),
    ({"protocol": "udp", "address": "192.0.2.10", "port": 53}, "-u 192.0.2.10:53"),
    ({"protocol": "sctp", "address": "192.0.2.10", "port": 5060}, "--sctp-service 192.0.2.10:5060"),
    ({"protocol": "tcp", "address": "2001:DB8:0::0:10", "port": 80}, "-t [2001:db8::10]:80"),
    ({"fwmark": 7}, "-f 7"),
    ({"fwmark": 7, "family": "ipv6"}, "-f 7 -6"),
]


@pytest.mark.parametrize(("identity", "flag"), IDENTITIES, ids=[flag for _identity, flag in IDENTITIES])
def test_life_of_a_service(director: Director, identity: dict[str, Any], flag: str):
    assert director.service(**identity)["changed"] is True
    assert saved() == [f"-A {flag} -s wlc"]
    edited = director.service(**identity, scheduler="rr")
    assert saved() == [f"-A {flag} -s rr"]
    assert "scheduler: wlc" in edited["diff"]["before"]
    assert "scheduler: rr" in edited["diff"]["after"]
    assert director.service(**identity, state="absent")["service"] is None
    assert saved() == []


def test_a_mark_has_a_service_in_each_family(director: Director):
    director.service(fwmark=7, scheduler="rr")
    director.service(fwmark=7, family="ipv6", scheduler="lc")
    assert saved() == ["-A -f 7 -6 -s lc", "-A -f 7 -s rr"]
    director.service(fwmark=7, state="absent")
    assert saved() == ["-A -f 7 -6 -s lc"]


def test_persistence_is_set_changed_and_turned_off(director: Director):
    director.service(**WEB, persistence_timeout=300, persistence_netmask=24)
    assert saved() == ["-A -t 192.0.2.10:80 -s wlc -p 300 -M 255.255.255.0"]
    director.service(**WEB, persistence_netmask="255.255.0.0")
    assert saved() == ["-A -t 192.0.2.10:80 -s wlc -p 300 -M 255.255.0.0"]
    director.service(**WEB, persistence_timeout=17_000_000, scheduler="rr")
    assert saved() == ["-A -t 192.0.2.10:80 -s rr -p 17000000 -M 255.255.0.0"]
    director.service(**WEB, persistence_timeout=0)
    assert saved() == ["-A -t 192.0.2.10:80 -s rr"]


def test_persistence_of_ipv6_goes_by_prefix_length(director: Director):
    director.service(address="2001:db8::10", port=0, persistence_timeout=60, persistence_netmask="64")
    assert saved() == ["-A -t [2001:db8::10]:0 -s wlc -p 60 -M 64"]
    director.service(address="2001:db8::10", port=0, persistence_netmask="128")
    assert saved() == ["-A -t [2001:db8::10]:0 -s wlc -p 60"]


def test_scheduler_flags_by_name(director: Director):
    director.service(**WEB, scheduler="sh", scheduler_flags=["sh-port"])
    assert saved() == ["-A -t 192.0.2.10:80 -s sh -b sh-port"]
    director.service(**WEB, scheduler_flags=["sh-fallback", "sh-port"])
    assert saved() == ["-A -t 192.0.2.10:80 -s sh -b sh-fallback,sh-port"]
    director.service(**WEB, scheduler="mh", scheduler_flags=["mh-port"])
    assert saved() == ["-A -t 192.0.2.10:80 -s mh -b mh-port"]
    director.service(**WEB, scheduler_flags=["mh-fallback"])
    assert saved() == ["-A -t 192.0.2.10:80 -s mh -b mh-fallback"]
    director.service(**WEB, scheduler_flags=[])
    assert saved() == ["-A -t 192.0.2.10:80 -s mh"]


def test_scheduler_flags_by_their_bits(director: Director):
    for flags in (["flag-1"], ["flag-3", "flag-2"], ["flag-1", "flag-2", "flag-3"]):
        director.service(**WEB, scheduler="rr", scheduler_flags=flags)
        assert saved() == [f"-A -t 192.0.2.10:80 -s rr -b {','.join(sorted(flags))}"]
    # A scheduler's own names and the bits are the same.
    director.service(**WEB, scheduler="sh", scheduler_flags=["flag-2"])
    assert saved() == ["-A -t 192.0.2.10:80 -s sh -b sh-port"]
    assert director.service(**WEB, scheduler_flags=["sh-port"])["changed"] is False


def test_persistence_engine_and_one_packet(director: Director):
    sip = {"protocol": "udp", "address": "192.0.2.10", "port": 5060}
    director.service(**sip, persistence_timeout=60, persistence_engine="sip")
    assert saved() == ["-A -u 192.0.2.10:5060 -s wlc -p 60 --pe sip"]
    director.service(**sip, scheduler="rr")  # an edit replaces all in the kernel, yet the engine stays
    assert saved() == ["-A -u 192.0.2.10:5060 -s rr -p 60 --pe sip"]
    director.service(**sip, persistence_engine="none", persistence_timeout=0, one_packet=True)
    assert saved() == ["-A -u 192.0.2.10:5060 -s rr -o"]
    director.service(**sip, one_packet=False)
    assert saved() == ["-A -u 192.0.2.10:5060 -s rr"]


def test_every_scheduler_of_the_kernel(director: Director):
    for scheduler in ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"):
        results = director.interpreter.run("ipvs_service", {**WEB, "scheduler": scheduler})
        assert results["service"]["scheduler"] == scheduler
        assert saved() == [f"-A -t 192.0.2.10:80 -s {scheduler}"]


def test_dests_with_and_without_purge(director: Director):
    dests = [
        {"address": "10.0.0.2", "forwarding": "masquerade", "weight": 0},
        {"address": "10.0.0.1", "port": 8080, "forwarding": "masquerade", "weight": 3},
    ]
    created = director.service(**WEB, scheduler="wrr", dests=dests)
    assert saved() == [
        "-A -t 192.0.2.10:80 -s wrr",
        "-a -t 192.0.2.10:80 -r 10.0.0.1:8080 -m -w 3",
        "-a -t 192.0.2.10:80 -r 10.0.0.2:80 -m -w 0",
    ]
    assert director.service(**created["service"])["changed"] is False
    director.service(**WEB, dests=[{"address": "10.0.0.3"}])
    assert len(saved()) == 4
    director.service(**WEB, dests=[{"address": "10.0.0.3"}], purge_dests=True)
    assert saved() == ["-A -t 192.0.2.10:80 -s wrr", "-a -t 192.0.2.10:80 -r 10.0.0.3:80 -g -w 1"]


def test_many_dests_take_several_sends(director: Director):
    dests: list[dict[str, Any]]
    dests = [{"address": f"10.0.{n // 250}.{n % 250 + 1}", "forwarding": "masquerade"} for n in range(300)]
    director.service(**WEB, dests=dests)
    assert len(saved()) == 301
    dests[42]["weight"] = 5
    changed = director.service(**WEB, dests=dests)
    assert changed["diff"]["after"].count("weight") == 1
    director.service(**WEB, dests=[], purge_dests=True)
    assert saved() == ["-A -t 192.0.2.10:80 -s wlc"]


def test_only_the_service_that_was_named_is_touched(director: Director):
    director.service(**WEB)
    director.service(protocol="udp", **WEB, scheduler="rr")
    director.service(**WEB, state="absent")
    assert saved() == ["-A -u 192.0.2.10:80 -s rr"]
