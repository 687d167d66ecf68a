# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual addresses of a director, set by ip(8). PRIVATE to the collection.

Which addresses were added here is remembered in a file that lives as long as the addresses do, until the next boot:
one that is no more declared is removed, one that somebody else added never is.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import PocketError

__all__ = ["Address", "HostAddresses", "parse_address"]

_INTERFACE = re.compile(r"[^\s/:]{1,15}")


@dataclass(frozen=True, order=True)
class Address:
    """An address with its prefix length in canonical form, and the interface that has it."""

    address: str
    interface: str

    def declaration(self) -> dict[str, str]:
        """It in the options' words."""
        return {"address": self.address, "interface": self.interface}

    def __str__(self) -> str:
        return f"address {self.address} on {self.interface}"


def parse_address(params: Mapping[str, Any]) -> Address:
    """A virtual address as an option or a declaration gives it."""
    text, interface = str(params.get("address", "")), str(params.get("interface", ""))
    try:
        address = ipaddress.ip_interface(text)
    except ValueError:
        raise PocketError(
            f"address is {text!r}; give an address with its prefix length, such as 192.0.2.10/32 or 2001:db8::10/128"
        ) from None
    if address.ip.is_unspecified or address.ip.is_multicast:
        raise PocketError(f"address is {text!r}, which no interface can have; give the address of one host")
    if not _INTERFACE.fullmatch(interface):
        raise PocketError(f"interface is {interface!r}; give the name of a network interface, such as eth0")
    return Address(address.with_prefixlen, interface)


class HostAddresses:
    """The addresses on the interfaces of one network namespace."""

    def __init__(self, namespace: str | None = None) -> None:
        self._command = ["ip", *(["-netns", namespace] if namespace else [])]

    def read(self) -> frozenset[Address]:
        """All addresses of all interfaces."""
        found = set()
        for link in json.loads(self._run(["-json", "address", "show"], "read the addresses of this host") or "[]"):
            for entry in link.get("addr_info", []):
                if "local" in entry:
                    address = ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}")
                    found.add(Address(address.with_prefixlen, link["ifname"]))
        return frozenset(found)

    def require_interfaces(self, names: Iterable[str]) -> None:
        """Refuse interfaces that do not exist."""
        links = json.loads(self._run(["-json", "link", "show"], "read the interfaces of this host") or "[]")
        present = [link["ifname"] for link in links]
        for name in sorted(set(names)):
            if name not in present:
                raise PocketError(
                    f"interface is {name!r}, which this host does not have; give one of {', '.join(present)}"
                )

    def add(self, address: Address) -> None:
        """Add an address. IPv6 does not look for a duplicate: a virtual address must answer at once."""
        option = ["nodad"] if ":" in address.address else []
        arguments = ["address", "add", address.address, "dev", address.interface, *option]
        self._run(arguments, f"add {address}")

    def remove(self, address: Address) -> None:
        """Remove an address."""
        self._run(["address", "delete", address.address, "dev", address.interface], f"remove {address}")

    def _run(self, arguments: Sequence[str], attempt: str) -> str:
        import subprocess  # a host without virtual addresses needs none

        try:
            # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
            done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise PocketError(f"Could not {attempt}: the program ip is missing; install the package iproute2") from None
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise PocketError(f"Could not {attempt}: ip says: {reason}; it needs root (become: true)")
        return done.stdout
