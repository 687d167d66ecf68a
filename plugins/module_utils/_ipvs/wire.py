# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generic netlink family "IPVS" (version 1) as bytes. Pure. PRIVATE to the collection.

Numbers and layouts are those of include/uapi/linux/ip_vs.h and linux/netlink.h. Attributes are in the host's byte
order but for ports and IPv4 masks, which are in the network's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

from .daemon import Daemon
from .model import (
    FORWARDING,
    PROTOCOLS,
    TUNNEL_CHECKSUMS,
    TUNNEL_TYPES,
    Dest,
    DestKey,
    Service,
    ServiceKey,
    full_netmask,
    raw_flags,
)

__all__ = [
    "ACK",
    "DUMP",
    "NATIVE",
    "NLMSG_DONE",
    "NLMSG_ERROR",
    "Command",
    "Reply",
    "attributes",
    "decode_config",
    "decode_daemon",
    "decode_dest",
    "decode_info",
    "decode_service",
    "encode_config",
    "encode_daemon",
    "encode_dest",
    "encode_service",
    "encode_service_key",
    "family_request",
    "message",
    "replies",
]

REQUEST, ACK, DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_GENERIC = struct.Struct("=BBH")  # command, version, reserved
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF


class Command:
    """Commands of the family."""

    NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = 1, 2, 3, 4
    NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = 5, 6, 7, 8
    NEW_DAEMON, DEL_DAEMON, GET_DAEMON = 9, 10, 11
    SET_CONFIG, GET_CONFIG = 12, 13
    GET_INFO, ZERO = 15, 16


class Reply(NamedTuple):
    """One message from the kernel. `error` is the errno of an answer, 0 for success, None for data."""

    kind: int
    sequence: int
    error: int | None
    attributes: bytes


def message(family: int, command: int, body: bytes, flags: int, sequence: int, version: int = 1) -> bytes:
    """A request of a generic netlink family, its attributes encoded in `body`."""
    length = _HEADER.size + _GENERIC.size + len(body)
    return _HEADER.pack(length, family, REQUEST | flags, sequence, 0) + _GENERIC.pack(command, version, 0) + body


def family_request(name: str, sequence: int) -> bytes:
    """Ask for the number of the generic netlink family `name`."""
    body = _attribute(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0")
    return message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, body, 0, sequence)


