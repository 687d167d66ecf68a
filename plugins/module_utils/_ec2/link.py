# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked and told on the links of this host: who has an address, and that a lease is over. PRIVATE.

Nothing here raises an error: where a link cannot be used, nothing was learned from it.
"""

from __future__ import annotations

import ipaddress
import json
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterable
from typing import Any

from .networks import Address

__all__ = ["host_addresses", "neighbours", "tell_of_release", "who_has"]

# States of a neighbour that nobody has answered for.
_UNKNOWN = {"FAILED", "INCOMPLETE", "NOARP", "NONE"}

_ETHERTYPE_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST = 1, 0x0800, 1
_TRIES = 2

_DHCP_SERVER_PORT = 67
_DHCP_COOKIE = b"\x63\x82\x53\x63"
_DHCP_LENGTH = 300  # as BOOTP has it; shorter ones may be dropped


def neighbours() -> dict[Address, str]:
    """Return the MAC address of each machine in the host's neighbour table."""
    return {
        ipaddress.ip_address(entry["dst"]): entry["lladdr"].lower()
        for entry in _ip("neighbour")
        if entry.get("lladdr") and not _UNKNOWN & set(entry.get("state", []))
    }


def host_addresses() -> dict[Address, str]:
    """Return the addresses of the host itself, each with the MAC address of its interface."""
    return {
        ipaddress.ip_address(address["local"]): str(item.get("address", "")).lower()
        for item in _ip("address")
        for address in item.get("addr_info", [])
        if "local" in address
    }


def _ip(what: str) -> list[Any]:
    try:
        # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
        done = subprocess.run(["ip", "-json", what, "show"], capture_output=True, text=True, check=False)
        found = json.loads(done.stdout or "[]")
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def who_has(interface: str, addresses: Iterable[ipaddress.IPv4Address], timeout: float = 0.4) -> dict[Address, str]:
    """Ask on the link behind `interface` for the addresses; return the MAC address of each that somebody has.

    The question is a probe (RFC 5227): it names no asker, so that it changes nobody's table, and a host without an
    address on that link can ask it, too.
    """
    wanted = {address.packed: address for address in addresses}
    found: dict[Address, str] = {}
    if not wanted:
        return found
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE_ARP)) as link:
            link.bind((interface, _ETHERTYPE_ARP))
            mine = link.getsockname()[4]
            for _try in range(_TRIES):
                for packed, address in wanted.items():
                    if address not in found:
                        link.send(_question(mine, packed))
                _listen(link, wanted, found, timeout / _TRIES)
    except OSError:
        pass  # no such interface on this host, or no right to ask
    return found


def _question(mine: bytes, wanted: bytes) -> bytes:
    arp = _ARP.pack(_ETHERNET, _IPV4, 6, 4, _REQUEST, mine, bytes(4), bytes(6), wanted)
    return _BROADCAST + mine + struct.pack("!H", _ETHERTYPE_ARP) + arp


def _listen(
    link: socket.socket, wanted: dict[bytes, ipaddress.IPv4Address], found: dict[Address, str], timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while len(found) < len(wanted):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([link], [], [], left)[0]:
            return
        frame = link.recv(128)
        if len(frame) < 14 + _ARP.size:
            continue
        *_head, mac, sender, _target_mac, _target = _ARP.unpack_from(frame, 14)
        if sender in wanted:
            found[wanted[sender]] = ":".join(f"{octet:02x}" for octet in mac)


def tell_of_release(interface: str, server: ipaddress.IPv4Address, mac: str, address: Address) -> None:
    """Tell the DHCP server on `interface` that the machine gives up its lease, as the machine itself would.

    A guest that is taken away does not do that, and its address could not be given to another until the lease ended.
    """
    octets = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack(
        "!BBBBIHH4s12s", 1, 1, 6, 0, int(time.monotonic() * 1000) & 0xFFFFFFFF, 0, 0, address.packed, b""
    )
    options = b"\x35\x01\x07" + b"\x36\x04" + server.packed + b"\xff"
    message = head + octets.ljust(208, b"\0") + _DHCP_COOKIE + options
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
            # Only so does the server see it come from that interface, and not from the loopback.
            talk.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            talk.sendto(message.ljust(_DHCP_LENGTH, b"\0"), (str(server), _DHCP_SERVER_PORT))
    except OSError:
        pass  # the address stays leased until the lease ends, and is not given to anybody until then
