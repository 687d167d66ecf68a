# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.declaration import (
    parse_dest,
    parse_key,
    parse_service,
    parse_wanted,
    parse_wanted_list,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import ServiceKey

WEB = {"address": "192.0.2.10", "port": 80}
KEY = ServiceKey(address="192.0.2.10", port=80)


def sentence(function, *arguments):
    with pytest.raises(PocketError) as caught:
        function(*arguments)
    return caught.value.message


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({}, ["neither is given"]),
        ({**WEB, "fwmark": 5}, ["both address '192.0.2.10' and fwmark 5"]),
        ({"address": "192.0.2.10"}, ["port is missing", "192.0.2.10"]),
        ({"address": "192.0.2.10", "port": 65536}, ["port is 65536", "from 0 to 65535"]),
        ({"address": "192.0.2.10", "port": -1}, ["port is -1"]),
        ({"address": "192.0.2.300", "port": 80}, ["address is '192.0.2.300'"]),
        ({"address": "0.0.0.0", "port": 80}, ["0.0.0.0, which stands for no host"]),
        ({"address": "::", "port": 80}, ["stands for no host"]),
        ({"address": "224.0.0.1", "port": 80}, ["224.0.0.1, which is a multicast address"]),
        ({"address": "255.255.255.255", "port": 80}, ["the broadcast address"]),
        ({**WEB, "protocol": "gre"}, ["protocol is 'gre'", "tcp, udp, sctp"]),
        ({**WEB, "family": "ipv6"}, ["family is ipv6, but address 192.0.2.10 is ipv4"]),
        ({"fwmark": 0}, ["fwmark is 0", "from 1 to 4294967295"]),
        ({"fwmark": 2**32}, ["fwmark is 4294967296"]),
        ({"fwmark": 1, "port": 80}, ["port is 80", "leave port out"]),
        ({"fwmark": 1, "protocol": "tcp"}, ["protocol is 'tcp'"]),
        ({"fwmark": 1, "family": "ipv5"}, ["family is 'ipv5'"]),
    ],
)
def test_bad_identities_are_refused_in_a_sentence(params, names):
    message = sentence(parse_key, params)
    assert all(name in message for name in names), message


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"scheduler": "wrrr"}, ["scheduler is 'wrrr'", "rr, wrr, lc, wlc"]),
        ({"scheduler_flags": ["sh-ports"]}, ["'sh-ports'", "sh-port"]),
        ({"persistence_timeout": -1}, ["persistence_timeout is -1"]),
        ({"persistence_timeout": 17_000_001}, ["persistence_timeout is 17000001", "17000000"]),
        ({"persistence_timeout": True}, ["persistence_timeout is True"]),
        ({"persistence_netmask": "255.0.255.0"}, ["persistence_netmask is '255.0.255.0'", "without holes"]),
        ({"persistence_netmask": "0.0.0.255"}, ["persistence_netmask is '0.0.0.255'"]),
        ({"persistence_netmask": "33"}, ["persistence_netmask is '33'", "0 to 32"]),
        ({"persistence_netmask": "-1"}, ["persistence_netmask is '-1'"]),
        ({"persistence_netmask": "255.255.255"}, ["persistence_netmask"]),
        ({"persistence_engine": "http"}, ["persistence_engine is 'http'", "none, sip"]),
    ],
)
def test_bad_settings_of_a_service_are_refused_in_a_sentence(params, names):
    message = sentence(parse_service, {**WEB, **params})
    assert all(name in message for name in names), message


@pytest.mark.parametrize("netmask", ["0", "129", "255.255.255.0", "ffff::", "6_4", "\uff16\uff14"])
def test_bad_prefixes_of_ipv6_are_refused(netmask):
    message = sentence(parse_service, {"address": "2001:db8::1", "port": 80, "persistence_netmask": netmask})
    assert "from 1 to 128" in message


