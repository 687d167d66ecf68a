# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files and the registers of volumes and snapshots. PRIVATE to the collection.

Each is entered as not complete before its file is begun, and the file gets its name when it is whole. What is not
complete although nobody else may write, and a file that the register does not know, a run that died has left.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import disk_files, image_files
from .database import cannot
from .model import Instance
from .store import Store
from .volumes import Snapshot, Volume, attachments_of

__all__ = ["Snapshots", "Volumes"]

INCOMING = ".incoming-"
_FILE = re.compile(r"(vol|snap)-[0-9a-f]{17}\.(qcow2|raw)")


class _Shelf:
    """A register, and a directory with a file for each of its entries."""

    def __init__(self, store: Store, kind: str) -> None:
        self.records = store.records(kind)
        self.directory = store.root / f"{kind}s"

    def path(self, identity: str, disk_format: str = "qcow2") -> Path:
        """Where the file of one belongs."""
        return self.directory / f"{identity}.{disk_format}"

    def remove(self, identity: str, path: Path) -> None:
        """Take one away: from the register first, so that none is listed whose file is gone."""
        self.records.delete(identity)
        disk_files.remove(path)
        disk_files.remove(self._incoming(path))

    @staticmethod
    def _incoming(path: Path) -> Path:
        return path.with_name(f"{INCOMING}{path.name}")

    def leftovers(self) -> list[str]:
        """The ids of those that a run which died began, and the names of files that belong to none."""
        known = self.records.all()
        begun = [identity for identity, record in known.items() if not record["complete"]]
        whole = {
            self.path(identity, record.get("disk_format", "qcow2")).name
            for identity, record in known.items()
            if record["complete"]
        }
        ours = [name for name in self._names() if name.startswith(INCOMING) or _FILE.fullmatch(name)]
        return [*begun, *(name for name in ours if name not in whole)]

    def _names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self.directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot("read", self.directory, error) from error

    def sweep(self, leftover: str) -> None:
        """Put one of the leftovers away."""
        if "." in leftover:
            disk_files.remove(self.directory / leftover)
        else:
            self.records.delete(leftover)

    @contextlib.contextmanager
    def making(
        self, identity: str, record: Mapping[str, Any], path: Path, let_go: Callable[[], None] | None = None
    ) -> Iterator[Path]:
        """A name for the file that is to become `path`; the entry is complete when the file is, and else both go.

        :param let_go: gives up the lock of the store, once the entry says so: whoever gets it then can tell by the lock
            of volumes that this run lives, and leaves its file alone.
        """
        self._make_directory()
        incoming = self._incoming(path)
        disk_files.remove(incoming)
        self.records.put(identity, {**record, "complete": False, "beside_launches": let_go is not None})
        try:
            if let_go is not None:
                let_go()
            yield incoming
            image_files.publish(incoming, path, 0o600)
            self.records.put(identity, {**record, "complete": True})
        except Exception:
            # The files first: on a full disk they make the room that the register needs to forget them.
            disk_files.remove(incoming)
            disk_files.remove(path)
            self.records.delete(identity)
            raise

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(mode=0o711, exist_ok=True)
            self.directory.chmod(0o711)  # QEMU, a user of its own, passes through
        except OSError as error:
            raise cannot("make", self.directory, error) from error


class Volumes(_Shelf):
    """The volumes of a store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "volume")

    def all(self, instances: Iterable[Instance] = ()) -> list[Volume]:
        """Return all volumes, the oldest first, those attached to `instances` with that told."""
        attachments = attachments_of(instances)
        found = [
            replace(self._volume(identity, record), attachment=attachments.get(identity))
            for identity, record in self.records.all().items()
        ]
        return sorted(found, key=lambda volume: (volume.create_time, volume.volume_id))

    def _volume(self, identity: str, record: Mapping[str, Any]) -> Volume:
        path = self.path(identity, record["disk_format"])
        size = disk_files.size_gib(path, record["disk_format"]) if record["complete"] else None
        return Volume(
            volume_id=identity,
            size_gib=record["size_gib"] if size is None else size,  # what was asked for, until the file tells
            disk_format=record["disk_format"],
            create_time=record["create_time"],
            path=path,
            tags=record["tags"],
            snapshot_id=record["snapshot_id"],
            complete=record["complete"],
            beside_launches=record.get("beside_launches", False),
            intact=size is not None,
        )

    def make(self, volume: Volume, source: Snapshot | None = None, let_go: Callable[[], None] | None = None) -> None:
        """Make an empty volume, or one with what is in `source`.

        :param let_go: gives up the lock of the store while the file is made.
        """
        with self.making(volume.volume_id, _volume_record(volume), volume.path, let_go) as incoming:
            if source is None:
                disk_files.create(incoming, volume.disk_format, volume.size_gib)
            else:
                disk_files.check_file(source.path, "qcow2")
                disk_files.copy(source.path, "qcow2", incoming, volume.disk_format, volume.size_gib)

    def put(self, volume: Volume) -> None:
        """Enter what is known of a volume."""
        self.records.put(volume.volume_id, {**_volume_record(volume), "complete": volume.complete})


def _volume_record(volume: Volume) -> dict[str, Any]:
    names = ("size_gib", "disk_format", "create_time", "snapshot_id")
    return {**{name: getattr(volume, name) for name in names}, "tags": dict(volume.tags)}


class Snapshots(_Shelf):
    """The snapshots of a store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "snapshot")

    def all(self) -> list[Snapshot]:
        """Return all snapshots, the oldest first."""
        found = [self._snapshot(identity, record) for identity, record in self.records.all().items()]
        return sorted(found, key=lambda snapshot: (snapshot.start_time, snapshot.snapshot_id))

    def _snapshot(self, identity: str, record: Mapping[str, Any]) -> Snapshot:
        return Snapshot(
            snapshot_id=identity,
            path=self.path(identity),
            progress=100 if record["complete"] else record.get("progress", 0),
            intact=self.path(identity).is_file(),
            **{name: record[name] for name in _SNAPSHOT},
        )

    def put(self, snapshot: Snapshot) -> None:
        """Enter what is known of a snapshot."""
        self.records.put(
            snapshot.snapshot_id,
            {**snapshot_record(snapshot), "complete": snapshot.progress == 100, "progress": snapshot.progress},
        )


_SNAPSHOT = ("volume_size", "start_time", "volume_id", "instance_id", "description", "tags")


def snapshot_record(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the register keeps of a snapshot."""
    return {name: dict(value) if name == "tags" else value for name, value in _values(snapshot)}


def _values(snapshot: Snapshot) -> Iterator[tuple[str, Any]]:
    for name in _SNAPSHOT:
        yield name, getattr(snapshot, name)
