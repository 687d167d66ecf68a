# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ipvsadm prints and takes: each option by example, then random tables there and back, then random text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.ipvsadm_text import read_ipvsadm, write_ipvsadm
from ansible_collections.pocket.cloud.tests.unit.ipvs_tables import returned, sentence, survives, tables

A = "-A -t 192.0.2.10:80\n"
WEB: dict[str, Any] = {"address": "192.0.2.10", "port": 80}


def service(text: str) -> dict[str, Any]:
    [found] = read_ipvsadm(text)
    return found


def dest(options: str, before: str = A) -> dict[str, Any]:
    dests: list[dict[str, Any]] = service(f"{before}-a {before.split(maxsplit=1)[1].strip()} {options}\n")["dests"]
    return dests[0]


def test_a_service_has_the_defaults_of_ipvsadm_and_the_form_of_ipvs_info():
    assert read_ipvsadm(A) == returned([WEB])


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("-t 192.0.2.10:80", {"protocol": "tcp", "address": "192.0.2.10", "port": 80, "family": "ipv4"}),
        ("--tcp-service 192.0.2.10:80", {"protocol": "tcp", "port": 80}),
        ("--tcp-service=192.0.2.10:80", {"protocol": "tcp", "port": 80}),
        ("-u 192.0.2.10:53", {"protocol": "udp", "port": 53}),
        ("--udp-service 192.0.2.10:53", {"protocol": "udp", "port": 53}),
        ("--sctp-service 192.0.2.10:9", {"protocol": "sctp", "port": 9}),
        ("-t [2001:DB8:0::10]:80", {"address": "2001:db8::10", "port": 80, "family": "ipv6"}),
        ("-t 192.0.2.10 -p", {"address": "192.0.2.10", "port": 0}),
        ("-f 7", {"fwmark": 7, "family": "ipv4"}),
        ("--fwmark-service 4294967295 --ipv6", {"fwmark": 2**32 - 1, "family": "ipv6"}),
        ("-6 -f7", {"fwmark": 7, "family": "ipv6"}),
        ("-f -1", {"fwmark": 2**32 - 1}),
        ("-f -2147483648 -6", {"fwmark": 2**31, "family": "ipv6"}),
    ],
)
def test_identities(text: str, identity: dict[str, Any]):
    assert identity.items() <= service(f"-A {text}").items()
    assert identity.items() <= service(f"--add-service {text}").items()


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("-s rr", {"scheduler": "rr"}),
        ("--scheduler mh -b mh-port,flag-1", {"scheduler": "mh", "scheduler_flags": ["mh-fallback", "mh-port"]}),
        ("-s rr --sched-flags flag-3,flag-1", {"scheduler_flags": ["flag-1", "flag-3"]}),
        ("-p", {"persistence_timeout": 300}),
        ("-p -s rr", {"persistence_timeout": 300, "scheduler": "rr"}),
        ("-p 60", {"persistence_timeout": 60, "persistence_netmask": "255.255.255.255"}),
        ("-p60", {"persistence_timeout": 60}),
        ("--persistent=60 --netmask 255.255.0.0", {"persistence_timeout": 60, "persistence_netmask": "255.255.0.0"}),
        ("-p 17000000", {"persistence_timeout": 17_000_000}),
    ],
)
def test_settings(options: str, settings: dict[str, Any]):
    assert settings.items() <= service(f"{A.strip()} {options}").items()


def test_a_flag_that_ipvsadm_has_no_name_for_is_printed_as_none():
    assert service("-A -t 192.0.2.10:80 -s mh -b ")["scheduler_flags"] == []


def test_settings_of_udp():
    found = service("-A -u [2001:db8::1]:5060 -p 60 -M 64 --pe sip -o")
    assert (found["persistence_engine"], found["one_packet"], found["persistence_netmask"]) == ("sip", True, "64")
    assert service("-A -u 192.0.2.1:53 --ops")["one_packet"] is True


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("-r 10.0.0.1:80", {"forwarding": "direct", "weight": 1, "port": 80}),
        ("-r 10.0.0.1", {"port": 80}),
        ("-r 10.0.0.1:8080 -g", {"port": 80}),
        ("-r 10.0.0.1:8080 -m -w 0", {"port": 8080, "forwarding": "masquerade", "weight": 0}),
        ("--real-server 10.0.0.1 --masquerading --weight 2147483647", {"weight": 2**31 - 1}),
        ("-r 10.0.0.1 -mw3", {"forwarding": "masquerade", "weight": 3}),
        ("-r 10.0.0.1 -x 50 -y 40", {"upper_threshold": 50, "lower_threshold": 40}),
        ("-r 10.0.0.1 --u-threshold=9", {"upper_threshold": 9}),
        ("-r 10.0.0.1 -i", {"forwarding": "tunnel", "tunnel_type": "ipip", "tunnel_checksum": "none"}),
        ("-r [fd00::1] --ipip --tun-type gue --tun-port 6080 --tun-remcsum", {"tunnel_checksum": "remote"}),
        ("-r [fd00::1]:80 -i --tun-type gre --tun-csum", {"tunnel_type": "gre", "tunnel_checksum": "full"}),
        ("-r 10.0.0.1 -i --tun-type gue --tun-port 6080 --tun-nocsum", {"tunnel_port": 6080}),
    ],
)
def test_dests(options: str, settings: dict[str, Any]):
    assert settings.items() <= dest(options).items()


