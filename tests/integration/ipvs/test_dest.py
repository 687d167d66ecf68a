# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_dest on a real kernel: each option set, set again, changed and cleaned up, with ipvsadm as the witness."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, saved

WEB = {"protocol": "tcp", "address": "192.0.2.10", "port": 80}


@pytest.fixture
def web(director: Director) -> Director:
    """A director with one service."""
    subprocess.run(["ipvsadm", "-A", "-t", "192.0.2.10:80", "-s", "rr"], check=True)
    return director


def dests(*options: str) -> list[str]:
    """The witness's lines about dests, without the name of the service."""
    return [line.split(" -r ")[1] for line in saved(*options) if line.startswith("-a")]


@pytest.mark.parametrize(("forwarding", "flag"), [("masquerade", "-m"), ("direct", "-g"), ("tunnel", "-i")])
def test_life_of_a_dest(web: Director, forwarding: str, flag: str):
    assert web.dest(service=WEB, address="10.0.0.1", forwarding=forwarding)["changed"] is True
    kind = " --tun-type ipip" if forwarding == "tunnel" else ""
    assert dests() == [f"10.0.0.1:80 {flag} -w 1{kind}"]
    web.dest(service=WEB, address="10.0.0.1", weight=2**31 - 1)
    assert dests() == [f"10.0.0.1:80 {flag} -w 2147483647{kind}"]
    web.dest(service=WEB, address="10.0.0.1", weight=0)
    assert dests() == [f"10.0.0.1:80 {flag} -w 0{kind}"]
    assert web.dest(service=WEB, address="10.0.0.1", state="absent")["dest"] is None
    assert saved() == ["-A -t 192.0.2.10:80 -s rr"]


def test_forwarding_is_edited_in_place(web: Director):
    for forwarding, flag in (("masquerade", "-m"), ("tunnel", "-i"), ("direct", "-g")):
        kind = " --tun-type ipip" if forwarding == "tunnel" else ""
        web.dest(service=WEB, address="10.0.0.1", forwarding=forwarding, weight=7)
        assert dests() == [f"10.0.0.1:80 {flag} -w 7{kind}"]


def test_thresholds(web: Director):
    web.dest(service=WEB, address="10.0.0.1", upper_threshold=500, lower_threshold=400)
    listing = subprocess.run(["ipvsadm", "-Ln", "--thresholds"], capture_output=True, text=True, check=True).stdout
    assert "-> 10.0.0.1:80 500 400" in " ".join(listing.split())
    assert web.dest(service=WEB, address="10.0.0.1", weight=5)["dest"]["upper_threshold"] == 500
    cleared = web.dest(service=WEB, address="10.0.0.1", upper_threshold=0, lower_threshold=0)
    assert cleared["dest"]["lower_threshold"] == 0


def test_tunnels(web: Director):
    gue = {"tunnel_type": "gue", "tunnel_port": 6080, "tunnel_checksum": "full"}
    web.dest(service=WEB, address="fd00::1", forwarding="tunnel", **gue)
    assert dests() == ["[fd00::1]:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum"]
    web.dest(service=WEB, address="fd00::1", weight=9)  # an edit replaces all in the kernel, yet the tunnel stays
    assert dests() == ["[fd00::1]:80 -i -w 9 --tun-type gue --tun-port 6080 --tun-csum"]
    web.dest(service=WEB, address="fd00::1", tunnel_type="gre", tunnel_checksum="none")
    assert dests() == ["[fd00::1]:80 -i -w 9 --tun-type gre --tun-nocsum"]
    web.dest(service=WEB, address="fd00::1", tunnel_type="ipip")
    assert dests() == ["[fd00::1]:80 -i -w 9 --tun-type ipip"]
    web.dest(service=WEB, address="fd00::1", state="absent")
    assert dests() == []


KINDS = {
    ("ipip", "none"): "--tun-type ipip",
    ("gre", "none"): "--tun-type gre --tun-nocsum",
    ("gre", "full"): "--tun-type gre --tun-csum",
    ("gue", "none"): "--tun-type gue --tun-port 6080 --tun-nocsum",
    ("gue", "full"): "--tun-type gue --tun-port 6080 --tun-csum",
    ("gue", "remote"): "--tun-type gue --tun-port 6080 --tun-remcsum",
}


def test_each_kind_of_tunnel_becomes_each_other_in_place(web: Director):
    for address, shown in (("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")):
        for kind, checksum in (*KINDS, *reversed(KINDS)):
            port = {"tunnel_port": 6080 if kind == "gue" else 0}
            tunnel = {"tunnel_type": kind, "tunnel_checksum": checksum, **port}
            web.interpreter.run("ipvs_dest", {"service": WEB, "address": address, "forwarding": "tunnel", **tunnel})
            assert f"{shown}:80 -i -w 1 {KINDS[kind, checksum]}" in dests()


@pytest.mark.parametrize("service", [{"fwmark": 7}, {"fwmark": 7, "family": "ipv6"}, {**WEB, "protocol": "udp"}])
def test_dests_of_other_services(director: Director, service: dict[str, Any]):
    address = "fd00::1" if service.get("family") == "ipv6" else "10.0.0.1"
    director.service(**service)
    director.dest(service=service, address=address, forwarding="masquerade")
    assert len(dests()) == 1
    director.dest(service=service, address=address, state="absent")
    assert dests() == []


def test_what_ipvsadm_set_is_not_reset(web: Director):
    options = ["-m", "-w", "5", "-x", "30", "-y", "20"]
    subprocess.run(["ipvsadm", "-a", "-t", "192.0.2.10:80", "-r", "10.0.0.1:8080", *options], check=True)
    results = web.dest(service=WEB, address="10.0.0.1", port=8080, weight=6)
    assert results["dest"] == {
        "address": "10.0.0.1",
        "port": 8080,
        "forwarding": "masquerade",
        "weight": 6,
        "upper_threshold": 30,
        "lower_threshold": 20,
    }


def test_a_network_namespace(director: Director):
    subprocess.run(["ip", "netns", "add", "blue"], check=True)
    try:
        director.service(**WEB, namespace="blue")
        # As namespaces are made, the interface lo is down, and then the kernel knows no unicast address.
        failed = director.interpreter.run("ipvs_dest", {"service": WEB, "address": "10.0.0.1", "namespace": "blue"})
        assert "interface lo is down" in failed["msg"]
        subprocess.run(["ip", "-netns", "blue", "link", "set", "lo", "up"], check=True)
        director.dest(service=WEB, address="10.0.0.1", namespace="blue")
        assert saved() == []
        assert len(director.info(namespace="blue")["services"][0]["dests"]) == 1
        assert director.info()["services"] == []
    finally:
        subprocess.run(["ip", "netns", "delete", "blue"], check=True)
