# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether libvirt kept what was asked of instances and their disks. Pure. PRIVATE to the collection."""

from __future__ import annotations

from .._errors import PocketError
from .block_devices import DiskChange, Shelf, missing_disk
from .model import LAUNCHING, Instance
from .orphans import Orphan
from .request import Current, Launch

__all__ = ["verify_disks", "verify_swept", "verify_there"]

# What libvirt must have kept of what was asked.
_KEPT = (
    "instance_type",
    "vcpus",
    "memory_mib",
    "tags",
    "interfaces",
    "machine",
    "user_data_sha256",
    "termination_protection",
    "shutdown_behavior",
    "restart_policy",
    "security_groups",
    "source_dest_check",
)


def verify_disks(asked: Launch | DiskChange, found: Instance, shelf: Shelf) -> None:
    """Raise where a disk is not attached, or is not as large, as was asked."""
    volumes = asked.volumes if isinstance(asked, Launch) else (asked.volume,) if asked.volume else ()
    missing = missing_disk(volumes, found) if getattr(asked, "action", "") != "make" else None
    if missing:
        raise PocketError(
            f"volumes: {missing.label} was asked for the instance {found.label}, but libvirt has not attached it",
            changed=True,
        )
    for volume in volumes:
        there = shelf.volumes.get(volume.volume_id)
        if there is None or there.size_gib != volume.size_gib:
            found_size = f"{there.size_gib} GiB" if there else "no such volume"
            raise PocketError(
                f"volumes: {volume.size_gib} GiB were asked for {volume.label}, but there is {found_size}", changed=True
            )
    size = asked.size_gib if isinstance(asked, DiskChange) and asked.action == "grow root" else None
    if size is not None and shelf.root_sizes.get(found.instance_id) != size:
        has = shelf.root_sizes.get(found.instance_id)
        raise PocketError(f"root_size_gib: {size} was asked for {found.label}, but its disk has {has}", changed=True)


def verify_there(action: str, asked: Instance, found: Instance | None) -> None:
    """Raise where an instance is not as it was asked to be."""
    if found is None:
        raise PocketError(f"The instance {asked.label} was changed, but libvirt has it no more", changed=True)
    if found.phase == LAUNCHING:
        raise PocketError(f"The instance {asked.label} was launched, but libvirt kept its old metadata", changed=True)
    if action == "resume" and found.paused:
        raise PocketError(f"The instance {asked.label} was resumed, but it stands still: {found.paused}", changed=True)
    if action == "stop" and found.state != "stopped":
        raise PocketError(f"The instance {asked.label} was stopped, but it is {found.state}", changed=True)
    if found.forgotten_at_boot:
        does = "starts" if found.starts_at_boot else "does not start"
        raise PocketError(
            f"restart_policy: {found.restart_policy} was asked for {asked.label}, which is {found.state}, but libvirt "
            f"{does} it at the host's boot",
            changed=True,
        )
    for name in _KEPT:
        if getattr(asked, name) != getattr(found, name):
            raise PocketError(
                f"{name}: {getattr(asked, name)!r} was asked for the instance {asked.label}, "
                f"but libvirt has {getattr(found, name)!r}",
                changed=True,
            )


def verify_swept(orphan: Orphan, after: Current) -> None:
    """Raise where something of an instance without a domain is still there."""
    if orphan.instance_id in after.orphans:
        left = after.orphans[orphan.instance_id]
        raise PocketError(f"Of {orphan.instance_id}, which has no domain, {left} is still there", changed=True)
