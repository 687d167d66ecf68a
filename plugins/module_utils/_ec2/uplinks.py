# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network's way out through an interface of the host, which is made a port of its bridge. PRIVATE to the collection.

libvirt has no word for that in a network whose bridge it makes itself, so a hook does it whenever the network starts.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .._errors import PocketError

__all__ = ["HOOKS", "Interface", "Uplinks", "hook_text", "hooked"]

HOOKS = Path("/etc/libvirt/hooks/network.d")
_ROUTES = Path("/proc/net/route")
_RTF_ADDRCONF = 0x40000
_ATTACHES = re.compile(r"^exec ip link set dev (\S+) master ", re.MULTILINE)
_HALF = "# A run was killed while it wrote another.\n"


@dataclass(frozen=True)
class Interface:
    """An interface of the host.

    :param addresses: those with which others reach the host, not those that are good on the link alone.
    :param master: the bridge or bond that it is a port of, none when it is free.
    :param kind: what the kernel calls it, such as C(bridge) or C(veth); of others the layer below it, such as C(ether).
    :param loses_routes: whether it has IPv6 routes that routers announced, which the kernel drops once it forwards.
    """

    name: str
    addresses: tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...] = ()
    master: str | None = None
    kind: str = field(default="ether")
    loses_routes: bool = False


def hook_text(network: str, uplink: str, bridge: str) -> str:
    """Return the hook, which libvirt calls with the network's name and what happens to it."""
    return f"""#!/bin/sh
# Makes {uplink} a port of {bridge} when the libvirt network {network} starts.
# Kept by the Ansible module pocket.cloud.ec2like_network; what is changed here by hand does not stay.
[ "$1 $2" = "{network} started" ] || exit 0
exec ip link set dev {uplink} master {bridge} up
"""


def hooked(hook: str | None) -> str | None:
    """Return the uplink that the text of a hook attaches, if there is one."""
    found = _ATTACHES.search(hook or "")
    return found[1] if found else None


class Uplinks:
    """The interfaces of this host, and libvirt's hooks in the directory `hooks`."""

    def __init__(self, hooks: Path = HOOKS, proc: Path = Path("/proc")) -> None:
        self._hooks = hooks
        self._proc = proc

    def interfaces(self) -> dict[str, Interface]:
        """Return all interfaces by name."""
        found = json.loads(_ip("look at the interfaces of this host", "-json", "-details", "address", "show"))
        losing = _losing_routes(self._proc)
        return {item["ifname"]: _interface(item, losing) for item in found if "ifname" in item}

    def routes(self) -> dict[ipaddress.IPv4Network, str]:
        """Return the host's routes, each with its interface, from where libvirt looks for them, too."""
        try:
            lines = _ROUTES.read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # no IPv4 here: nothing that could be met
            return {}
        return dict(_route(line.split()) for line in lines if line.strip())

    def attach(self, uplink: str, bridge: str) -> None:
        """Make the interface a port of the bridge, at once."""
        _ip(f"attach the uplink {uplink} to the bridge {bridge}", "link", "set", "dev", uplink, "master", bridge, "up")

    def detach(self, uplink: str) -> None:
        """Set the interface free."""
        _ip(f"detach the uplink {uplink}", "link", "set", "dev", uplink, "nomaster")

    def _hook(self, network: str) -> Path:
        return self._hooks / f"pocket-cloud-{network}"

    def _incoming(self, network: str) -> Path:
        """Return what the hook is called while it is written, beside the directory whose programs libvirt runs."""
        return self._hooks.parent / f".{self._hook(network).name}"

    def hook(self, network: str) -> str | None:
        """Return the network's hook, none where it has none; not as it was wanted where another is half written."""
        half = _HALF if self._incoming(network).exists() else None
        try:
            return self._hook(network).read_text(encoding="utf-8") + (half or "")
        except FileNotFoundError:
            return half
        except OSError as error:
            raise PocketError(f"Cannot read the hook {self._hook(network)}: {error.strerror or error}") from error

    def any_hook(self) -> bool:
        """Whether there is a hook of networks, anybody's; libvirt that started without one calls none made later."""
        found = [self._hooks.with_suffix(""), *(self._hooks.iterdir() if self._hooks.is_dir() else ())]
        return any(one.is_file() and os.access(one, os.X_OK) for one in found)

    def write_hook(self, network: str, text: str | None) -> None:
        """Write the network's hook, whole or not at all; none removes it."""
        path, incoming = self._hook(network), self._incoming(network)
        try:
            if text is None:
                path.unlink(missing_ok=True)
                incoming.unlink(missing_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            incoming.write_text(text, encoding="utf-8")
            incoming.chmod(0o755)  # libvirt runs it, and it holds no secret
            incoming.replace(path)
        except OSError as error:
            raise PocketError(f"Cannot write the hook {path}: {error.strerror or error}") from error


def _losing_routes(proc: Path) -> set[str]:
    """Return the interfaces for which libvirt starts no network with IPv6; it looks at the same files."""
    try:
        routes = (proc / "net/ipv6_route").read_text(encoding="ascii").splitlines()
    except OSError:  # a kernel without IPv6
        return set()
    words = [line.split() for line in routes]
    announced = {word[9] for word in words if len(word) == 10 and int(word[8], 16) & _RTF_ADDRCONF}
    usual = _accept_ra(proc, "all")
    return {name for name in announced if (_accept_ra(proc, name) or usual) == 1}


def _accept_ra(proc: Path, interface: str) -> int:
    try:
        return int((proc / "sys/net/ipv6/conf" / interface / "accept_ra").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _interface(item: Mapping[str, object], losing: set[str]) -> Interface:
    addresses = []
    listed = item.get("addr_info")
    for entry in listed if isinstance(listed, list) else []:
        if entry.get("scope") != "link" and "local" in entry:
            addresses.append(ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}"))
    master = item.get("master")
    about = item.get("linkinfo")
    kind = about.get("info_kind") if isinstance(about, Mapping) else None
    kind = kind or item.get("link_type")
    name = str(item["ifname"])
    return Interface(name, tuple(addresses), str(master) if master else None, str(kind), name in losing)


def _route(words: list[str]) -> tuple[ipaddress.IPv4Network, str]:
    """Read interface, destination and mask of a line; the numbers are written as this processor has them in memory."""
    destination, mask = int(words[1], 16).to_bytes(4, sys.byteorder), int(words[7], 16)
    return ipaddress.IPv4Network((destination, f"{mask:b}".count("1"))), words[0]


def _ip(what: str, *arguments: str) -> str:
    try:
        # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PocketError(
            f"Cannot {what}: the program ip is not on this host; install it, on Debian and Ubuntu with: "
            "apt install iproute2"
        ) from error
    if done.returncode:
        raise PocketError(f"Cannot {what}: {' '.join(done.stderr.split()) or f'exit status {done.returncode}'}")
    return done.stdout
