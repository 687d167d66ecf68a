# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that an instance cannot start without, and that somebody took away. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .._errors import PocketError
from .disks import ROOT_DEVICE, SEED_DEVICE, Disk
from .images import backing_file
from .model import Instance

__all__ = ["LostFile", "check_files", "lost_files"]


@dataclass(frozen=True)
class LostFile:
    """A file that is not there.

    :param device_name: of the disk that needs it.
    :param what: what it is to the instance.
    :param way_out: what to do but to bring it back.
    """

    device_name: str
    path: Path
    what: str
    way_out: str = "terminate the instance"


def lost_files(instances: Iterable[Instance]) -> dict[str, tuple[LostFile, ...]]:
    """Return what each instance lacks, by the ids of those that lack something.

    Looks at each file's name, and into the headers of clones: some 15 microseconds an instance.
    """
    found = {instance.instance_id: tuple(_lost(instance)) for instance in instances}
    return {instance_id: lost for instance_id, lost in found.items() if lost}


def _lost(instance: Instance) -> Iterator[LostFile]:
    for disk in instance.disks:
        what = _role(disk)
        if not what:  # somebody else's, who may have said that the machine can do without
            continue
        if not _is_gone(disk.path):
            base = _lost_base(disk)
            if base:
                yield LostFile(disk.device_name, base, "the image that its disk is a clone of")
        elif disk.volume_id:
            yield LostFile(disk.device_name, disk.path, what, "detach the volume by pocket.cloud.ec2like_volume")
        else:
            yield LostFile(disk.device_name, disk.path, what)


def _role(disk: Disk) -> str:
    if disk.volume_id:
        return f"its volume {disk.volume_id} ({disk.device_name})"
    return {ROOT_DEVICE: "its root disk", SEED_DEVICE: "its seed"}.get(disk.device_name, "")


def _lost_base(disk: Disk) -> Path | None:
    try:
        named = backing_file(disk.path) if disk.disk_format == "qcow2" and disk.path.is_file() else None
    except OSError:  # whoever may not read it learns by the start whether it can be used
        return None
    base = None if named is None else disk.path.parent / named
    return base if base is not None and _is_gone(base) else None


def _is_gone(path: Path) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may well be there
        return False
    return False


def check_files(instance: Instance, lost: Mapping[str, Collection[LostFile]], new_seed: bool) -> None:
    """Refuse to start `instance`, or to stop it for a start, where a file is lost.

    :param new_seed: whether its seed is written before the start.
    """
    for one in lost.get(instance.instance_id, ()):
        if new_seed and one.device_name == SEED_DEVICE:
            continue
        # What QEMU has open is only gone when QEMU ends.
        running = "" if instance.state == "stopped" else "; while it runs it has what was in it, so save that first"
        raise PocketError(
            f"The instance {instance.label} cannot be started: the file of {one.what} is not there: {one.path}; bring "
            f"it back, or {one.way_out}{running}",
            code="IncorrectInstanceState",
        )
