# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ldirectord.cf: each construct by example, then random tables as such a file has them, then random text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.ldirectord_text import read_ldirectord
from ansible_collections.pocket.cloud.tests.unit.ipvs_tables import returned, sentence, survives, tables

CONF = """\
# Global directives
checktimeout=3
quiescent=no

virtual=192.0.2.10:80
    servicename=Web Site
    real=10.0.0.1:80 gate
    # a comment ends nothing
#    real=10.0.0.9:80 gate
\treal=10.0.0.2:8080 masq 3 "index.html", "Test Page" l:5 u:9   # the second
    fallback=127.0.0.1:80 gate
    scheduler=wlc
    persistent=600
    netmask=255.255.255.0
    protocol=tcp
    checktype=negotiate

virtual=7
        real=10.0.0.1->10.0.0.3 ipip
virtual6=[2001:db8::10]:53
        real6=[fd00::1]:53 masq 0
        ops=yes
        scheduler=sh
        schedflags=sh-port,sh-fallback
"""


def service(below: str = "", virtual: str = "virtual=192.0.2.10:80") -> dict[str, Any]:
    found = read_ldirectord(f"{virtual}\n" + "".join(f"    {line}\n" for line in below.splitlines()))
    assert found["aside"] == []
    [one] = found["services"]
    return dict(one)


def test_services_are_read_and_the_rest_is_kept_aside():
    found = read_ldirectord(CONF)
    assert found["services"] == returned(
        [
            {
                "address": "192.0.2.10",
                "port": 80,
                "persistence_timeout": 600,
                "persistence_netmask": 24,
                "dests": [
                    {"address": "10.0.0.1"},
                    {
                        "address": "10.0.0.2",
                        "port": 8080,
                        "forwarding": "masquerade",
                        "weight": 3,
                        "lower_threshold": 5,
                        "upper_threshold": 9,
                    },
                ],
            },
            {
                "fwmark": 7,
                "scheduler": "wrr",
                "dests": [{"address": f"10.0.0.{last}", "forwarding": "tunnel"} for last in (1, 2, 3)],
            },
            {
                "protocol": "udp",
                "address": "2001:db8::10",
                "port": 53,
                "one_packet": True,
                "scheduler": "sh",
                "scheduler_flags": ["sh-fallback", "sh-port"],
                "dests": [{"address": "fd00::1", "weight": 0, "forwarding": "masquerade"}],
            },
        ]
    )
    web = "virtual=192.0.2.10:80"
    assert [(one["line"], one["path"], one["text"]) for one in found["aside"]] == [
        (2, [], "checktimeout=3"),
        (3, [], "quiescent=no"),
        (6, [web], "servicename=Web Site"),
        (10, [web, "real=10.0.0.2:8080"], '"index.html", "Test Page"'),
        (11, [web], "fallback=127.0.0.1:80 gate"),
        (16, [web], "checktype=negotiate"),
    ]


def test_defaults_are_those_of_ldirectord():
    found = service("real=10.0.0.1 gate")
    assert (found["protocol"], found["scheduler"], found["dests"][0]["weight"]) == ("tcp", "wrr", 1)
    assert service(virtual="virtual=192.0.2.10:53")["protocol"] == "udp"
    assert service("protocol=tcp", "virtual=192.0.2.10:53")["protocol"] == "tcp"