def test_dests_of_marks_keep_their_port():
    assert dest("-r 10.0.0.1:8080 -m", "-A -f 7\n")["port"] == 8080
    assert dest("-r 10.0.0.1 -g", "-A -f 7\n")["port"] == 0


def test_thresholds_that_are_not_printed_stay_unstated():
    assert "upper_threshold" not in dest("-r 10.0.0.1")
    assert "lower_threshold" not in dest("-r 10.0.0.1 -x 5")


def test_edits_comments_empty_lines_and_the_programs_name():
    text = "\n".join(
        [
            "# saved by hand",
            "ipvsadm -A -t 192.0.2.10:80 -s rr -p 60",
            "",
            "  -a -t 192.0.2.10:80 -r 10.0.0.1 -m -w 5   # the first",
            "-E -t 192.0.2.10:80 -s wrr",
            "-e -t 192.0.2.10:80 -r 10.0.0.1 -w 2\r",
        ]
    )
    found = service(text)
    assert (found["scheduler"], found["persistence_timeout"]) == ("wrr", 0)  # what -E does not state is reset
    assert [(one["forwarding"], one["weight"]) for one in found["dests"]] == [("direct", 2)]


def test_services_are_sorted_as_ipvs_info_sorts_them():
    found = read_ipvsadm("-A -f 7\n-A -t [2001:db8::1]:80\n-A -t 192.0.2.10:80\n-A -t 192.0.2.9:80\n")
    assert [one.get("address") for one in found] == ["192.0.2.9", "192.0.2.10", "2001:db8::1", None]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("-A -t www:80", ["line 1", "'www:80'", "ipvsadm -Sn"]),
        ("-A -t 192.0.2.10:http", ["line 1", "'192.0.2.10:http'", "ipvsadm -Sn"]),
        ("\n-A -t 192.0.2.300:80", ["line 2", "192.0.2.300:80"]),
        ("-D -t 192.0.2.10:80", ["line 1", "'-D'", "ipvsadm -Sn"]),
        ("-C", ["line 1", "'-C'"]),
        ("-A -f -2147483649", ["line 1", "fwmark is '-2147483649'"]),
        ("-A -f -0", ["line 1", "fwmark is '-0'"]),
        ("-A", ["line 1", "lacks a virtual service", "-f"]),
        ("-A -E -t 192.0.2.10:80", ["line 1", "-A and -E"]),
        ("-t 192.0.2.10:80", ["line 1", "lacks a command"]),
        (f"{A}{A}", ["line 2", "tcp 192.0.2.10:80", "already on line 1"]),
        ("-a -t 192.0.2.10:80 -r 10.0.0.1", ["line 1", "not on a line before"]),
        (f"{A}-a -t 192.0.2.10:80", ["line 2", "lacks -r"]),
        (f"{A}-a -t 192.0.2.10:80 -r 10.0.0.1 -m -g", ["line 2", "-g and -m"]),
        (f"{A}-a -t 192.0.2.10:80 -r 10.0.0.1 -s rr", ["line 2", "-s does not go with -a"]),
        (f"{A}-a -t 192.0.2.10:80 -r 10.0.0.1\n" * 1 + "-a -t 192.0.2.10:80 -r 10.0.0.1", ["line 3", "10.0.0.1:80"]),
        (f"{A}-e -t 192.0.2.10:80 -r 10.0.0.1", ["line 2", "has no dest 10.0.0.1:80"]),
        ("-A -t 192.0.2.10:80 -s", ["line 1", "-s lacks its value"]),
        ("-A -t 192.0.2.10:80 -s best", ["line 1", "scheduler is 'best'", "wlc"]),
        ("-A -t 192.0.2.10:80 -s rr -s rr", ["line 1", "-s is given twice"]),
        ("-A -t 192.0.2.10:80 -s sh -b mh-port", ["line 1", "'mh-port'"]),
        ("-A -t 192.0.2.10:80 -p ten", ["line 1", "persistence_timeout is 'ten'"]),
        ("-A -t 192.0.2.10:80 -p 5 -M 255.0.255.0", ["line 1", "persistence_netmask is '255.0.255.0'"]),
        ("-A -t 192.0.2.10:0", ["line 1", "port of tcp 192.0.2.10:0"]),
        ("-A -t 192.0.2.10:80 -o", ["line 1", "one_packet"]),
        ("-A -f 0", ["line 1", "fwmark is 0"]),
        ("-A -t 192.0.2.10:80 --ops=yes", ["line 1", "'--ops=yes'"]),
        ("-A -t 192.0.2.10:80 extra", ["line 1", "'extra'"]),
        ("-A -t 192.0.2.10:80 -6", ["line 1", "family is ipv6"]),
        (f"{A}-a -t 192.0.2.10:80 -r 10.0.0.1 -w 2147483648", ["line 2", "weight is 2147483648"]),
        (f"{A}-a -t 192.0.2.10:80 -r 10.0.0.1 -y 5", ["line 2", "lower_threshold"]),
        (f"{A}-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type gue", ["line 2", "tunnel_port"]),
        (f"{A}-a -t 192.0.2.10:80 -r 10.0.0.1 -m --tun-type gue", ["line 2", "tunnel_type"]),
        ("-A\0", ["line 1", "NUL"]),
        (None, ["NoneType", "ipvsadm -Sn"]),
        (["-A"], ["list", "text"]),
        (f"-A -t 192.0.2.10:{'9' * 10_000}", ["line 1", "9999", "[...]"]),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence(text: Any, names: list[str]):
    message = sentence(read_ipvsadm, text)
    assert all(name in message for name in names), message


