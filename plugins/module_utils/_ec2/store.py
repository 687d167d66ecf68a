# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store: a directory that keeps what libvirt cannot hold. PRIVATE to the collection.

C(images/) holds the registered disks, C(instances/ID/) the files of each instance, C(volumes/) and C(snapshots/) what
their names say, C(state.sqlite) the register of all these but the instances, and of those terminated,
C(instance-types.json) the operator's own types, C(lock) what serialises writers.
Reading never creates anything, so that check mode works on a host that has no store yet.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .capacity import Capacity, HostSize, Policy, policy_of
from .database import Database, Records, cannot, open_private
from .images import Image, ImageSource, gib
from .model import MOST_VCPUS, check_text
from .tombstones import LIFETIME, timestamp

__all__ = ["DEFAULT_ROOT", "Store"]

DEFAULT_ROOT = "/var/lib/pocket-cloud"
# Seconds that a run waits for another: the launch of a hundred emulated guests takes minutes.
LOCK_TIMEOUT = 900.0
# And where it may fetch or copy a large disk.
COPY_TIMEOUT = 3600.0

_PARTS = ("images", "instances", "snapshots", "volumes")
_PASSAGE = stat.S_IXGRP | stat.S_IXOTH
_IMAGE_ID = re.compile(r"ami-[0-9a-f]{17}")
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{17}")


