# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""keepalived.conf: each construct by example, then random tables there and back, then random text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.keepalived_text import (
    read_keepalived,
    write_keepalived,
)
from ansible_collections.pocket.cloud.tests.unit.ipvs_tables import returned, sentence, survives, tables

CONF = """\
! Configuration File for keepalived
global_defs {
    router_id LVS_DEVEL
}
virtual_server 192.0.2.10 80 {   # the web
    delay_loop 6
    lb_algo wrr
    lb_kind DR
    persistence_timeout 50
    protocol TCP
    sorry_server 192.168.200.200 80

    real_server 10.0.0.1 80 {
        weight 3
        uthreshold 50
        lthreshold 40
        HTTP_GET {
            url {
                path "/a { b"
                status_code 200
            }
        }
    }
    real_server 10.0.0.2 80
    {
        inhibit_on_failure
    }
}
include /etc/keepalived/{a,b}/*.conf
"""


def services(text: str) -> list[dict[str, Any]]:
    found = read_keepalived(text)
    assert found["aside"] == []
    listed: list[dict[str, Any]] = found["services"]
    return listed


def service(settings: str = "", head: str = "192.0.2.10 80", dest: str = "real_server 10.0.0.1 {\n}") -> dict[str, Any]:
    [found] = services(f"virtual_server {head} {{\n{settings}\n{dest}\n}}\n")
    return found


def dest(settings: str, head: str = "10.0.0.1", above: str = "", server: str = "192.0.2.10 80") -> dict[str, Any]:
    dests: list[dict[str, Any]] = service(above, server, f"real_server {head} {{\n{settings}\n}}")["dests"]
    return dests[0]


def test_services_are_read_and_the_rest_is_kept_aside():
    found = read_keepalived(CONF)
    assert found["services"] == returned(
        [
            {
                "address": "192.0.2.10",
                "port": 80,
                "scheduler": "wrr",
                "persistence_timeout": 50,
                "dests": [
                    {"address": "10.0.0.1", "weight": 3, "upper_threshold": 50, "lower_threshold": 40},
                    {"address": "10.0.0.2"},
                ],
            }
        ]
    )
    web = "virtual_server 192.0.2.10 80"
    assert [(one["line"], one["path"], one["text"].split("\n")[0]) for one in found["aside"]] == [
        (2, [], "global_defs {"),
        (6, [web], "delay_loop 6"),
        (11, [web], "sorry_server 192.168.200.200 80"),
        (17, [web, "real_server 10.0.0.1 80"], "HTTP_GET {"),
        (26, [web, "real_server 10.0.0.2 80"], "inhibit_on_failure"),
        (29, [], "include /etc/keepalived/{a,b}/*.conf"),
    ]
    assert found["aside"][0]["text"] == "global_defs {\n    router_id LVS_DEVEL\n}"
    assert found["aside"][3]["text"].count("}") == 2


def test_defaults_are_those_of_keepalived():
    found = service()
    assert (found["protocol"], found["scheduler"], found["persistence_timeout"]) == ("udp", "wlc", 0)
    assert found["dests"] == [
        {
            "address": "10.0.0.1",
            "port": 80,
            "forwarding": "masquerade",
            "weight": 1,
            "upper_threshold": 0,
            "lower_threshold": 0,
        }
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("protocol TCP", {"protocol": "tcp"}),
        ("protocol sctp", {"protocol": "sctp"}),
        ("lvs_sched sh\nsh-port\nsh-fallback", {"scheduler": "sh", "scheduler_flags": ["sh-fallback", "sh-port"]}),
        ("mh-port\nlvs_sched mh\nflag-3", {"scheduler_flags": ["mh-port", "flag-3"]}),
        ("lvs_sched rr\nflag-1\nflag-2", {"scheduler_flags": ["flag-1", "flag-2"]}),
        ("ops", {"one_packet": True}),
        ("persistence_timeout", {"persistence_timeout": 360}),
        ("persistence_timeout 30", {"persistence_timeout": 30}),
        ("persistence_granularity 255.255.0.0", {"persistence_timeout": 360, "persistence_netmask": "255.255.0.0"}),
        ("persistence_timeout 9\npersistence_engine sip", {"persistence_engine": "sip"}),
        ('lvs_sched "rr"', {"scheduler": "rr"}),
        ("lvs_sched r\\r", {"scheduler": "rr"}),
    ],
)
def test_settings(settings: str, expected: dict[str, Any]):
    assert expected.items() <= service(settings).items()