def test_the_text_is_what_ipvsadm_prints():
    text = (
        "-A -t 192.0.2.10:80 -s wrr -p 300 -M 255.255.255.0\n"
        "-a -t 192.0.2.10:80 -r 10.0.0.1:8080 -m -w 3\n"
        "-a -t 192.0.2.10:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum\n"
        "-a -t 192.0.2.10:80 -r 10.0.0.3:80 -i -w 1 --tun-type ipip\n"
        "-A -f 7 -6 -s mh -b mh-port\n"
        "-a -f 7 -6 -r [fd00::9]:0 -g -w 1\n"
    )
    assert write_ipvsadm(read_ipvsadm(text)) == text


def test_what_is_not_stated_is_written_with_the_modules_defaults():
    assert write_ipvsadm([{**WEB, "dests": [{"address": "10.0.0.1", "weight": "2", "stats": {}}]}]) == (
        "-A -t 192.0.2.10:80 -s wlc\n-a -t 192.0.2.10:80 -r 10.0.0.1:80 -g -w 2\n"
    )
    assert write_ipvsadm([]) == ""


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("text", ["of type str", "list", "ipvs_info"]),
        ({"services": []}, ["of type dict", "list"]),
        (None, ["NoneType"]),
        ([5], ["services[0]", "of type int"]),
        ([{**WEB, "wieght": 1}], ["services[0]", "'wieght'"]),
        ([{**WEB, "protocol": 5}], ["services[0]", "protocol is 5", "text"]),
        ([{**WEB, "scheduler": ["rr"]}], ["services[0]", "scheduler"]),
        ([{**WEB, "scheduler_flags": "sh-port"}], ["services[0]", "scheduler_flags", "list"]),
        ([{**WEB, "scheduler_flags": [5]}], ["services[0]", "scheduler_flags"]),
        ([{**WEB, "one_packet": "yes"}], ["services[0]", "one_packet is 'yes'", "true or false"]),
        ([{**WEB, "dests": 5}], ["services[0]", "dests", "list"]),
        ([{**WEB, "dests": [5]}], ["services[0]", "dests[0]"]),
        ([{**WEB, "dests": [{"address": "10.0.0.1", "port": 81}]}], ["services[0]", "port of dest 10.0.0.1:81"]),
        ([{**WEB, "dests": [{}]}], ["services[0]", "dests[0]", "address is missing"]),
        ([WEB, WEB], ["services[0] and services[1]"]),
        ([{**WEB, "port": 0}], ["services[0]", "port of tcp"]),
        ([{**WEB, "port": "http"}], ["services[0]", "port is 'http'"]),
        ([{**WEB, "persistence_timeout": 2678401}], ["2678401", "at most 2678400"]),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(value: Any, names: list[str]):
    message = sentence(write_ipvsadm, value)
    assert all(name in message for name in names), message


@given(tables)
def test_export_then_import_is_the_identity(table: list[dict[str, Any]]):
    assert read_ipvsadm(write_ipvsadm(table)) == table


words = st.sampled_from(
    [
        *"AEaetufspMobrgimwxy60",
        "-A",
        "-a",
        "-t",
        "-f",
        "-r",
        "-p",
        "--pe",
        "--ops",
        "192.0.2.10:80",
        "[::1]:80",
        "7",
        "=",
    ]
)


@given(st.one_of(st.text(), st.lists(st.sampled_from([" ", "\n", "-", "--"]) | words).map("".join)))
def test_random_text_is_read_or_refused_in_a_sentence(text: str):
    survives(read_ipvsadm, text)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["address", "port", "dests", "fwmark", "scheduler_flags", "weight", "family", "x"]),
                inner,
            )
        ),
    )
)
def test_random_values_are_written_or_refused_in_a_sentence(value: Any):
    survives(write_ipvsadm, value)
