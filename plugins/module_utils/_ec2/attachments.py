# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes on what is attached to instances. PRIVATE to the collection."""

from __future__ import annotations

from dataclasses import replace

from .._errors import PocketError, in_turn
from . import disk_files
from .disks import disk_xml
from .hypervisor import Hypervisor
from .images import GIB
from .model import Instance
from .volumes import Attachment, Volume, disk_of

__all__ = ["Attachments"]


class Attachments:
    """Attach, detach and grow volumes. Whoever calls holds the lock of the store."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor

    def attach(self, volume: Volume) -> None:
        """Attach a volume as its attachment says."""
        disk_files.check_file(volume.path, volume.disk_format)
        flagged = self._flag(volume)
        try:
            self._hypervisor.attach_disk(_attachment(volume).instance_id, disk_xml(disk_of(volume)))
        except PocketError as error:
            error.changed = error.changed or flagged
            raise

    def detach(self, volume: Volume, timeout: float) -> None:
        """Detach a volume from what it is attached to; a running guest has `timeout` seconds to let it go."""
        attachment = _attachment(volume)
        in_turn(
            (
                lambda: self._hypervisor.detach_disk(attachment.instance_id, attachment.device_name, timeout),
                lambda: self._flag(replace(volume, attachment=replace(attachment, delete_on_termination=False))),
            )
        )

    def flag(self, volume: Volume) -> None:
        """Write into the instance's metadata whether the volume goes with it."""
        self._flag(volume)

    def _flag(self, volume: Volume) -> bool:
        """Write it where it is not there yet; whether it was written."""
        attachment = _attachment(volume)
        instance = self._instance(attachment.instance_id)
        others = [one for one in instance.volumes_deleted_on_termination if one != volume.volume_id]
        mine = [volume.volume_id] if attachment.delete_on_termination else []
        now = replace(instance, volumes_deleted_on_termination=tuple(sorted([*others, *mine])))
        if now != instance:
            self._hypervisor.describe(now)
        return now != instance

    def grow(self, volume: Volume) -> None:
        """Make a volume as large as it says, which its running guest sees at once."""
        disk = disk_of(volume) if volume.attachment else None
        if volume.attachment and disk and self._hypervisor.is_running(volume.attachment.instance_id):
            size = volume.size_gib * GIB
            self._hypervisor.resize_disk(volume.attachment.instance_id, disk.device_name, size)
        else:
            disk_files.grow(volume.path, volume.disk_format, volume.size_gib)

    def _instance(self, instance_id: str) -> Instance:
        instance = self._hypervisor.instance(instance_id)
        if instance is not None:
            return instance
        raise PocketError(
            f"instance: {instance_id} was terminated meanwhile; choose another", code="InvalidInstanceID.NotFound"
        )


def _attachment(volume: Volume) -> Attachment:
    if volume.attachment is None:
        raise ValueError(f"{volume.volume_id} is not attached")
    return volume.attachment
