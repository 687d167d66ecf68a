# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to and from the kernel, byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs import wire
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.daemon import Daemon
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.declaration import parse_wanted
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import Dest, DestKey, Service, ServiceKey
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.plan import make_plan, outcome
from ansible_collections.pocket.cloud.tests.unit.module_utils._ipvs.test_plan import wanted_services

WEB = ServiceKey(address="192.0.2.10", port=80)


def nested(data: bytes, outer: int) -> dict[int, bytes]:
    return wire.attributes(wire.attributes(data)[outer])


def test_a_message_has_both_headers():
    data = wire.message(30, 4, b"\x08\0\1\0abcd", wire.ACK, 9)
    assert struct.unpack("=IHHII", data[:16]) == (28, 30, 5, 9, 0)
    assert struct.unpack("=BBH", data[16:20]) == (4, 1, 0)


def test_a_service_by_address():
    found = nested(wire.encode_service(Service(WEB, "sh", ("sh-port",), 300, "255.255.255.0").over(None)), 1)
    assert found[wire.SVC_AF] == struct.pack("=H", 2)
    assert found[wire.SVC_PROTOCOL] == struct.pack("=H", 6)
    assert found[wire.SVC_ADDR] == bytes([192, 0, 2, 10])
    assert found[wire.SVC_PORT] == b"\x00\x50"
    assert found[wire.SVC_SCHED_NAME] == b"sh\0"
    assert found[wire.SVC_FLAGS] == struct.pack("=II", 0x1 | 0x10, 0x3D)
    assert found[wire.SVC_TIMEOUT] == struct.pack("=I", 300)
    assert found[wire.SVC_NETMASK] == bytes([255, 255, 255, 0])
    assert wire.SVC_PE_NAME not in found
    assert wire.SVC_FWMARK not in found


def test_a_service_by_mark_has_a_native_prefix_length():
    service = Service(ServiceKey(fwmark=7, family="ipv6"), persistence_timeout=1, persistence_netmask="64").over(None)
    found = nested(wire.encode_service(service), 1)
    assert found[wire.SVC_AF] == struct.pack("=H", 10)
    assert found[wire.SVC_FWMARK] == struct.pack("=I", 7)
    assert found[wire.SVC_NETMASK] == struct.pack("=I", 64)
    assert wire.SVC_ADDR not in found


def test_the_port_of_a_tunnel_is_in_network_order():
    dest = Dest(DestKey("fd00::1", 80), "tunnel", 5, 10, 2, "gue", 6080, "remote")
    found = nested(wire.encode_dest(dest), 2)
    assert found[wire.DEST_ADDR_FAMILY] == struct.pack("=H", 10)
    assert found[wire.DEST_TUN_PORT] == struct.pack("!H", 6080)
    assert found[wire.DEST_TUN_TYPE] == b"\1"
    assert found[wire.DEST_TUN_FLAGS] == struct.pack("=H", 2)
    assert set(nested(wire.encode_dest(dest, identity_only=True), 2)) == {1, 2, 11}


@settings(deadline=None)
@given(wanted_services())
def test_what_is_encoded_decodes_to_the_same(wanted):
    for one in outcome({}, make_plan({}, wanted)).values():
        assert wire.decode_service(wire.encode_service(one.service)) == one.service
        for dest in one.dests.values():
            assert wire.decode_dest(wire.encode_dest(dest), one.service.key) == dest


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def test_what_other_programs_left_in_the_kernel_is_readable():
    odd = attribute(1, struct.pack("=H", 2)) + attribute(2, struct.pack("=H", 47)) + attribute(3, bytes(16))
    odd += attribute(4, b"\0\0") + attribute(6, b"custom\0") + attribute(7, struct.pack("=II", 2, 0))
    odd += attribute(8, struct.pack("=I", 0)) + attribute(9, bytes([255, 0, 255, 0]))
    service = wire.decode_service(attribute(1, odd))
    assert str(service.key) == "protocol-47 0.0.0.0:0"
    assert service.scheduler == "custom"
    assert service.persistence_netmask == "255.0.255.0"
    assert wire.encode_service_key(service.key)
    dest = attribute(1, bytes(16)) + attribute(2, b"\0\1") + attribute(3, struct.pack("=I", 5))
    assert wire.decode_dest(attribute(2, dest), service.key).forwarding == "method-5"


def test_counters_come_from_the_64_bit_ones_where_there_are_any():
    wide = attribute(1, struct.pack("=Q", 2**40)) + attribute(9, struct.pack("=Q", 7))
    body = attribute(1, struct.pack("=H", 2)) + attribute(5, struct.pack("=I", 7)) + attribute(12, wide)
    service = wire.decode_service(attribute(1, body), stats=True)
    assert service.stats is not None
    assert service.stats["connections"] == 2**40
    assert service.stats["bytes_in_per_second"] == 7


def test_answers_are_told_from_data():
    done = struct.pack("=IHHIIi", 20, 3, 2, 5, 0, 0)
    refused = struct.pack("=IHHIIi", 36, 2, 0, 6, 0, -17) + bytes(16)
    data = struct.pack("=IHHII", 28, 30, 2, 5, 0) + struct.pack("=BBH", 1, 1, 0) + attribute(1, b"abcd")
    found = list(wire.replies(data + done + refused))
    assert [(one.sequence, one.error) for one in found] == [(5, None), (5, 0), (6, 17)]
    assert wire.attributes(found[0].attributes) == {1: b"abcd"}


@pytest.mark.parametrize("data", [b"", b"\0" * 16, b"\x10\0", struct.pack("=HH", 2, 1)])
def test_garbage_ends_the_reading(data):
    assert list(wire.replies(data)) == []
    assert wire.attributes(data[:4]) == {}


def test_info_config_and_daemons():
    assert wire.decode_info(attribute(1, struct.pack("=I", 0x010201)) + attribute(2, struct.pack("=I", 4096))) == {
        "version": "1.2.1",
        "connection_table_size": 4096,
    }
    assert wire.decode_config(b"".join(attribute(4 + n, struct.pack("=I", n)) for n in range(3))) == {
        "tcp": 0,
        "tcp_fin": 1,
        "udp": 2,
    }
    daemon = attribute(1, struct.pack("=I", 2)) + attribute(2, b"eth0\0") + attribute(5, bytes([224, 0, 0, 81]))
    assert wire.decode_daemon(attribute(3, daemon)).daemon == "backup"
    assert wire.decode_daemon(attribute(3, daemon)).group == "224.0.0.81"


@pytest.mark.parametrize(
    "daemon",
    [
        Daemon("master", "eth0", 7, 1400, "224.0.0.81", 8848, 1),
        Daemon("backup", "bond0.100", 255, 1024, "ff02::81", 65535, 255),
    ],
)
def test_a_daemon_survives_the_wire(daemon: Daemon):
    assert wire.decode_daemon(wire.encode_daemon(daemon)) == daemon


def test_timeouts_survive_the_wire():
    timeouts = {"tcp": 1, "tcp_fin": 2**31 // 100, "udp": 300}
    assert wire.decode_config(wire.encode_config(timeouts)) == timeouts
    assert wire.encode_config({}) == b""


def test_a_wanted_service_survives_the_wire():
    wanted = parse_wanted({"address": "192.0.2.10", "port": 80})
    service = wanted.service.over(None)
    assert wire.decode_service(wire.encode_service(service)) == service