def test_a_service_for_all_ports_is_persistent_as_in_keepalived():
    assert service(head="192.0.2.10")["persistence_timeout"] == 360


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("weight 0", {"weight": 0}),
        ("lvs_method DR", {"forwarding": "direct"}),
        ("lvs_method NAT", {"forwarding": "masquerade"}),
        ("lvs_method TUN", {"forwarding": "tunnel", "tunnel_type": "ipip", "tunnel_checksum": "none"}),
        ("lvs_method TUN type gre csum", {"tunnel_type": "gre", "tunnel_checksum": "full"}),
        (
            "lvs_method TUN type gue port 6080 remcsum",
            {"tunnel_type": "gue", "tunnel_port": 6080, "tunnel_checksum": "remote"},
        ),
        ("uthreshold 5\nlthreshold 4", {"upper_threshold": 5, "lower_threshold": 4}),
    ],
)
def test_dests(settings: str, expected: dict[str, Any]):
    assert expected.items() <= dest(settings).items()


def test_dests_take_what_their_virtual_server_states():
    above = "weight 5\nlvs_method TUN type gue port 6080"
    assert {"weight": 5, "tunnel_port": 6080}.items() <= dest("", above=above).items()
    assert {"weight": 2, "forwarding": "direct"}.items() <= dest("weight 2\nlvs_method DR", above=above).items()
    assert dest("lvs_method TUN type gre", above=above)["tunnel_port"] == 0


@pytest.mark.parametrize(
    ("method", "head", "server", "port"),
    [
        ("NAT", "10.0.0.1 8080", "192.0.2.10 80", 8080),
        ("NAT", "10.0.0.1", "192.0.2.10 80", 80),
        ("DR", "10.0.0.1 8080", "192.0.2.10 80", 80),
        ("NAT", "10.0.0.1 8080", "fwmark 7", 8080),
        ("DR", "10.0.0.1 8080", "fwmark 7", 0),
    ],
)
def test_ports_are_those_that_keepalived_makes_of_them(method: str, head: str, server: str, port: int):
    assert dest(f"lvs_method {method}", head, server=server)["port"] == port


@pytest.mark.parametrize(
    ("settings", "address", "family"),
    [
        ("", "10.0.0.1", "ipv4"),
        ("", "fd00::1", "ipv6"),
        ("lvs_method TUN", "fd00::1", "ipv6"),
        ("lvs_method TUN\nip_family inet", "fd00::1", "ipv4"),
        ("lvs_method TUN\nip_family inet6", "10.0.0.1", "ipv6"),
        ("lvs_method TUN\npersistence_granularity 64", "10.0.0.1", "ipv6"),
        ("lvs_method TUN\nreal_server 10.0.0.9 {\n}", "fd00::1", "ipv4"),
    ],
)
def test_family_of_a_mark(settings: str, address: str, family: str):
    found = service(settings, "fwmark 7", f"real_server {address} {{\n}}")
    assert (found["fwmark"], found["family"]) == (7, family)


def test_the_protocol_of_a_mark_is_kept_aside():
    found = read_keepalived("virtual_server fwmark 7 {\nprotocol TCP\nreal_server 10.0.0.1 {\n}\n}")
    assert [one["text"] for one in found["aside"]] == ["protocol TCP"]


def test_groups_stand_for_their_members():
    text = """
virtual_server group web { protocol TCP
    real_server 10.0.0.1 { weight 2 }
}
virtual_server_group web {
    192.0.2.1 80
    192.0.2.10-12 80
    192.0.2.254-192.0.3.1 81
    192.0.2.32/30 82
    fwmark 7
}
virtual_server_group unused { 192.0.2.99 80
}
"""
    found = read_keepalived(text)
    names = [f"{one.get('address', '')}:{one.get('port', one.get('fwmark'))}" for one in found["services"]]
    assert names == [
        *["192.0.2.1:80", "192.0.2.10:80", "192.0.2.11:80", "192.0.2.12:80"],
        *["192.0.2.32:82", "192.0.2.33:82", "192.0.2.34:82", "192.0.2.35:82"],
        *["192.0.2.254:81", "192.0.2.255:81", "192.0.3.0:81", "192.0.3.1:81", ":7"],
    ]
    assert {one["dests"][0]["weight"] for one in found["services"]} == {2}
    assert [one["dests"][0]["port"] for one in found["services"]] == [80] * 4 + [82] * 4 + [81] * 4 + [0]
    assert [one["line"] for one in found["aside"]] == [12]


