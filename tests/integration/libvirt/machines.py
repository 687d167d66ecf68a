# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on a bridge of the private host that cost nothing: network namespaces, with DHCP clients of their own."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import PYTHON, Host, wait_until

# The DHCP client of the tiny guest; what it learned it puts into the environment of its script.
TELL = """#!/bin/sh
[ "$1" = bound ] || exit 0
echo "$ip"; echo "$router"; echo "$dns"
"""

# Asks once for an address, with rapid commit, by the DUID of the card's MAC address; prints those that are granted.
DHCP6 = r"""
import ipaddress, socket, struct, sys
card, mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
option = lambda code, data: struct.pack("!HH", code, len(data)) + data
asked = b"\x01abc" + option(1, b"\0\3\0\1" + mac) + option(14, b"") + option(8, b"\0\0")
asked += option(3, struct.pack("!III", 7, 0, 0)) + option(6, b"\0\x17")
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(("::", 546))
server.settimeout(float(sys.argv[3]))
server.sendto(asked, ("ff02::1:2", 547, 0, socket.if_nametoindex(card)))
def options(data):
    while len(data) >= 4:
        code, size = struct.unpack("!HH", data[:4])
        yield code, data[4:4 + size]
        data = data[4 + size:]
try:
    answer = server.recv(2048)
except socket.timeout:
    sys.exit(0)
for code, data in options(answer[4:]):
    if code == 3:
        for inner, value in options(data[12:]):
            if inner == 5:
                print(ipaddress.IPv6Address(value[:16]))
"""


class Machine:
    """A machine named `name` with one card, `mac` its address, on a bridge of the host's."""

    def __init__(self, host: Host, name: str, bridge: str, mac: str, busybox: Path) -> None:
        self.host = host
        self.name = name
        self.mac = mac
        self._busybox = str(busybox)
        host.run(["ip", "netns", "add", name])
        host.run(["ip", "link", "add", f"{name}-port", "type", "veth", "peer", "name", "card", "netns", name])
        host.run(["ip", "link", "set", f"{name}-port", "master", bridge, "up"])
        self.run("ip", "link", "set", "card", "address", mac, "up")
        self.run("ip", "link", "set", "lo", "up")

    def remove(self) -> None:
        self.host.run(["ip", "link", "del", f"{self.name}-port"], check=False)
        self.host.run(["ip", "netns", "del", self.name], check=False)

    def run(self, *command: str, check: bool = True) -> str:
        return self.host.run(["ip", "netns", "exec", self.name, *command], check=check).stdout

    def address(self, address: str) -> None:
        """Take an address without asking."""
        self.run("ip", "address", "add", address, "dev", "card", "nodad")

    def dhcp(self, tries: int = 4) -> list[str]:
        """Ask so often for an IPv4 address, a second apart.

        Returns it, the gateways and the name servers, or nothing where nobody answers.
        """
        script = self.host.path("/run/tell")
        script.write_text(TELL)
        script.chmod(0o755)
        client = (self._busybox, "udhcpc", "-i", "card", "-f", "-n", "-q", "-s", "/run/tell")
        return self.run(*client, "-t", str(tries), "-T", "1", check=False).splitlines()

    def dhcp6(self, timeout: float = 5) -> list[str]:
        """Ask for an IPv6 address by the DUID of the MAC address; return those granted."""
        own = ("ip", "-6", "address", "show", "dev", "card", "scope", "link")
        wait_until("the card's own address", lambda: "fe80" in self.run(*own) and "tentative" not in self.run(*own))
        return self.run(PYTHON, "-I", "-c", DHCP6, "card", self.mac, str(timeout)).split()