@given(st.integers(0, 32))
def test_a_mask_is_the_same_as_its_prefix_length(length):
    dotted = ".".join(str((0xFFFFFFFF << (32 - length) & 0xFFFFFFFF) >> shift & 255) for shift in (24, 16, 8, 0))
    for form in (dotted, str(length), length, f"/{length}"):
        assert parse_service({**WEB, "persistence_netmask": form}).persistence_netmask == dotted


@given(st.integers(0, 0xFFFFFFFF))
def test_a_mask_with_holes_is_never_taken(number):
    dotted = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    contiguous = "01" not in format(number, "032b")
    try:
        parse_service({**WEB, "persistence_netmask": dotted})
    except PocketError:
        assert not contiguous
    else:
        assert contiguous


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({}, ["address is missing"]),
        ({"address": "10.0.0"}, ["address is '10.0.0'"]),
        ({"address": "10.0.0.1", "port": 70000}, ["port is 70000"]),
        ({"address": "0.0.0.0"}, ["stands for no host"]),
        ({"address": "255.255.255.255"}, ["the broadcast address"]),
        ({"address": "239.0.0.1"}, ["multicast"]),
        ({"address": "ff02::1"}, ["multicast"]),
        ({"address": "fe80::1"}, ["link-local"]),
        ({"address": "10.0.0.1", "weight": -1}, ["weight is -1"]),
        ({"address": "10.0.0.1", "weight": 2**31}, ["weight is 2147483648", "2147483647"]),
        ({"address": "10.0.0.1", "upper_threshold": -5}, ["upper_threshold is -5"]),
        ({"address": "10.0.0.1", "forwarding": "nat"}, ["forwarding is 'nat'", "masquerade, tunnel, direct"]),
        ({"address": "10.0.0.1", "forwarding": "local"}, ["forwarding is 'local'"]),
        ({"address": "10.0.0.1", "tunnel_type": "vxlan"}, ["tunnel_type is 'vxlan'", "ipip, gue, gre"]),
        ({"address": "10.0.0.1", "tunnel_checksum": "some"}, ["tunnel_checksum is 'some'"]),
    ],
)
def test_bad_dests_are_refused_in_a_sentence(params, names):
    message = sentence(parse_dest, params, KEY)
    assert all(name in message for name in names), message


def test_a_dest_takes_the_service_s_port_where_it_states_none():
    assert parse_dest({"address": "10.0.0.1"}, KEY).key.port == 80
    assert parse_dest({"address": "10.0.0.1"}, ServiceKey(fwmark=1)).key.port == 0
    assert parse_dest({"address": "10.0.0.1", "port": 8080}, KEY).key.port == 8080


def test_the_same_dest_in_two_spellings_is_refused():
    dests = [{"address": "fd00::1"}, {"address": "fd00:0::1", "port": 80}]
    assert "dests[0] and dests[1] are both [fd00::1]:80" in sentence(parse_wanted, {**WEB, "dests": dests})


def test_messages_name_the_place_in_a_list():
    services = [{**WEB}, {"fwmark": 3, "dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.1.1"}]}]
    assert sentence(parse_wanted_list, services).startswith("services[1]: dests[1]: address is '10.0.0.1.1'")
    assert "services[0] and services[1] are both tcp 192.0.2.10:80" in sentence(parse_wanted_list, [WEB, WEB])


def test_unstated_stays_unstated():
    wanted = parse_wanted({**WEB, "dests": [{"address": "10.0.0.1"}]})
    assert wanted.service.settings() == {}
    assert wanted.dests[0].settings() == {}


SETTINGS = {
    "scheduler": st.sampled_from(["rr", "wrr", "wlc"]),
    "persistence_timeout": st.integers(0, 17_000_000),
    "persistence_netmask": st.integers(0, 32).map(str),
    "one_packet": st.booleans(),
}


@given(st.fixed_dictionaries({"port": st.integers(0, 65535)}, optional=SETTINGS))
def test_what_is_returned_parses_to_the_same(params):
    service = parse_service({"address": "192.0.2.10", **params})
    again = {**service.key.identity(), **service.settings(), "stats": {"connections": 1}}
    assert parse_service(again) == service