def test_groups_of_ipv6():
    text = """
virtual_server group six { protocol TCP
    real_server fd00::1 { lvs_method TUN }
}
virtual_server_group six {
    2001:db8::9-b 80
    fwmark 7 inet6
    fwmark 7 inet
}
"""
    found = services(text)
    assert [one.get("address") for one in found[:3]] == ["2001:db8::9", "2001:db8::a", "2001:db8::b"]
    assert [one["family"] for one in found[3:]] == ["ipv4", "ipv6"]


def test_what_keepalived_decides_when_it_runs_is_kept_aside():
    text = """
$VIP=192.0.2.10
$RS= \\
    real_server 10.0.0.1 { \\
    }
@main virtual_server 192.0.2.11 80 {
    real_server 10.0.0.1 80 {
    }
}
virtual_server 192.0.2.10 80 {
    protocol TCP
    $RS
    @main lvs_sched rr
    quorum_up "/bin/say 'it # is' up"
}
"""
    found = read_keepalived(text)
    assert [one["dests"] for one in found["services"]] == [[]]
    assert [(one["line"], len(one["path"])) for one in found["aside"]] == [
        *[(2, 0), (3, 0), (6, 0), (12, 1), (13, 1), (14, 1)]
    ]
    assert found["aside"][-1]["text"] == "quorum_up \"/bin/say 'it # is' up\""


VS = "virtual_server 192.0.2.10 80 {\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("virtual_server {\n}", ["line 1", "lacks its address"]),
        ("virtual_server www 80 {\n}", ["line 1", "address is 'www'"]),
        ("virtual_server ${VIP} 80 {\n}", ["line 1", "'${VIP}'"]),
        ("virtual_server 192.0.2.10 http {\n}", ["line 1", "port is 'http'"]),
        ("virtual_server fwmark 0 {\n}", ["line 1", "fwmark is 0"]),
        ("virtual_server fwmark {\n}", ["line 1", "fwmark"]),
        ("virtual_server group web {\n}", ["line 1", "no virtual_server_group 'web'"]),
        ("virtual_server group {\n}", ["line 1", "lacks its value"]),
        ("virtual_server_group {\n}", ["line 1", "lacks its value"]),
        (f"{VS}lvs_sched\n}}", ["line 2", "lvs_sched lacks its value"]),
        (f"{VS}lvs_sched best\n}}", ["line 1", "scheduler is 'best'"]),
        (f"{VS}lvs_method LOCAL\n}}", ["line 2", "'LOCAL'", "NAT, DR, TUN"]),
        (f"{VS}lvs_method TUN gue\n}}", ["line 2", "'gue'", "type"]),
        (f"{VS}protocol GRE\n}}", ["line 1", "protocol is 'gre'"]),
        (f"{VS}ops\nprotocol TCP\n}}", ["line 1", "one_packet"]),
        (f"{VS}ip_family ipv6\n}}", ["line 2", "ip_family is 'ipv6'", "inet6"]),
        (f"{VS}real_server {{\n}}\n}}", ["line 2", "real_server lacks its value"]),
        (f"{VS}real_server 10.0.0.1 {{\nweight heavy\n}}\n}}", ["line 2", "weight is 'heavy'"]),
        (f"{VS}real_server 10.0.0.1 {{\nweight\n}}\n}}", ["line 3", "weight lacks its value"]),
        (f"{VS}real_server fd00::1 {{\n}}\n}}", ["line 2", "fd00::1", "ipv6"]),
        (f"{VS}real_server 10.0.0.1 {{\n}}\n" * 1 + "real_server 10.0.0.1 {\n}\n}", ["line 4", "10.0.0.1:80"]),
        (f"{VS}}}\n{VS}}}", ["line 3", "udp 192.0.2.10:80", "line 1"]),
        (f"{VS}", ["line 1", "never closed"]),
        ("}", ["line 1", "never opened"]),
        ("\n{", ["line 2", "no name"]),
        ('path "open\nand on', ["line 1", "'\"'", "close"]),
        ("~SEQ(A, 1, 3) 192.0.2.${A}", ["line 1", "~SEQ", "expanded"]),
        ("a {\n" * 40, ["line 33", "32 levels"]),
        ("virtual_server group g {\n}\nvirtual_server_group g {\n192.0.2.9-5 80\n}", ["line 4", "192.0.2.9-5"]),
        ("virtual_server group g {\n}\nvirtual_server_group g {\n10.0.0.0/8 80\n}", ["line 4", "100000"]),
        ("virtual_server group g {\n}\nvirtual_server_group g {\n10.0.0.1/8 80\n}", ["line 4", "no range"]),
        ("virtual_server_group g {\n}\nvirtual_server_group g {\n}", ["line 3", "'g'", "line 1"]),
        ("a\nb\0", ["line 2", "NUL"]),
        (7, ["of type int", "text"]),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence(text: Any, names: list[str]):
    message = sentence(read_keepalived, text)
    assert all(name in message for name in names), message


