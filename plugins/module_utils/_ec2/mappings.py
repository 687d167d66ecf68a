# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request on instances states of their disks: EC2's block device mappings, and the root disk. Pure.

PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._errors import PocketError
from .disks import device_of, is_root_device
from .volumes import check_size, check_snapshot_id, check_volume_id

__all__ = ["Mapped", "RootDisk", "disks_from"]


@dataclass(frozen=True)
class Mapped:
    """One block device mapping: a volume that exists, or one that is to be made; none is unstated."""

    device_name: str
    volume_id: str | None = None
    size_gib: int | None = None
    snapshot_id: str | None = None
    disk_format: str | None = None
    delete_on_termination: bool | None = None


@dataclass(frozen=True)
class RootDisk:
    """What is stated of the root disk. All but its size is for new instances."""

    size_gib: int | None = None
    disk_format: str | None = None
    cache: str | None = None
    discard: str | None = None
    clone: str | None = None

    @property
    def format(self) -> str:
        """The format of a new one."""
        return self.disk_format or "qcow2"

    @property
    def is_full(self) -> bool:
        """Whether a new one is a copy of the image; a raw disk cannot be a clone."""
        return self.clone == "full" or self.format == "raw"


def disks_from(params: Mapping[str, Any]) -> tuple[tuple[Mapped, ...] | None, RootDisk]:
    """Return the mappings and the root disk that `params` state; PocketError names what is wrong."""
    root = RootDisk(
        size_gib=check_size(params["root_size_gib"], "root_size_gib"),
        disk_format=params["disk_format"],
        cache=params["disk_cache"],
        discard=params["disk_discard"],
        clone=params["disk_clone"],
    )
    if root.disk_format == "raw" and root.clone == "linked":
        raise PocketError(
            "disk_clone: a raw disk cannot be a linked clone; state disk_clone full, or disk_format qcow2",
            code="InvalidParameterCombination",
        )
    if params["volumes"] is None:
        return None, root
    mapped = []
    for given in params["volumes"]:
        if is_root_device(given["device_name"]):
            root = _root_mapping(given, root)
        else:
            mapped.append(_mapped(given))
    names = [f"/dev/{one.device_name}" for one in mapped] + [one.volume_id for one in mapped if one.volume_id]
    for name in names:
        if names.count(name) > 1:
            raise _bad(f"volumes: {name} is stated {names.count(name)} times; state each once")
    return tuple(mapped), root


def _root_mapping(given: Mapping[str, Any], root: RootDisk) -> RootDisk:
    ebs = {name: value for name, value in (given["ebs"] or {}).items() if value is not None}
    size = check_size(ebs.pop("volume_size", None), "volumes: volume_size")
    if (
        given["volume_id"] is not None
        or set(ebs) - {"delete_on_termination"}
        or not ebs.get("delete_on_termination", 1)
    ):
        raise _bad(
            f"volumes: {given['device_name']} is the root device, of which only volume_size can be stated; it is made "
            "from the image and goes with its instance"
        )
    if size is not None and root.size_gib not in (None, size):
        raise PocketError(
            f"volumes: {given['device_name']} is to have {size} GiB, and root_size_gib is {root.size_gib}; state one "
            "of them",
            code="InvalidParameterCombination",
        )
    return replace(root, size_gib=size or root.size_gib)


def _mapped(given: Mapping[str, Any]) -> Mapped:
    device, volume_id, ebs = given["device_name"], given["volume_id"], given["ebs"] or {}
    size, snapshot = ebs.get("volume_size"), ebs.get("snapshot_id")
    if volume_id is not None and (size is not None or snapshot is not None or ebs.get("disk_format") is not None):
        raise PocketError(
            f"volumes: {device} has a volume_id, and ebs describes a volume to be made; state one of them",
            code="InvalidParameterCombination",
        )
    return Mapped(
        device_name=device_of(device, "volumes: device_name"),
        volume_id=None if volume_id is None else check_volume_id(volume_id, "volumes: volume_id"),
        size_gib=check_size(size, "volumes: volume_size"),
        snapshot_id=None if snapshot is None else check_snapshot_id(snapshot, "volumes: snapshot_id"),
        disk_format=ebs.get("disk_format"),
        delete_on_termination=ebs.get("delete_on_termination"),
    )


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
