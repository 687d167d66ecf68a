# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel takes silently or answers with a bare number, refused in a sentence. PRIVATE to the collection.

The limits are those of Linux 6.1, net/netfilter/ipvs/ip_vs_ctl.c, unless said otherwise.
"""

from __future__ import annotations

import socket

from .._errors import PocketError
from .model import PROTOCOLS, Dest, DestKey, Service, ServiceKey

__all__ = ["MAX_INTEGER", "MAX_PERSISTENCE", "SCHEDULERS", "check_dest", "check_dest_key", "check_key", "check_service"]

MAX_INTEGER = 2**31 - 1
"""Weights are signed in the kernel: more is ERANGE."""

MAX_PERSISTENCE = 17_000_000
"""Seconds. The kernel multiplies by HZ in 32 bits; above this the product wraps where HZ is 250."""

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos")
"""The schedulers of Linux; each but none is a module ip_vs_NAME."""


def check_key(key: ServiceKey) -> None:
    """Refuse identities of a service under which it could never take a connection."""
    if key.fwmark is not None:
        if not 1 <= key.fwmark < 2**32:
            raise PocketError(
                f"fwmark is {key.fwmark}; give the mark that the firewall sets, from 1 to 4294967295 "
                "(mark 0 means unmarked packets and cannot be a virtual service)"
            )
        return
    if key.protocol not in PROTOCOLS:
        raise PocketError(f"protocol is {key.protocol!r}; IPVS balances one of {', '.join(PROTOCOLS)}")
    _check_port(key.port)
    _check_reachable("the virtual service", key.address or "")


def check_dest_key(key: DestKey) -> None:
    """Refuse addresses and ports that no real server can have."""
    _check_port(key.port)
    _check_reachable("the dest", key.address)
    if key.family == "ipv6" and _packed(key.address)[:2] in _LINK_LOCAL:
        raise PocketError(
            f"address of the dest is {key.address}, which is link-local and needs an interface that IPVS cannot name; "
            "give a global or unique local address of the real server"
        )


def check_service(service: Service) -> None:
    """Refuse combinations of settings, all of them known, under which the service could not work."""
    key = service.key
    if key.port == 0 and not service.persistence_timeout:
        raise PocketError(
            f"port of {key} is 0, which stands for all ports and only works with persistence; "
            "give the port from 1 to 65535, or set persistence_timeout"
        )
    if service.one_packet and key.protocol not in (None, "udp"):
        raise PocketError(
            f"one_packet is true for {key}, but one-packet scheduling works for UDP only; "
            "set one_packet to false, or protocol to udp"
        )
    if service.persistence_engine != "none":
        if not service.persistence_timeout:
            raise PocketError(
                f"persistence_engine of {key} is {service.persistence_engine}, but persistence is off; "
                "set persistence_timeout too, or persistence_engine to none"
            )
        if service.persistence_engine == "sip" and key.protocol not in (None, "udp"):
            raise PocketError(
                f"persistence_engine of {key} is sip, which the kernel supports for UDP only; "
                "set protocol to udp, or persistence_engine to none"
            )


def check_dest(service: ServiceKey, dest: Dest) -> None:
    """Refuse combinations of settings, all of them known, under which the dest could not work."""
    key = dest.key
    lower, upper = dest.lower_threshold or 0, dest.upper_threshold or 0
    if lower > upper:
        raise PocketError(
            f"lower_threshold of dest {key} is {lower} and upper_threshold is {upper}; "
            "the lower one must not be above the upper one (an upper threshold of 0 allows no lower one)"
        )
    if dest.forwarding in ("direct", "tunnel") and service.fwmark is None and key.port != service.port:
        raise PocketError(
            f"port of dest {key} is {key.port}, but forwarding {dest.forwarding} leaves the service's port "
            f"{service.port} in the packets; give port {service.port}, or set forwarding to masquerade"
        )
    if key.family != service.family and dest.forwarding != "tunnel":
        raise PocketError(
            f"address of dest {key} is {key.family} and {service} is {service.family}, which forwarding "
            f"{dest.forwarding} cannot translate; give an {service.family} address, or set forwarding to tunnel"
        )
    if dest.forwarding == "tunnel":
        _check_tunnel(dest)


def _check_tunnel(dest: Dest) -> None:
    if dest.tunnel_type == "gue" and not dest.tunnel_port:
        raise PocketError(
            f"tunnel_type of dest {dest.key} is gue, which needs the real server's UDP port for it; "
            "set tunnel_port from 1 to 65535"
        )
    if dest.tunnel_type != "gue" and dest.tunnel_port:
        raise PocketError(
            f"tunnel_port of dest {dest.key} is {dest.tunnel_port}, but only tunnel_type gue has a port, "
            f"and tunnel_type is {dest.tunnel_type}; leave tunnel_port out"
        )
    allowed = {"ipip": ("none",), "gre": ("none", "full")}.get(dest.tunnel_type or "", ("none", "full", "remote"))
    if dest.tunnel_checksum not in allowed:
        raise PocketError(
            f"tunnel_checksum of dest {dest.key} is {dest.tunnel_checksum}, but tunnel_type {dest.tunnel_type} "
            f"knows {' and '.join(allowed)} only"
        )


def _check_port(port: int | None) -> None:
    if port is None or not 0 <= port <= 65535:
        raise PocketError(
            f"port is {port}; give a port from 1 to 65535 (0 stands for all ports of a persistent service)"
        )


def _check_reachable(owner: str, text: str) -> None:
    kind = None
    if not any(_packed(text)):
        kind = "stands for no host"
    elif _packed(text)[0] in (_MULTICAST6 if ":" in text else _MULTICAST4):
        kind = "is a multicast address"
    elif text == "255.255.255.255":
        kind = "is the broadcast address"
    if kind:
        raise PocketError(f"address of {owner} is {text}, which {kind}; give the address of one host")


# By their bytes: ipaddress would take most of the time that a large table is parsed in.
_MULTICAST4 = range(224, 240)
_MULTICAST6 = (0xFF,)
_LINK_LOCAL = {bytes((0xFE, second)) for second in range(0x80, 0xC0)}


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