def test_the_form_of_what_is_written():
    table = [
        {
            "address": "192.0.2.10",
            "port": 80,
            "scheduler": "wrr",
            "persistence_timeout": 60,
            "persistence_netmask": "255.255.255.0",
            "dests": [
                {"address": "10.0.0.1", "forwarding": "masquerade", "port": 8080, "upper_threshold": 5},
                {"address": "fd00::2", "forwarding": "tunnel", "tunnel_type": "gue", "tunnel_port": 6080},
            ],
        },
        {
            "fwmark": 7,
            "family": "ipv6",
            "scheduler": "mh",
            "scheduler_flags": ["mh-port"],
            "one_packet": True,
            "dests": [{"address": "fd00::1", "weight": 2}],
        },
    ]
    # keepalived 2.2.7 takes this text without a word: keepalived -t -f FILE
    assert write_keepalived(table) == WRITTEN


WRITTEN = """\
virtual_server 192.0.2.10 80 {
    protocol TCP
    lvs_sched wrr
    persistence_timeout 60
    persistence_granularity 255.255.255.0
    real_server 10.0.0.1 8080 {
        weight 1
        lvs_method NAT
        uthreshold 5
    }
    real_server fd00::2 80 {
        weight 1
        lvs_method TUN type gue port 6080 nocsum
    }
}

virtual_server fwmark 7 {
    ip_family inet6
    lvs_sched mh
    mh-port
    ops
    real_server fd00::1 0 {
        weight 2
        lvs_method DR
    }
}
"""


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([{"address": "192.0.2.10", "port": 80}], ["tcp 192.0.2.10:80", "no dests"]),
        (
            [{"fwmark": 7, "dests": [{"address": "10.0.0.1", "port": 80}]}],
            ["10.0.0.1:80", "fwmark 7", "port 0"],
        ),
        (
            [
                {
                    "address": "192.0.2.10",
                    "port": 80,
                    "dests": [{"address": "10.0.0.1", "port": 0, "forwarding": "masquerade"}],
                }
            ],
            ["10.0.0.1:0", "give 80"],
        ),
        (
            [
                {
                    "address": "192.0.2.10",
                    "port": 80,
                    "persistence_timeout": 2678401,
                    "dests": [{"address": "10.0.0.1"}],
                }
            ],
            ["2678401", "at most 2678400"],
        ),
        ("text", ["of type str"]),
    ],
)
def test_what_keepalived_cannot_hold_is_refused_in_a_sentence(value: Any, names: list[str]):
    message = sentence(write_keepalived, value)
    assert all(name in message for name in names), message


@given(tables)
def test_export_then_import_is_the_identity(table: list[dict[str, Any]]):
    assert read_keepalived(write_keepalived(table)) == {"services": table, "aside": []}


pieces = st.sampled_from(
    [
        *["virtual_server ", "192.0.2.10 ", "80 ", "fwmark 7 ", "group g ", "virtual_server_group g ", "{", "}", "\n"],
        *["real_server ", "lvs_method ", "TUN type gue port ", "weight ", '"', "'", "\\", "#", "$A", "~", "@", "1-9 "],
        *["persistence_granularity ", "192.0.2.1-9 ", "fd00::1-4 ", "/", "lvs_sched rr\n", "flag-1\n"],
    ]
)


@given(st.one_of(st.text(), st.lists(pieces).map("".join)))
def test_random_text_is_read_or_refused_in_a_sentence(text: str):
    survives(read_keepalived, text)


@pytest.mark.parametrize(
    "text",
    [
        "virtual_server group g {\n}\nvirtual_server_group g {\n" + "fd00::/112 80\n" * 70_000 + "}",
        "{" * 10**6,
        "}" * 10**6,
        "a{" * 500_000,
        "a{}" * 330_000,
        '"' * 10**6,
        "\\" * 10**6,
        "${" * 500_000,
        "a" * 10**6,
    ],
    ids=["ranges", "opened", "closed", "deep", "empty", "quotes", "backslashes", "dollars", "word"],
)
def test_a_megabyte_of_nonsense_is_over_soon(text: str):
    began = time.process_time()
    survives(read_keepalived, text)
    assert time.process_time() - began < 30  # seconds; a few on a slow machine, and no more than in proportion
