# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of disks that guests write to: made, copied, grown. PRIVATE to the collection.

The format of each is known and named to qemu-img, which is never left to guess it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from pathlib import Path

from .._errors import PocketError
from .images import GIB, QCOW2_MAGIC, backing_file, gib, has_data_file, qemu_img

__all__ = ["check_file", "copy", "create", "grow", "is_open_in_qemu", "remove", "size_gib"]

_FLOCK = "hhqqi"  # struct flock
_LOCKED = (100, 300)  # the bytes of QEMU's locks: block/file-posix.c


def create(path: Path, disk_format: str, size: int) -> None:
    """Make an empty disk of `size` GiB, which takes no more room than what is written to it."""
    qemu_img(f"Cannot make the disk {path}", "create", "-q", "-f", disk_format, os.fspath(path), str(size * GIB))


def copy(source: Path, source_format: str, path: Path, disk_format: str, size: int | None = None) -> None:
    """Make a disk that stands alone of what a guest would read from `source`, which nobody writes to meanwhile.

    :param size: in GiB, where the copy is to be larger.
    """
    attempt = f"Cannot copy the disk {source} to {path}"
    options = ["-q", "-f", source_format, "-O", disk_format, os.fspath(source), os.fspath(path)]
    qemu_img(attempt, "convert", *options)
    if size is not None and size * GIB > _virtual_size(path, disk_format):
        grow(path, disk_format, size)


def grow(path: Path, disk_format: str, size: int) -> None:
    """Make the disk `size` GiB large."""
    attempt = f"Cannot grow the disk {path} to {size} GiB"
    qemu_img(attempt, "resize", "-q", "-f", disk_format, os.fspath(path), str(size * GIB))


def remove(path: Path) -> None:
    """Take the file away; gone already is well."""
    try:
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PocketError(f"Cannot remove the disk {path}: {error.strerror or error}") from error


def size_gib(path: Path, disk_format: str) -> int | None:
    """Return the disk's size as its file tells it, none where there is no such file."""
    try:
        return gib(_virtual_size(path, disk_format))
    except OSError:
        return None


def _virtual_size(path: Path, disk_format: str) -> int:
    """Read straight from the header, so that it also works on the disk of a running guest."""
    with path.open("rb") as stream:
        if disk_format == "raw":
            return os.fstat(stream.fileno()).st_size
        header = stream.read(32)
    size: int = struct.unpack(">Q", header[24:32])[0] if header.startswith(QCOW2_MAGIC) and len(header) == 32 else 0
    return size


def is_open_in_qemu(path: Path) -> bool:
    """Whether some QEMU has the file open; each locks a few of its bytes for what it does and what others may not."""
    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _LOCKED[0], _LOCKED[1] - _LOCKED[0], 0)
    try:
        with path.open("rb") as stream:
            answer = fcntl.fcntl(stream, fcntl.F_OFD_GETLK, question)
    except OSError:  # it is gone, or the file system has no locks
        return False
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def check_file(path: Path, disk_format: str, bases: Path | None = None) -> None:
    """Refuse a disk that would make us read or write another file than it: a link, or one with a strange backing file.

    :param bases: the directory in which the file that it is a clone of may be; none for a disk that stands alone.
    """
    attempt = f"Cannot use the disk {path}"
    try:
        about = os.lstat(path)
    except OSError as error:
        raise PocketError(
            f"{attempt}: {error.strerror or error}; bring the file back", code="IncorrectState"
        ) from error
    if not stat.S_ISREG(about.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(about.st_mode) else "not a regular file"
        raise PocketError(
            f"{attempt}: it is {kind}, which somebody else has put there; put the disk itself there",
            code="InvalidParameterValue",
        )
    try:
        backing = backing_file(path) if disk_format == "qcow2" else None
        elsewhere = disk_format == "qcow2" and has_data_file(path)
    except OSError as error:
        raise PocketError(f"{attempt}: {error.strerror or error}; run with become: true") from error
    if elsewhere:
        raise _strange(attempt, path, "its content is in another file, which is none of the store's")
    if backing is None:
        return
    allowed = bases is not None and os.path.realpath(os.path.dirname(backing)) == os.path.realpath(bases)
    if not allowed or os.path.islink(backing):
        raise _strange(attempt, path, f"its backing file is {backing}, which is none of the store's images")


def _strange(attempt: str, path: Path, why: str) -> PocketError:
    return PocketError(
        f"{attempt}: {why}; it was changed by somebody else, so look into it with: qemu-img info -U {path}",
        code="InvalidParameterValue",
    )
