# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many instances a host has room for, under the operator's policy. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._errors import PocketError
from .model import Instance

__all__ = ["Capacity", "HostSize", "Policy", "Room", "policy_of"]

Size = tuple[int, int]  # vCPUs, MiB
_MOST = 10**9


@dataclass(frozen=True)
class HostSize:
    """What a host has: processors, and MiB of memory; `others_mib` of it have the running domains of others."""

    cpus: int
    memory_mib: int
    others_mib: int = 0


@dataclass(frozen=True)
class Policy:
    """How much of a host running instances may have.

    :param memory_overcommit: times the host's memory; 1 is all of it and no more.
    :param memory_reserved_mib: what the host keeps for itself, in MiB.
    :param vcpus_per_cpu: vCPUs for each of the host's processors; none for any number.
    :param boots_at_once: how many emulated guests may boot at a time; none for three for every two processors.
    """

    memory_overcommit: float = 1.0
    memory_reserved_mib: int = 256
    vcpus_per_cpu: float | None = None
    boots_at_once: int | None = None


@dataclass(frozen=True)
class Room:
    """What running instances may have in all: MiB, and vCPUs (none for any number)."""

    memory_mib: int
    vcpus: int | None = None

    def left(self, running: Iterable[Size]) -> Room:
        """Return what is left beside those that run."""
        sizes = list(running)
        vcpus = None if self.vcpus is None else self.vcpus - sum(size[0] for size in sizes)
        return Room(self.memory_mib - sum(size[1] for size in sizes), vcpus)

    def fits(self, size: Size) -> int:
        """Return how many more of that size there is room for."""
        by_memory = max(0, self.memory_mib) // size[1]
        return by_memory if self.vcpus is None else min(by_memory, max(0, self.vcpus) // size[0])

    def __str__(self) -> str:
        vcpus = "" if self.vcpus is None else f"{max(0, self.vcpus)} vCPUs and "
        return f"{vcpus}{max(0, self.memory_mib)} MiB"


@dataclass(frozen=True)
class Capacity:
    """What a host has room for, and where its operator says so."""

    host: HostSize
    policy: Policy = Policy()
    source: str = "/var/lib/pocket-cloud/capacity.json"

    @property
    def room(self) -> Room:
        """What running instances may have in all."""
        memory = int(self.host.memory_mib * self.policy.memory_overcommit)
        per_cpu = self.policy.vcpus_per_cpu
        vcpus = None if per_cpu is None else int(self.host.cpus * per_cpu)
        return Room(memory - int(self.policy.memory_reserved_mib) - self.host.others_mib, vcpus)

    @property
    def boots_at_once(self) -> int:
        """How many emulated guests may boot at a time: 3 to 4 were the quickest for 40 on 2 processors."""
        return int(self.policy.boots_at_once or max(2, self.host.cpus * 3 // 2))

    def check_starts(self, starts: Iterable[Instance], running: Iterable[Instance]) -> None:
        """Refuse starts that there is no room for."""
        wanted = [(one.vcpus, one.memory_mib) for one in starts]
        left = self.room.left((one.vcpus, one.memory_mib) for one in running)
        after = left.left(wanted)
        if wanted and (after.memory_mib < 0 or (after.vcpus is not None and after.vcpus < 0)):
            vcpus, memory = sum(size[0] for size in wanted), sum(size[1] for size in wanted)
            raise self.insufficient(f"{len(wanted)} stopped instances of {vcpus} vCPUs and {memory} MiB in all", left)

    def insufficient(self, wanted: str, left: Room) -> PocketError:
        """Return the error that `wanted`, which is to run, finds only `left`."""
        return PocketError(
            f"{wanted} are to run, and this host has room for {left}; terminate or stop others, ask for fewer or "
            f"smaller ones, or let the host take more by memory_overcommit or vcpus_per_cpu in {self.source}",
            code="InsufficientInstanceCapacity",
        )


def policy_of(values: Any, source: str) -> Policy:
    """Return the policy that the file `source` states; PocketError names what in it cannot be."""
    if not isinstance(values, dict):
        raise PocketError(f"The capacity policy in {source} is not a mapping of names to numbers")
    least = {"memory_overcommit": 0.01, "memory_reserved_mib": 0, "vcpus_per_cpu": 0.01, "boots_at_once": 1}
    for name, value in values.items():
        if name not in least:
            raise PocketError(f"The capacity policy in {source} has {name!r}; known are {', '.join(least)}")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = number and least[name] <= value <= _MOST
        if not fits and not (value is None and name in ("vcpus_per_cpu", "boots_at_once")):
            raise PocketError(f"The capacity policy in {source} has {name}: {value!r}; give {least[name]} to {_MOST}")
    return Policy(**values)
