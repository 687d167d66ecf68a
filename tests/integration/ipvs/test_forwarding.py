# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers that get what the director sends them unchanged or in a tunnel, and answer the client directly.

The director forwards nothing but what IPVS sends on, so no answer can have come through it.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director
from ansible_collections.pocket.cloud.tests.integration.ipvs.network import (
    GUE_PORT,
    REAL,
    VIRTUAL,
    Network,
    inside,
    shares,
    udp_shares,
    virtual_address,
)

IPIP = {"tunnel_type": "ipip"}
GUE = {"tunnel_type": "gue", "tunnel_port": GUE_PORT}
GRE = {"tunnel_type": "gre"}
ETHERTYPES = {"ipv4": 0x0800, "ipv6": 0x86DD}

_ports = itertools.count(8001)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(bypass=True) as running:
        yield running


@pytest.fixture(params=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest, network: Network) -> Iterator[str]:
    """The address family, with the virtual address on the director."""
    with virtual_address(request.param):
        yield request.param


@pytest.fixture
def port(network: Network) -> int:
    """A port that no test had before: the kernel remembers for minutes what it forwarded without seeing its end."""
    port = next(_ports)
    network.listen(port, "tcp", "udp")
    return port


def web(family: str, port: int, own: str, **forwarding: Any) -> dict[str, Any]:
    """A service of which the first server, at its own address of the second family, gets three in four."""
    dests = [{"address": REAL[own][name], "weight": weight, **forwarding} for name, weight in (("one", 3), ("two", 1))]
    return {"address": VIRTUAL[family], "port": port, "scheduler": "wrr", "dests": dests}


def test_direct(director: Director, family: str, port: int):
    director.service(**web(family, port, family, forwarding="direct"))
    assert shares(family, 8, port) == {"one": 6, "two": 2}


def test_ipip(director: Director, network: Network, family: str, port: int):
    with network.unpacking(family, "ipip"):
        director.service(**web(family, port, family, forwarding="tunnel"))
        assert shares(family, 8, port) == {"one": 6, "two": 2}


@pytest.mark.parametrize("checksum", ["none", "full"])
def test_gre(director: Director, network: Network, family: str, port: int, checksum: str):
    with network.unpacking(family, "gre", checksum == "full"):
        director.service(**web(family, port, family, forwarding="tunnel", tunnel_checksum=checksum, **GRE))
        assert shares(family, 8, port) == {"one": 6, "two": 2}


def on_the_wire(wire: socket.socket, family: str) -> dict[str, bool]:
    """What the first packet in GUE has for a checksum."""
    place, header = {"ipv4": (9, 20), "ipv6": (6, 40)}[family]
    while True:
        packet = wire.recv(2000)
        if packet[place] == socket.IPPROTO_UDP:
            _from, port, _length, checksum, _gue, flags = struct.unpack_from("!HHHHHH", packet, header)
            assert port == GUE_PORT
            return {"in UDP": checksum != 0, "left to the receiver": flags != 0}


GUE_CHECKSUMS = {
    "none": {"in UDP": False, "left to the receiver": False},
    "full": {"in UDP": True, "left to the receiver": False},
    "remote": {"in UDP": True, "left to the receiver": True},
}


@pytest.mark.parametrize("checksum", GUE_CHECKSUMS)
def test_gue(director: Director, network: Network, family: str, port: int, checksum: str):
    with inside("one"):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHERTYPES[family]))
    with wire, network.unpacking(family, "gue"):
        wire.bind(("uplink", 0))
        director.service(**web(family, port, family, forwarding="tunnel", tunnel_checksum=checksum, **GUE))
        assert shares(family, 8, port) == {"one": 6, "two": 2}
        assert on_the_wire(wire, family) == GUE_CHECKSUMS[checksum]


@pytest.mark.parametrize("tunnel", [IPIP, GUE, GRE], ids=["ipip", "gue", "gre"])
def test_servers_of_the_other_family(director: Director, network: Network, family: str, port: int, tunnel):
    other = {"ipv4": "ipv6", "ipv6": "ipv4"}[family]
    with network.unpacking(other, tunnel["tunnel_type"]):
        director.service(**web(family, port, other, forwarding="tunnel", **tunnel))
        assert shares(family, 8, port) == {"one": 6, "two": 2}


def test_one_packet_spreads_the_datagrams_of_one_client(director: Director, family: str, port: int):
    service = {**web(family, port, family, forwarding="direct"), "protocol": "udp"}
    director.service(**service)
    assert len(udp_shares(family, 8, port, from_one_port=True)) == 1
    director.service(**service, one_packet=True)
    assert udp_shares(family, 8, port, from_one_port=True) == {"one": 6, "two": 2}
