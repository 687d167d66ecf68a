# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import (
    Dest,
    DestKey,
    Service,
    ServiceKey,
    canonical_address,
)

WEB = ServiceKey(address="192.0.2.10", port=80)


@pytest.mark.parametrize(
    ("given_text", "canonical"),
    [
        ("192.0.2.10", "192.0.2.10"),
        (" 192.0.2.10 ", "192.0.2.10"),
        ("2001:DB8:0:0::10", "2001:db8::10"),
        ("::FFFF:192.0.2.1", "::ffff:192.0.2.1"),
        ("::ffff:c000:201", "::ffff:192.0.2.1"),
    ],
)
def test_addresses_have_one_form(given_text, canonical):
    assert canonical_address(given_text) == canonical


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "10.0.0.1/24", "010.0.0.1", "fe80::1%eth0", "a.example", "::1::"]
)
def test_what_is_no_address_is_refused_by_name_and_value(text):
    with pytest.raises(PocketError, match=r"address is .*neither an IPv4 nor an IPv6 address") as caught:
        ServiceKey(address=text, port=80)
    assert repr(text) in caught.value.message


@given(st.ip_addresses())
def test_any_address_survives_and_is_stable(address):
    text = canonical_address(str(address))
    assert canonical_address(text) == text
    assert ServiceKey(address=address.exploded, port=1) == ServiceKey(address=text, port=1)


def test_an_identity_is_by_address_or_by_mark():
    assert ServiceKey(address="192.0.2.10", port=80, protocol="TCP") == WEB
    assert WEB.family == "ipv4"
    assert ServiceKey(fwmark=7) == ServiceKey(fwmark=7, family="ipv4") != ServiceKey(fwmark=7, family="ipv6")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (WEB, "tcp 192.0.2.10:80"),
        (ServiceKey(protocol="udp", address="2001:db8::1", port=53), "udp [2001:db8::1]:53"),
        (ServiceKey(fwmark=7, family="ipv6"), "fwmark 7 ipv6"),
        (DestKey("10.0.0.1", 80), "10.0.0.1:80"),
        (DestKey("fd00::1", 80), "[fd00::1]:80"),
    ],
)
def test_keys_print_as_ipvsadm_does(key, text):
    assert str(key) == text


def test_services_sort_by_address_numerically_and_marks_come_last():
    keys = [
        ServiceKey(fwmark=1),
        ServiceKey(address="2001:db8::1", port=80),
        ServiceKey(address="10.0.0.10", port=80),
        ServiceKey(address="10.0.0.9", port=443),
        ServiceKey(address="10.0.0.9", port=80),
    ]
    assert sorted(keys, key=ServiceKey.order) == [keys[4], keys[3], keys[2], keys[1], keys[0]]


def test_a_new_service_gets_defaults_for_what_is_unstated():
    created = Service(WEB, scheduler="rr").over(None)
    assert created.settings() == {
        "scheduler": "rr",
        "scheduler_flags": [],
        "persistence_timeout": 0,
        "persistence_netmask": "255.255.255.255",
        "persistence_engine": "none",
        "one_packet": False,
    }
    assert Service(ServiceKey(fwmark=1, family="ipv6")).over(None).persistence_netmask == "128"
    assert Service(WEB).over(None).scheduler == "wlc"


def test_an_edit_keeps_what_is_unstated():
    current = Service(WEB, "sh", ("sh-port",), 300, "255.255.255.0", "none", False)
    assert Service(WEB).over(current) == current
    assert Service(WEB, persistence_timeout=0).over(current) == Service(
        WEB, "sh", ("sh-port",), 0, "255.255.255.0", "none", False
    )


def test_flags_go_by_the_names_of_the_scheduler():
    assert Service(WEB, "sh", ("flag-2", "flag-1")).scheduler_flags == ("sh-fallback", "sh-port")
    assert Service(WEB, "mh", ("mh-port",)).scheduler_flags == ("mh-port",)
    assert Service(WEB, "rr", ("flag-3",)).scheduler_flags == ("flag-3",)


def test_flags_of_another_scheduler_are_refused():
    with pytest.raises(PocketError, match=r"'sh-port', which is a flag of scheduler sh, but .* is mh"):
        Service(WEB, "mh", ("sh-port",))
    current = Service(WEB, "rr").over(None)
    with pytest.raises(PocketError, match="but the service's scheduler is rr"):
        Service(WEB, scheduler_flags=("sh-port",)).over(current)


def test_unstated_flags_keep_their_bits_when_the_scheduler_changes():
    current = Service(WEB, "sh", ("sh-port",)).over(None)
    assert Service(WEB, "mh").over(current).scheduler_flags == ("mh-port",)
    assert Service(WEB, "rr").over(current).scheduler_flags == ("flag-2",)


DEST = DestKey("10.0.0.1", 80)
GUE = Dest(DEST, "tunnel", 5, 10, 2, "gue", 6080, "full")


def test_a_new_dest_gets_defaults_for_what_is_unstated():
    assert Dest(DEST).over(None).settings() == {
        "forwarding": "direct",
        "weight": 1,
        "upper_threshold": 0,
        "lower_threshold": 0,
    }
    tunnel = Dest(DEST, forwarding="tunnel").over(None).settings()
    assert (tunnel["tunnel_type"], tunnel["tunnel_port"], tunnel["tunnel_checksum"]) == ("ipip", 0, "none")


def test_an_edit_of_a_dest_carries_the_whole_tunnel_over():
    edited = Dest(DEST, weight=0).over(GUE)
    assert edited == Dest(DEST, "tunnel", 0, 10, 2, "gue", 6080, "full")


def test_a_tunnel_s_port_and_checksum_stay_only_with_its_type():
    assert Dest(DEST, tunnel_type="gre").over(GUE) == Dest(DEST, "tunnel", 5, 10, 2, "gre", 0, "none")
    assert Dest(DEST, forwarding="masquerade").over(GUE) == Dest(DEST, "masquerade", 5, 10, 2)


def test_tunnel_settings_without_a_tunnel_are_refused():
    with pytest.raises(PocketError, match="tunnel_type is 'gue', but forwarding is direct"):
        Dest(DEST, forwarding="direct", tunnel_type="gue")
    with pytest.raises(PocketError, match="tunnel_port is 6080, but forwarding is masquerade"):
        Dest(DEST, tunnel_port=6080).over(Dest(DEST, forwarding="masquerade").over(None))


def test_counters_are_no_setting():
    assert Dest(DEST, weight=1, stats={"connections": 5}) == Dest(DEST, weight=1)
    assert "stats" not in Dest(DEST, weight=1, stats={"connections": 5}).settings()
