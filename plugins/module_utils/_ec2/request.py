# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user asked for, and what there is: the two sides of a plan of instances. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import PocketError
from .block_devices import Shelf
from .capacity import Capacity
from .filters import Filters
from .images import Image
from .keys import KeyPair
from .lost_files import LostFile
from .machine import OPTIONS, Abilities
from .mappings import Mapped, RootDisk
from .model import Instance
from .network_filters import Enforcement
from .networks import Address, Lease, Network
from .orphans import Orphan
from .security_groups import SecurityGroup
from .volumes import Volume

__all__ = ["DEFAULT_NETWORK", "Current", "Drawn", "InterfaceRequest", "Launch", "Request", "Template"]

DEFAULT_NETWORK = "pocket"


@dataclass(frozen=True)
class Drawn:
    """What is random or read from a clock, for as many new instances as there may be, with some ids to spare."""

    instance_ids: tuple[str, ...]
    reservation_id: str
    launch_time: str


@dataclass(frozen=True)
class InterfaceRequest:
    """What is asked of one interface. `parameter` is what its options are called in messages, before their names."""

    network: str
    private_ip_address: str | None = None
    ipv6_address: str | None = None
    parameter: str = ""


@dataclass(frozen=True)
class Template:
    """What new instances are made from. Size is by `instance_type`, or by `vcpus` and `memory_mib`."""

    image_id: str | None = None
    instance_type: str | None = None
    vcpus: int | None = None
    memory_mib: int | None = None
    network: str | None = None
    private_ip_address: str | None = None
    ipv6_address: str | None = None
    network_interfaces: Sequence[Mapping[str, Any]] | None = None
    client_token: str | None = None
    termination_protection: bool | None = None
    instance_initiated_shutdown_behavior: str | None = None
    restart_policy: str | None = None
    user_data: str | None = field(default=None, repr=False)
    key_name: str | None = None
    security_groups: tuple[str, ...] | None = None
    source_dest_check: bool | None = None
    video: str = "none"
    volumes: tuple[Mapped, ...] | None = None
    root: RootDisk = field(default_factory=RootDisk)
    machine_type: str | None = None
    firmware: str | None = None
    secure_boot: bool | None = None
    tpm: bool | None = None
    cpu_model: str | None = None
    huge_pages: bool | None = None

    @property
    def interfaces(self) -> tuple[InterfaceRequest, ...]:
        """What is asked of each interface."""
        if self.network_interfaces is None:
            return (InterfaceRequest(self.network or DEFAULT_NETWORK, self.private_ip_address, self.ipv6_address),)
        return tuple(
            InterfaceRequest(
                one.get("network") or DEFAULT_NETWORK,
                one.get("private_ip_address"),
                one.get("ipv6_address"),
                f"network_interfaces[{index}].",
            )
            for index, one in enumerate(self.network_interfaces)
        )

    @property
    def machine(self) -> dict[str, Any]:
        """What is stated about the machine."""
        return {name: getattr(self, name) for name in OPTIONS}


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    :param state: C(present), C(running), C(stopped), C(restarted) or C(terminated).
    :param instance_ids: the instances meant, none where they are selected otherwise.
    :param filters: what selects instances, none for those that have all of `tags`.
    :param count: how many to launch in any case.
    :param min_count: how few may be launched; as many are as the host has room for, up to `max_count`.
    :param exact_count: how many there shall be of those selected.
    :param termination_policy: which of too many go first: C(newest) or C(oldest).
    :param allow_stop: whether instances may be stopped and started again for changes that need it.
    :param tags: with the tag C(Name).
    :param hibernate: whether those to be stopped are to go on from where they were.
    """

    state: str
    drawn: Drawn
    template: Template = field(default_factory=Template)
    instance_ids: tuple[str, ...] | None = None
    filters: Filters | None = None
    count: int | None = None
    min_count: int | None = None
    max_count: int | None = None
    exact_count: int | None = None
    termination_policy: str = "newest"
    allow_stop: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    purge_tags: bool = False
    hibernate: bool = False

    @property
    def counted(self) -> bool:
        """Whether a number of instances is to be launched whatever there is."""
        return self.count is not None or self.max_count is not None


@dataclass(frozen=True)
class Current:
    """What there is.

    :param instances: all of ours on the host, the oldest first, with the remains of runs that died.
    :param terminated: the terminated instances that are still known.
    :param buried: the ids of these, and of those whose remains alone were taken away.
    :param orphans: what is left of instances that have no domain, of those that the request names.
    :param answered: addresses that machines which are no instances answer for, and the MAC address of each.
    :param image: the image asked for, or the error that says why there is none, or none where none was asked for.
    :param key_pairs: those of the store, by name; read only where one was stated.
    :param groups: the security groups of the store, by id.
    :param filters: the definitions of our network filters, by name; none where libvirt knows no filters.
    :param enforcement: what of them the host can enforce.
    :param accel: C(kvm) or C(tcg): what new instances run on.
    :param no_kvm: why KVM, which was asked for, cannot be had; empty where it can, or was not asked for.
    :param abilities: what machines of the stated type can have; read only where something is stated about them.
    :param capacity: what the host has room for, none where nothing is to be started.
    :param token: the record of the request's client token, if it was used before.
    :param shelf: what the disks that were stated are planned with.
    :param lost: the files that instances lack which may be started, by their ids.
    """

    instances: tuple[Instance, ...] = ()
    terminated: tuple[Instance, ...] = ()
    buried: frozenset[str] = frozenset()
    orphans: Mapping[str, Orphan] = field(default_factory=dict)
    networks: tuple[Network, ...] = ()
    leases: tuple[Lease, ...] = ()
    answered: Mapping[Address, str] = field(default_factory=dict)
    image: Image | PocketError | None = None
    own_types: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    key_pairs: Mapping[str, KeyPair] = field(default_factory=dict)
    groups: Mapping[str, SecurityGroup] = field(default_factory=dict)
    filters: Mapping[str, str] | None = None
    enforcement: Enforcement = field(default_factory=Enforcement)
    accel: str = "tcg"
    no_kvm: str = ""
    abilities: Abilities | None = None
    capacity: Capacity | None = None
    token: Mapping[str, Any] | None = None
    shelf: Shelf = field(default_factory=Shelf)
    lost: Mapping[str, Sequence[LostFile]] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    """A new instance, the image it starts from, what else was stated about it, and the volumes that it gets."""

    instance: Instance
    image: Image
    template: Template = field(default_factory=Template, repr=False)
    volumes: tuple[Volume, ...] = ()

    def numbered(self, index: int) -> Launch:
        """Return it with the launch index `index`."""
        return replace(self, instance=replace(self.instance, ami_launch_index=index))
