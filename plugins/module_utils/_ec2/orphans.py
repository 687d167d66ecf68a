# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of instances whose domains somebody undefined. Pure. PRIVATE to the collection.

No run leaves such: the domain is made first and goes last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .interfaces import mac_address
from .networks import Host, Network

__all__ = ["Orphan", "orphans"]

_NAME = re.compile(r"(i-[0-9a-f]{17})(?:-([1-9]))?")


@dataclass(frozen=True)
class Orphan:
    """What is left of one instance: the directory with its disk and its seed, and its reservations, each of a network.

    Who undefined the domain may want the disk, so nothing of it goes unless somebody says so.
    """

    instance_id: str
    directory: Path | None = None
    reservations: tuple[tuple[str, Host], ...] = ()

    def printable(self) -> dict[str, Any]:
        """Return what a diff and a module show of it."""
        reserved = [{"network": network, "address": str(host.address)} for network, host in self.reservations]
        return {"directory": str(self.directory) if self.directory else None, "reservations": reserved}

    def __str__(self) -> str:
        reserved = [f"the reservation of {host.address} in {network}" for network, host in self.reservations]
        return " and ".join(([str(self.directory)] if self.directory else []) + reserved)


def orphans(
    directories: Iterable[Path],
    networks: Iterable[Network],
    known: Collection[str],
    mentioned: Callable[[Collection[str]], Collection[str]],
) -> dict[str, Orphan]:
    """Return what is left of instances, by their ids.

    :param directories: those of the store's instances.
    :param known: the ids of the instances there are.
    :param mentioned: which of some ids a domain mentions: one that lost its metadata, was renamed or made meanwhile.
    """
    named = {path.name: path for path in directories}
    reserved: dict[str, list[tuple[str, Host]]] = {}
    for network in networks:
        for host in network.hosts:
            match = _NAME.fullmatch(host.name)
            # A name of that form alone does not make it one of ours.
            if match and host.mac_address == mac_address(match[1], int(match[2] or 0)):
                reserved.setdefault(match[1], []).append((network.name, host))
    left = sorted({*named, *reserved} - set(known))
    there = mentioned(left) if left else ()
    return {one: Orphan(one, named.get(one), tuple(reserved.get(one, ()))) for one in left if one not in there}
