# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a running DHCP server of reservations, past libvirt. PRIVATE to the collection.

libvirt keeps the reservations in the network's definition. When it changes those of a running network, too, it takes
all of the network's firewall rules away and puts them back, by some 40 programs: half a second each, during which
nothing is forwarded. So dnsmasq watches a directory, by an option in the network's definition, and a reservation is a
file in there. A network that was started without that option, and another's, libvirt changes itself.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import PocketError
from .model import network_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .networks import Host, Network

__all__ = [
    "WATCH",
    "clear",
    "discard",
    "dnsmasq_options",
    "forget",
    "make",
    "remove",
    "started_with",
    "tell",
    "untold",
    "watched",
]

# dnsmasq may be confined to this directory of libvirt's.
_PLACE = "/var/lib/libvirt/dnsmasq"
_OPTION = "dhcp-hostsdir="
WATCH = ("dhcp-range=", "dhcp-no-override", "dhcp-authoritative", _OPTION)
_DIRECTORY = re.compile(f"value=['\"]{_OPTION}({_PLACE}/[0-9a-f-]+\\.pocket)['\"]")
_HOST = re.compile(r"<host mac=['\"]([0-9A-Fa-f:]+)['\"]")
_PIDS = Path("/run/libvirt/network")


def dnsmasq_options(network: Network) -> list[str]:
    """Return the options with which the DHCP server of `network` watches the directory."""
    if network.interface is None:
        return []
    # libvirt turns DHCP on for a network with a range or with reservations at its start, and there may be neither.
    served = f"dhcp-range={network.interface.ip},static,{network.interface.netmask}"
    return [served, "dhcp-no-override", "dhcp-authoritative", f"{_OPTION}{_directory(network.name)}"]


def _directory(network: str) -> str:
    return f"{_PLACE}/{network_uuid(network)}.pocket"


def watched(live_xml: str) -> Path | None:
    """Return the directory that the DHCP server of a running network watches; none where it watches none."""
    found = _DIRECTORY.search(live_xml)
    directory = Path(found[1]) if found else None
    return directory if directory and directory.is_dir() else None


def started_with(live_xml: str) -> set[str]:
    """Return the MAC addresses of the reservations of which libvirt itself told a running network's DHCP server."""
    return {mac.lower() for mac in _HOST.findall(live_xml)}


def untold(live_xml: str, hosts: Sequence[Host]) -> frozenset[str]:
    """Return the MAC addresses of those of a running network's reservations that its DHCP server was not told of.

    A run was killed between the definition and the file, the disk was full, or somebody removed the file.
    """
    directory = watched(live_xml)
    if directory is None:
        return frozenset()
    try:
        files = set(os.listdir(directory))
    except OSError:  # it is gone just now
        return frozenset()
    started = started_with(live_xml)
    return frozenset(
        host.mac_address
        for host in hosts
        if host.address.version == 4 and host.mac_address not in started and _file(directory, host).name not in files
    )


def tell(directory: Path, host: Host) -> None:
    """Have dnsmasq know the reservation."""
    path = _file(directory, host)
    incoming = _incoming(path)
    try:
        # dnsmasq, a user of its own, reads it when it gets its name, and passes over names that begin with a dot.
        with incoming.open("w", encoding="ascii") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(f"{host.mac_address},{host.address},{host.name}\n")
        incoming.rename(path)
    except OSError as error:
        raise PocketError(f"Cannot write the reservation {path}: {error.strerror or error}") from error


def forget(directory: Path, network: str, host: Host) -> None:
    """Have dnsmasq forget the reservation; done already is well."""
    path = _file(directory, host)
    try:
        for one in (_incoming(path), path):
            with suppress(FileNotFoundError):
                one.unlink()
    except OSError as error:
        raise PocketError(f"Cannot remove the reservation {path}: {error.strerror or error}") from error
    _read_again(network)  # without a file, too: a run may have been killed just after it took that away


def _file(directory: Path, host: Host) -> Path:
    return directory / host.mac_address.replace(":", "")


def _incoming(path: Path) -> Path:
    """Return what the file is called while it is written: by its name, what a killed run left of it is found."""
    return path.with_name(f".{path.name}")


def _read_again(network: str) -> None:
    """Have dnsmasq read all reservations again: it takes no notice of a file that goes."""
    with suppress(OSError, ValueError):
        pid = int((_PIDS / f"{network}.pid").read_text(encoding="ascii"))
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "dnsmasq":
            os.kill(pid, signal.SIGHUP)


def make(xml: str) -> None:
    """Make the directory of the network whose definition is `xml`: without it, its DHCP server does not start."""
    found = _DIRECTORY.search(xml)
    if found:
        try:
            Path(found[1]).mkdir(parents=True, mode=0o755, exist_ok=True)
        except OSError as error:
            raise PocketError(f"Cannot make the directory {found[1]}: {error.strerror or error}") from error


def clear(xml: str) -> None:
    """Make the directory empty, before a start: dnsmasq then knows what the definition has."""
    remove(xml)
    make(xml)


def remove(xml: str) -> None:
    """Take the directory away."""
    found = _DIRECTORY.search(xml)
    if found:
        with suppress(OSError):
            shutil.rmtree(found[1])


def discard(network: str) -> None:
    """Take away the directory that the network has, or had when it served DHCP."""
    with suppress(OSError):
        shutil.rmtree(_directory(network))