class Store:
    """The store at `root`; nothing is read or made before a method is called."""

    def __init__(self, root: str | os.PathLike[str] = DEFAULT_ROOT) -> None:
        check_text(os.fspath(root), "store")
        self.root = Path(os.fspath(root))
        if not self.root.is_absolute() or ".." in self.root.parts:
            raise PocketError(
                f"The store {os.fspath(root)!r} is not an absolute path without '..'; state one such as {DEFAULT_ROOT}",
                code="InvalidParameterValue",
            )
        self.image_directory = self.root / "images"
        self._instances = self.root / "instances"
        self._database = Database(self.root / "state.sqlite", self._create)

    # Who may write

    @contextmanager
    def lock(self, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Keep every other writer of this store out; waits at most `timeout` seconds. Creates the store."""
        with self._locked("lock", timeout):
            yield

    @contextmanager
    def undisturbed(self, *locks: str) -> Iterator[None]:
        """Keep writers out while only reading, as check mode does; writes nothing, not even where there is no store.

        :param locks: files of those that a real run takes, in their order; the store's own where none is named.
        """
        self._check_root()
        with ExitStack() as held:
            for name in locks or ("lock",):
                try:
                    descriptor = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                except OSError:  # no store yet, or none that we may use: reading tells
                    continue
                held.callback(os.close, descriptor)
                self._acquire(descriptor, LOCK_TIMEOUT if name == "lock" else COPY_TIMEOUT, fcntl.LOCK_SH)
            yield

    @contextmanager
    def images_lock(self, timeout: float = COPY_TIMEOUT) -> Iterator[None]:
        """Keep out only those that write images: fetching one may take long, and launches need not wait for it."""
        with self._locked("images.lock", timeout):
            yield

    @contextmanager
    def volumes_lock(self, timeout: float = COPY_TIMEOUT) -> Iterator[None]:
        """Keep out only those that write volumes and snapshots: copying one may take long.

        Who needs several locks takes that of images first, then this, then that of the store.
        """
        with self._locked("volumes.lock", timeout):
            yield

    def volumes_are_written(self) -> bool:
        """Whether somebody keeps the others out that write volumes and snapshots; neither waits nor writes."""
        path = self.root / "volumes.lock"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise cannot("open", path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextmanager
    def _locked(self, name: str, timeout: float) -> Iterator[None]:
        self._create()
        try:
            descriptor = open_private(self.root / name)
        except OSError as error:
            raise cannot("open", self.root / name, error) from error
        try:
            self._acquire(descriptor, timeout)
            _note(descriptor, f"{os.getpid()}\n")
            try:
                yield
            finally:
                _note(descriptor, "")
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, timeout: float, how: int = fcntl.LOCK_EX) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                    who = f"process {holder}" if holder.isdigit() else "another process"
                    raise PocketError(
                        f"The store {self.root} is in use by {who} and was not released within {timeout:g} seconds; "
                        "wait for that run to end, or end it if it hangs"
                    ) from error
                time.sleep(0.05)

    def _create(self) -> None:
        self._check_root()
        try:
            for directory in (self.root, self.image_directory, self._instances):
                _make_directory(directory, parents=directory is self.root)
        except OSError as error:
            raise cannot("make", directory, error) from error

    def _check_root(self) -> None:
        """Refuse a directory that is everybody's, such as /tmp."""
        try:
            mode = stat.S_IMODE(self.root.stat().st_mode)
        except OSError:  # not there yet, or not to be looked at: making it tells
            return
        if mode & stat.S_IWOTH:
            raise PocketError(
                f"store: {self.root} can be written to by anybody (mode {mode:04o}), who could put another file in the "
                f"place of a disk; state a directory of its own, such as {DEFAULT_ROOT}",
                code="InvalidParameterValue",
            )
        for name in _PARTS:
            if os.path.islink(self.root / name):
                raise PocketError(
                    f"store: {self.root / name} is a symbolic link, and disks must be in the store itself; mount "
                    "another file system there, or state the directory that holds all of it",
                    code="InvalidParameterValue",
                )

    # Instances

    def instance_directory(self, instance_id: str) -> Path:
        """Where the files of an instance are; the directory need not exist."""
        if not _INSTANCE_ID.fullmatch(instance_id):
            raise PocketError(
                f"Invalid instance id {instance_id!r}: expected i- and 17 hexadecimal digits",
                code="InvalidInstanceID.Malformed",
            )
        return self._instances / instance_id

    def instance_directories(self) -> list[Path]:
        """The directories of all instances that have one, by id."""
        try:
            found = [entry for entry in self._instances.iterdir() if _INSTANCE_ID.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot("read", self._instances, error) from error
        return sorted(found)

    def tombstones(self) -> list[dict[str, Any]]:
        """The records of the terminated instances that are still kept, the oldest first."""
        rows = self._database.read("SELECT record FROM tombstones ORDER BY terminated_at, instance_id")
        return [json.loads(row["record"]) for row in rows]

    def bury(self, record: Mapping[str, Any], when: datetime) -> None:
        """Keep the record of an instance that was terminated at `when`; those 30 days older are dropped.

        :param record: of values that JSON can hold, with C(instance_id).
        :param when: with a time zone.
        """
        self.instance_directory(record["instance_id"])
        oldest = timestamp(when - LIFETIME)
        values = (record["instance_id"], timestamp(when), json.dumps(record, sort_keys=True))
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", values)
            connection.execute("DELETE FROM tombstones WHERE terminated_at < ?", (oldest,))

    def instance_types(self) -> dict[str, dict[str, int]]:
        """The operator's own types: name -> C(vcpus) and C(memory_mib), both at least 1."""
        path = self.root / "instance-types.json"
        types = self._json(path, "operator's instance types")
        if types is None:
            return {}
        if not isinstance(types, dict):
            raise PocketError(f"The operator's instance types in {path} are not a mapping of names to sizes")
        return {name: _instance_type(path, name, size) for name, size in sorted(types.items())}

    def records(self, kind: str) -> Records:
        """The register of one kind of things, such as C(key-pair)."""
        return Records(self._database, kind)

    def capacity(self, host: HostSize) -> Capacity:
        """What `host` has room for under the policy in C(capacity.json), or under the default one."""
        path = self.root / "capacity.json"
        values = self._json(path, "capacity policy")
        return Capacity(host, policy_of(values, str(path)) if values is not None else Policy(), str(path))

    def _json(self, path: Path, what: str) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise cannot("read", path, error) from error
        except ValueError as error:
            raise PocketError(f"The {what} in {path} is not valid JSON: {error}") from error

    # Images

    def images(self) -> list[Image]:
        """All registered images, by name."""
        return [self._image(row) for row in self._database.read("SELECT * FROM images ORDER BY name")]

    def image(self, id_or_name: str) -> Image:
        """The image with that id or name, its file present and of the right size.

        The same disk may be registered under several names; by id the one registered first is meant.
        """
        images = sorted(self.images(), key=lambda image: (image.creation_date, image.name))
        for image in images:
            if id_or_name in (image.image_id, image.name):
                self._check(image)
                return image
        if id_or_name.startswith("ami-") and not _IMAGE_ID.fullmatch(id_or_name):
            raise PocketError(
                f"Invalid image id {id_or_name!r}: expected ami- and 17 hexadecimal digits, or an image's name",
                code="InvalidAMIID.Malformed",
            )
        known = ", ".join(sorted(f"{image.name} ({image.image_id})" for image in images))
        raise PocketError(
            f"The image {id_or_name!r} does not exist in the store {self.root}; "
            + (f"registered are: {known}" if known else "no image is registered there; register one by ec2like_image"),
            code="InvalidAMIID.NotFound",
        )

    def _check(self, image: Image) -> None:
        try:
            size = image.path.stat().st_size
        except OSError as error:
            problem = error.strerror or str(error)
        else:
            if size == image.source.size:
                return
            problem = f"it has {size} bytes instead of {image.source.size}"
        raise PocketError(
            f"The image {image.name} ({image.image_id}) cannot be used because its file {image.path} is damaged: "
            f"{problem}; register it again by ec2like_image",
            code="InvalidAMIID.Unavailable",
        )

    def image_path(self, image_id: str, disk_format: str) -> Path:
        """Where the file of an image belongs."""
        if not _IMAGE_ID.fullmatch(image_id) or disk_format not in ("qcow2", "raw"):
            raise ValueError(f"no image's file: {image_id!r}, {disk_format!r}")
        return self.image_directory / f"{image_id}.{disk_format}"

    def register(self, image: Image) -> None:
        """Enter an image whose file is in its place; one of the same name is replaced."""
        source = image.source
        values = (image.name, image.image_id, image.disk_format, image.virtual_size, image.creation_date)
        origin = (source.location, source.size, source.mtime_ns, source.checksum)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, image.description, *origin),
            )

    def forget(self, name: str) -> None:
        """Take the image of that name out of the register; its file is the caller's."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM images WHERE name = ?", (name,))

    def _image(self, row: sqlite3.Row) -> Image:
        return Image(
            image_id=row["image_id"],
            name=row["name"],
            path=self.image_path(row["image_id"], row["disk_format"]),
            disk_format=row["disk_format"],
            virtual_size=row["virtual_size"],
            size_gib=gib(row["virtual_size"]),
            creation_date=row["creation_date"],
            source=ImageSource(
                row["source_location"], row["source_size"], row["source_mtime_ns"], row["source_checksum"]
            ),
            description=row["description"],
        )


def _make_directory(directory: Path, parents: bool) -> None:
    """Make it so that others may pass through (QEMU runs as a user of its own) but not list it.

    One that is there keeps its mode, but for that passage: whoever made it here may have been killed before the chmod.
    """
    try:
        directory.mkdir(mode=_PASSAGE | stat.S_IRWXU, parents=parents)
        mode = 0
    except FileExistsError:
        mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & _PASSAGE != _PASSAGE:
        directory.chmod(mode | _PASSAGE | stat.S_IRWXU)


def _note(descriptor: int, text: str) -> None:
    """Write who holds a lock into its file; on a full disk the lock holds all the same."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _instance_type(path: Path, name: str, size: Any) -> dict[str, int]:
    values: list[Any] = [size.get(key) if isinstance(size, dict) else None for key in ("vcpus", "memory_mib")]
    if any(isinstance(value, bool) or not isinstance(value, int) or value < 1 for value in values):
        raise PocketError(
            f"The operator's instance type {name} in {path} is {json.dumps(size)}; "
            'expected {"vcpus": N, "memory_mib": N}, both whole numbers of at least 1'
        )
    if values[0] > MOST_VCPUS:
        raise PocketError(
            f"The operator's instance type {name} in {path} has {values[0]} vcpus; an instance has at most {MOST_VCPUS}"
        )
    return {"vcpus": values[0], "memory_mib": values[1]}