@pytest.mark.parametrize(
    ("virtual", "identity"),
    [
        ("virtual=192.0.2.10:80", {"protocol": "tcp", "address": "192.0.2.10", "port": 80}),
        ("virtual = 192.0.2.10:80", {"address": "192.0.2.10"}),
        ("virtual6=[2001:DB8::1]:80", {"address": "2001:db8::1", "family": "ipv6"}),
        ("virtual=7", {"fwmark": 7, "family": "ipv4"}),
        ("virtual6=7", {"fwmark": 7, "family": "ipv6"}),
    ],
)
def test_identities(virtual: str, identity: dict[str, Any]):
    assert identity.items() <= service("", virtual).items()


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        ("10.0.0.1:80 gate", {"forwarding": "direct", "port": 80}),
        ("10.0.0.1:8080 gate", {"port": 80}),
        ("10.0.0.1 ipip 2", {"forwarding": "tunnel", "port": 80, "weight": 2}),
        ("10.0.0.1:8080 masq", {"forwarding": "masquerade", "port": 8080}),
        ("10.0.0.1 masq", {"port": 0}),
        ("10.0.0.1:80 masq 0 u:9", {"weight": 0, "upper_threshold": 9}),
    ],
)
def test_dests(real: str, expected: dict[str, Any]):
    assert expected.items() <= service(f"real={real}")["dests"][0].items()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("virtual=www:80", ["line 1", "'www:80'", "numbers"]),
        ("virtual=192.0.2.10:http", ["line 1", "'192.0.2.10:http'"]),
        ("virtual=192.0.2.10", ["line 1", "lacks its port"]),
        ("virtual=", ["line 1", "''"]),
        ("virtual=[2001:db8::1]:80", ["line 1", "write virtual6"]),
        ("virtual6=192.0.2.10:80", ["line 1", "write virtual before"]),
        ("virtual=0", ["line 1", "fwmark is 0"]),
        ("nonsense", ["line 1", "'nonsense'"]),
        ("    real=10.0.0.1:80 gate", ["line 1", "indented"]),
        ("virtual=7\n\n    real=10.0.0.1:80 gate", ["line 3", "an empty line ends one"]),
        ("virtual=7\n    nonsense", ["line 2", "'nonsense'"]),
        ("virtual=7\n    protocol=tcp", ["line 2", "fwm"]),
        ("virtual=1.2.3.4:80\n    protocol=sctp", ["line 2", "'sctp'", "tcp or udp"]),
        ("virtual=7\n    ops=maybe", ["line 2", "'maybe'", "yes or no"]),
        ("virtual=7\n    scheduler=best", ["line 1", "scheduler is 'best'"]),
        ("virtual=7\n    persistent=long", ["line 1", "persistence_timeout is 'long'"]),
        ("virtual=7\n    real=10.0.0.1:80", ["line 2", "gate, masq or ipip"]),
        ("virtual=7\n    real=10.0.0.1:80 route", ["line 2", "gate, masq or ipip"]),
        ("virtual=7\n    real=10.0.0.1:80 gate heavy", ["line 2", "'heavy'"]),
        ('virtual=7\n    real=10.0.0.1:80 gate 1 x "a", "b"', ["line 2", '\'x "a", "b"\'']),
        ("virtual=7\n    real=10.0.0.9->10.0.0.1 gate", ["line 2", "lower address first"]),
        ("virtual=7\n    real=1.0.0.1->9.0.0.1 gate", ["line 2", "at most 100000"]),
        ("virtual6=7\n    real6=fd00::1->fd00::2 gate", ["line 2", "IPv4 only"]),
        ("virtual=7\nvirtual=7", ["line 2", "fwmark 7", "line 1"]),
        ("virtual=7\n    real=10.0.0.1 gate\n    real=10.0.0.1 gate", ["line 3", "10.0.0.1:0"]),
        ("a=1\0", ["line 1", "NUL"]),
        ({}, ["of type dict", "text"]),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence(text: Any, names: list[str]):
    message = sentence(read_ldirectord, text)
    assert all(name in message for name in names), message


METHODS = {"direct": "gate", "masquerade": "masq", "tunnel": "ipip"}


def holds(service: dict[str, Any]) -> bool:
    """Whether an ldirectord.cf can say it."""
    plain = all(
        dest.get("tunnel_type", "ipip") == "ipip" and (":" in dest["address"]) == (service["family"] == "ipv6")
        for dest in service["dests"]
    )
    return plain and service.get("protocol") != "sctp" and service["persistence_engine"] == "none"


def written(service: dict[str, Any]) -> str:
    """The lines of an ldirectord.cf that say it."""
    six = "6" if service["family"] == "ipv6" else ""
    wrap = "[{}]" if six else "{}"
    marked = "fwmark" in service
    named = service["fwmark"] if marked else f"{wrap.format(service['address'])}:{service['port']}"
    lines = [f"virtual{six}={named}", f"    protocol={'fwm' if marked else service['protocol']}"]
    lines += [f"    scheduler={service['scheduler']}", f"    ops={'yes' if service['one_packet'] else 'no'}"]
    if service["scheduler_flags"]:
        lines.append(f"    schedflags={','.join(service['scheduler_flags'])}")
    if service["persistence_timeout"]:
        lines.append(f"    persistent={service['persistence_timeout']}")
        lines.append(f"    netmask={service['persistence_netmask']}")
    for dest in service["dests"]:
        real = f"{wrap.format(dest['address'])}:{dest['port']} {METHODS[dest['forwarding']]} {dest['weight']}"
        lines.append(f"    real{six}={real} l:{dest['lower_threshold']} u:{dest['upper_threshold']}")
    return "\n".join(lines) + "\n"


@given(tables)
def test_a_table_that_such_a_file_can_say_is_read_as_it_is(table: list[dict[str, Any]]):
    kept = [one for one in table if holds(one)]
    assert read_ldirectord("\n".join(map(written, kept))) == {"services": kept, "aside": []}


pieces = st.sampled_from(
    [
        *["virtual=192.0.2.10:80\n", "virtual=7\n", "    ", "real=", "10.0.0.1", "->", ":80", " gate", " masq", " 5"],
        *['"', "\n", "#", "\t", "l:", "u:", "1", "scheduler=", "netmask=", "=", "protocol=udp\n", "virtual6=", "[::1]"],
    ]
)


@given(st.one_of(st.text(), st.lists(pieces).map("".join)))
def test_random_text_is_read_or_refused_in_a_sentence(text: str):
    survives(read_ldirectord, text)


@pytest.mark.parametrize(
    "text",
    [
        "a=" * 500_000,
        "\n" * 10**6,
        "virtual=7\n    real=10.0.0.1 masq " + "l:1 " * 250_000,
        "virtual=7\n    real=10.0.0.1 masq " + '"' * 10**6,
        "virtual=7\n    real=" + "1 " * 500_000,
        "virtual=7\n    real=10.0.0.1" + " " * 10**6 + "x",
    ],
    ids=["signs", "lines", "thresholds", "quotes", "words", "spaces"],
)
def test_a_megabyte_of_nonsense_is_over_soon(text: str):
    began = time.process_time()
    survives(read_ldirectord, text)
    assert time.process_time() - began < 30  # seconds; a few on a slow machine, and no more than in proportion