def replies(data: bytes) -> Iterator[Reply]:
    """The messages in one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        start = offset + _HEADER.size
        if kind == NLMSG_ERROR or (kind == NLMSG_DONE and length >= _HEADER.size + 4):
            yield Reply(kind, sequence, -struct.unpack_from("=i", data, start)[0], b"")
        elif kind == NLMSG_DONE:
            yield Reply(kind, sequence, 0, b"")
        else:
            yield Reply(kind, sequence, None, data[start + _GENERIC.size : offset + length])
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes of one level, from `offset` on: number -> payload."""
    found = {}
    unpack = _ATTRIBUTE.unpack_from
    end = len(data) - 4
    while offset <= end:
        length, kind = unpack(data, offset)
        if length < 4:  # less than its own header
            break
        found[kind & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


# Whole attributes with a number in them: length, type, payload, padding.
_u8 = partial(struct.Struct("=HHB3x").pack, 5)
_u16 = partial(struct.Struct("=HHH2x").pack, 6)
_u32 = partial(struct.Struct("=HHI").pack, 8)


def _port(kind: int, value: int) -> bytes:
    return _u16(kind, socket.htons(value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(payload: bytes) -> int:
    return int.from_bytes(payload, NATIVE)  # of nothing it is 0


def _string(payload: bytes) -> str:
    return payload.split(b"\0", 1)[0].decode("ascii", "replace")


NATIVE: Any = "little" if struct.pack("=H", 1) == b"\1\0" else "big"
_FAMILY_NUMBER = {"ipv4": int(socket.AF_INET), "ipv6": int(socket.AF_INET6)}
_FAMILY_NAME = {number: name for name, number in _FAMILY_NUMBER.items()}
_PROTOCOL_NAME = {number: name for name, number in PROTOCOLS.items()}
_FORWARDING_NAME = {number: name for name, number in FORWARDING.items()}
_TUNNEL_NAME = {number: name for name, number in TUNNEL_TYPES.items()}
_CHECKSUM_NAME = {number: name for name, number in TUNNEL_CHECKSUMS.items()}

CMD_ATTR_SERVICE, CMD_ATTR_DEST, CMD_ATTR_DAEMON = 1, 2, 3
# Where the attributes of a service, dest or daemon begin: the one that holds them is all there is in such a message.
WITHIN = _ATTRIBUTE.size

# Service
SVC_AF, SVC_PROTOCOL, SVC_ADDR, SVC_PORT, SVC_FWMARK, SVC_SCHED_NAME, SVC_FLAGS, SVC_TIMEOUT = range(1, 9)
SVC_NETMASK, SVC_STATS, SVC_PE_NAME, SVC_STATS64 = range(9, 13)
PERSISTENT, ONE_PACKET = 0x1, 0x4
_FLAG_BITS = {"flag-1": 0x8, "flag-2": 0x10, "flag-3": 0x20}
_OUR_FLAGS = PERSISTENT | ONE_PACKET | 0x38

# Dest
DEST_ADDR, DEST_PORT, DEST_FWD_METHOD, DEST_WEIGHT, DEST_U_THRESH, DEST_L_THRESH = range(1, 7)
DEST_ACTIVE_CONNS, DEST_INACT_CONNS, DEST_PERSIST_CONNS, DEST_STATS, DEST_ADDR_FAMILY, DEST_STATS64 = range(7, 13)
DEST_TUN_TYPE, DEST_TUN_PORT, DEST_TUN_FLAGS = range(13, 16)
FORWARDING_MASK = 0x7


@lru_cache(maxsize=16)  # the dests of a service follow each other
def encode_service_key(key: ServiceKey) -> bytes:
    """The attribute that names a service."""
    return _attribute(CMD_ATTR_SERVICE | _NESTED, _service_key(key))


def encode_service(service: Service) -> bytes:
    """The attribute that holds all of a service; each of its settings must be known."""
    flags = sum(_FLAG_BITS[name] for name in raw_flags(service.scheduler_flags or ()))
    flags |= PERSISTENT if service.persistence_timeout else 0
    flags |= ONE_PACKET if service.one_packet else 0
    body = _service_key(service.key)
    body += _text(SVC_SCHED_NAME, service.scheduler or "")
    body += _attribute(SVC_FLAGS, struct.pack("=II", flags, _OUR_FLAGS))
    body += _u32(SVC_TIMEOUT, service.persistence_timeout or 0)
    body += _attribute(SVC_NETMASK, _netmask(service))
    if service.persistence_engine not in (None, "none"):
        body += _text(SVC_PE_NAME, service.persistence_engine or "")
    return _attribute(CMD_ATTR_SERVICE | _NESTED, body)


def _service_key(key: ServiceKey) -> bytes:
    family = _u16(SVC_AF, _FAMILY_NUMBER[key.family])
    if key.fwmark is not None:
        return family + _u32(SVC_FWMARK, key.fwmark)
    return (
        family
        + _u16(SVC_PROTOCOL, _protocol_number(key.protocol or ""))
        + _attribute(SVC_ADDR, _address(key.address or ""))
        + _port(SVC_PORT, key.port or 0)
    )


def _protocol_number(name: str) -> int:
    return PROTOCOLS[name] if name in PROTOCOLS else int(name.rpartition("-")[2])


def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def _netmask(service: Service) -> bytes:
    text = service.persistence_netmask or full_netmask(service.key.family)
    if service.key.family == "ipv6":
        return struct.pack("=I", int(text))
    return socket.inet_pton(socket.AF_INET, text)


def encode_dest(dest: Dest, identity_only: bool = False) -> bytes:
    """The attribute that holds all of a dest, or with `identity_only` no more than names it."""
    body = _attribute(DEST_ADDR, _address(dest.key.address)) + _port(DEST_PORT, dest.key.port)
    body += _u16(DEST_ADDR_FAMILY, _FAMILY_NUMBER[dest.key.family])
    if not identity_only:
        body += _u32(DEST_FWD_METHOD, FORWARDING[dest.forwarding or "direct"])
        body += _u32(DEST_WEIGHT, dest.weight or 0)
        body += _u32(DEST_U_THRESH, dest.upper_threshold or 0)
        body += _u32(DEST_L_THRESH, dest.lower_threshold or 0)
        if dest.tunnel_type is not None:
            body += _u8(DEST_TUN_TYPE, TUNNEL_TYPES[dest.tunnel_type])
            body += _port(DEST_TUN_PORT, dest.tunnel_port or 0)
            body += _u16(DEST_TUN_FLAGS, TUNNEL_CHECKSUMS[dest.tunnel_checksum or "none"])
    return _attribute(CMD_ATTR_DEST | _NESTED, body)


def decode_service(data: bytes, stats: bool = False) -> Service:
    """The service in a reply; with `stats` its counters too."""
    found = attributes(data, WITHIN)
    family = _FAMILY_NAME[_number(found[SVC_AF])]
    flags = struct.unpack("=II", found[SVC_FLAGS])[0] if SVC_FLAGS in found else 0
    timeout = _number(found.get(SVC_TIMEOUT, b""))
    return Service(
        key=_decode_service_key(found, family),
        scheduler=_string(found.get(SVC_SCHED_NAME, b"")),
        scheduler_flags=tuple(name for name, bit in _FLAG_BITS.items() if flags & bit),
        persistence_timeout=timeout if flags & PERSISTENT else 0,
        persistence_netmask=_decode_netmask(found.get(SVC_NETMASK, b""), family),
        persistence_engine=_string(found.get(SVC_PE_NAME, b"")) or "none",
        one_packet=bool(flags & ONE_PACKET),
        stats=_decode_stats(found, SVC_STATS64, SVC_STATS) if stats else None,
    )


def _decode_service_key(found: dict[int, bytes], family: str) -> ServiceKey:
    if _number(found.get(SVC_FWMARK, b"")):
        return ServiceKey(fwmark=_number(found[SVC_FWMARK]), family=family)
    protocol = _number(found[SVC_PROTOCOL])
    return ServiceKey(
        protocol=_PROTOCOL_NAME.get(protocol, f"protocol-{protocol}"),
        address=_decode_address(found[SVC_ADDR], family),
        port=struct.unpack("!H", found[SVC_PORT])[0],
    )


def _decode_address(payload: bytes, family: str) -> str:
    if family == "ipv6":
        return socket.inet_ntop(socket.AF_INET6, payload[:16])
    return socket.inet_ntop(socket.AF_INET, payload[:4])


def _decode_netmask(payload: bytes, family: str) -> str:
    if not payload:
        return full_netmask(family)
    return str(_number(payload)) if family == "ipv6" else socket.inet_ntop(socket.AF_INET, payload)


def decode_dest(data: bytes, service: ServiceKey, stats: bool = False) -> Dest:
    """The dest of `service` in a reply; with `stats` its counters too."""
    found = attributes(data, WITHIN)
    # Kernels before 3.18 know no mixed families and send no family.
    family = _FAMILY_NAME[_number(found[DEST_ADDR_FAMILY])] if DEST_ADDR_FAMILY in found else service.family
    method = _number(found.get(DEST_FWD_METHOD, b"")) & FORWARDING_MASK
    forwarding = _FORWARDING_NAME.get(method, f"method-{method}")
    tunnel: dict[str, Any] = {}
    if forwarding == "tunnel":
        kind, flags = _number(found.get(DEST_TUN_TYPE, b"")), _number(found.get(DEST_TUN_FLAGS, b""))
        port = found.get(DEST_TUN_PORT)
        tunnel = {
            "tunnel_type": _TUNNEL_NAME.get(kind, f"type-{kind}"),
            "tunnel_port": struct.unpack("!H", port)[0] if port else 0,
            "tunnel_checksum": _CHECKSUM_NAME.get(flags, f"flags-{flags}"),
        }
    return Dest(
        key=DestKey(_decode_address(found[DEST_ADDR], family), int.from_bytes(found[DEST_PORT], "big")),
        forwarding=forwarding,
        weight=_number(found.get(DEST_WEIGHT, b"")),
        upper_threshold=_number(found.get(DEST_U_THRESH, b"")),
        lower_threshold=_number(found.get(DEST_L_THRESH, b"")),
        stats={**_decode_connections(found), **_decode_stats(found, DEST_STATS64, DEST_STATS)} if stats else None,
        **tunnel,
    )


_COUNTERS = (
    "connections",
    "packets_in",
    "packets_out",
    "bytes_in",
    "bytes_out",
    "connections_per_second",
    "packets_in_per_second",
    "packets_out_per_second",
    "bytes_in_per_second",
    "bytes_out_per_second",
)


def _decode_stats(found: dict[int, bytes], wide: int, narrow: int) -> dict[str, int]:
    # 64 bits since Linux 4.1.
    counters = attributes(found.get(wide) or found.get(narrow) or b"")
    return {name: _number(counters.get(number, b"")) for number, name in enumerate(_COUNTERS, 1)}


def _decode_connections(found: dict[int, bytes]) -> dict[str, int]:
    return {
        "active_connections": _number(found.get(DEST_ACTIVE_CONNS, b"")),
        "inactive_connections": _number(found.get(DEST_INACT_CONNS, b"")),
        "persistent_connections": _number(found.get(DEST_PERSIST_CONNS, b"")),
    }


def decode_info(data: bytes) -> dict[str, Any]:
    """Version and size of the connection table."""
    found = attributes(data)
    version = _number(found.get(1, b""))
    return {
        "version": f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}",
        "connection_table_size": _number(found.get(2, b"")),
    }


_TIMEOUT_NUMBER = {"tcp": 4, "tcp_fin": 5, "udp": 6}


def decode_config(data: bytes) -> dict[str, int]:
    """The connection timeouts in seconds."""
    found = attributes(data)
    return {name: _number(found.get(number, b"")) for name, number in _TIMEOUT_NUMBER.items()}


DAEMON_STATE, DAEMON_INTERFACE, DAEMON_SYNC_ID, DAEMON_SYNC_MAXLEN, DAEMON_GROUP, DAEMON_GROUP6 = range(1, 7)
DAEMON_PORT, DAEMON_TTL = 7, 8
_DAEMON_STATE = {"master": 1, "backup": 2}
_DAEMON_NAME = {number: name for name, number in _DAEMON_STATE.items()}


def decode_daemon(data: bytes) -> Daemon:
    """One connection synchronisation daemon."""
    found = attributes(data, WITHIN)
    group = found.get(DAEMON_GROUP) or found.get(DAEMON_GROUP6) or b""
    return Daemon(
        daemon=_DAEMON_NAME[_number(found[DAEMON_STATE])],
        interface=_string(found.get(DAEMON_INTERFACE, b"")),
        sync_id=_number(found.get(DAEMON_SYNC_ID, b"")),
        sync_maxlen=_number(found.get(DAEMON_SYNC_MAXLEN, b"")),
        group=socket.inet_ntop(socket.AF_INET6 if len(group) == 16 else socket.AF_INET, group) if group else None,
        port=_number(found.get(DAEMON_PORT, b"")),
        ttl=_number(found.get(DAEMON_TTL, b"")),
    )


def encode_daemon(daemon: Daemon, identity_only: bool = False) -> bytes:
    """The attribute that holds a daemon. Its port is in the host's byte order, other than all other ports."""
    body = _u32(DAEMON_STATE, _DAEMON_STATE[daemon.daemon])
    if not identity_only:
        body += _text(DAEMON_INTERFACE, daemon.interface or "") + _u32(DAEMON_SYNC_ID, daemon.sync_id or 0)
        if daemon.sync_maxlen:
            body += _u16(DAEMON_SYNC_MAXLEN, daemon.sync_maxlen)
        if daemon.group:
            body += _attribute(DAEMON_GROUP6 if ":" in daemon.group else DAEMON_GROUP, _address(daemon.group))
        body += _u16(DAEMON_PORT, daemon.port or 0) + _u8(DAEMON_TTL, daemon.ttl or 0)
    return _attribute(CMD_ATTR_DAEMON | _NESTED, body)


def encode_config(timeouts: Mapping[str, int]) -> bytes:
    """The timeouts that are to be set, in seconds; the kernel keeps the others."""
    return b"".join(_u32(_TIMEOUT_NUMBER[name], seconds) for name, seconds in timeouts.items())
