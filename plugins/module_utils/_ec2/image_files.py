# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of images: taken into the store whole or not at all. PRIVATE to the collection.

A file is fetched to a name that begins with INCOMING, checked, and renamed; the register follows. What a killed run
leaves is a file that no entry of the register knows, and the next run takes it away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .._errors import PocketError
from .images import Image, backing_file, open_disk
from .store import Store

__all__ = [
    "INCOMING",
    "checksum_of",
    "clones",
    "incoming",
    "incoming_copy",
    "incoming_download",
    "is_intact",
    "leftovers",
    "publish",
    "users",
]

INCOMING = ".incoming-"
_FILE = re.compile(r"ami-[0-9a-f]{17}\.(qcow2|raw)")
_PIECE = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h
_SILENCE = 60.0  # seconds without a byte after which a download is given up


def checksum_of(path: str | os.PathLike[str]) -> str:
    """The content's checksum, C(sha256:) and 64 hexadecimal digits."""
    with open_disk(os.fspath(path)) as stream:
        try:
            return _digest(stream)
        except OSError as error:
            raise PocketError(f"Cannot read {path}: {error.strerror or error}; look into its disk") from error


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while True:
        piece = stream.read(_PIECE)
        if not piece:
            return f"sha256:{digest.hexdigest()}"
        digest.update(piece)


def is_intact(image: Image) -> bool:
    """Whether the image's file is there and has its size."""
    try:
        return image.path.stat().st_size == image.source.size
    except OSError:
        return False


def users(store: Store, path: Path) -> list[str]:
    """The ids of the instances whose disk is a linked clone of the file at `path`."""
    return sorted(instance for instance, backing in _backing_files(store) if backing == path.name)


def clones(store: Store) -> dict[str, list[str]]:
    """The ids of the instances whose disks are linked clones, by the name of the file that they are clones of."""
    found: dict[str, list[str]] = {}
    for instance, backing in _backing_files(store):
        found.setdefault(backing, []).append(instance)
    return {backing: sorted(instances) for backing, instances in found.items()}


def _backing_files(store: Store) -> Iterator[tuple[str, str]]:
    """Each instance's id with the name of the file that its disk is a clone of.

    The name says enough, for it is made of the content; the directory may be spelled in several ways.
    """
    for directory in store.instance_directories():
        try:
            backing = backing_file(directory / "disk.qcow2")
        except OSError:  # no disk yet, or no longer
            continue
        if backing is not None:
            yield directory.name, os.path.basename(backing)


def leftovers(store: Store) -> list[Path]:
    """What killed runs left among the images: files half fetched, and files that neither register nor instance has."""
    try:
        found = sorted(store.image_directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PocketError(f"Cannot read {store.image_directory}: {error.strerror}; run with become: true") from error
    known = {image.path for image in store.images()}
    stale = [path for path in found if path not in known and _is_ours(path.name)]
    if not stale:
        return []
    used = {backing for _instance, backing in _backing_files(store)}
    return [path for path in stale if path.name not in used]


def _is_ours(name: str) -> bool:
    return name.startswith(INCOMING) or _FILE.fullmatch(name) is not None


@contextmanager
def incoming(store: Store, attempt: str) -> Iterator[Path]:
    """A name for a file that is to become an image; taken away again unless it was published."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=INCOMING, dir=store.image_directory)
        os.close(descriptor)
    except OSError as error:
        raise PocketError(f"{attempt}: {error.strerror or error}") from error
    try:
        yield Path(name)
    except OSError as error:
        raise PocketError(f"{attempt}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


@contextmanager
def incoming_copy(store: Store, source: str, checksum: str) -> Iterator[Path]:
    """A copy in the store of the file `source`, which shares its blocks where the file system can.

    :param checksum: what the content must be.
    """
    attempt = f"Cannot copy {source} into the store {store.root}"
    with incoming(store, attempt) as path:
        with open_disk(source) as original, path.open("wb") as copy:
            _copy(original.fileno(), copy.fileno())
        _compare(attempt, checksum_of(path), checksum, "it was changed meanwhile; try again when nothing writes to it")
        yield path


def _copy(source: int, target: int) -> None:
    """Copy a whole file: its blocks shared where the file system can, else byte by byte, and its holes as holes."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, end)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        piece = os.pread(source, min(_PIECE, end - start), start)
        if not piece:  # cut off meanwhile; the checksum will tell
            return
        while piece:
            written = os.pwrite(target, piece, start)
            start += written
            piece = piece[written:]


@contextmanager
def incoming_download(store: Store, url: str, checksum: str) -> Iterator[Path]:
    """The content of `url` in a file of the store.

    :param checksum: what the content must be.
    """
    attempt = f"Cannot fetch {url}"
    with incoming(store, attempt) as path:
        with path.open("wb") as target, _open_url(url, attempt) as response:
            digest = hashlib.sha256()
            while True:
                piece = _piece(response, attempt)
                if not piece:
                    break
                digest.update(piece)
                target.write(piece)
        _compare(
            attempt, f"sha256:{digest.hexdigest()}", checksum, "state the checksum of the file that the URL serves now"
        )
        yield path


def _piece(response: BinaryIO, attempt: str) -> bytes:
    try:
        return response.read(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise PocketError(f"{attempt}: the connection was lost ({error}); try again") from error


def _open_url(url: str, attempt: str) -> BinaryIO:
    # The handlers are named one by one, so that no redirection leads to FTP; certificates are verified.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.FileHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        response: BinaryIO = opener.open(url, timeout=_SILENCE)
        return response
    except urllib.error.URLError as error:
        reason = error if isinstance(error, urllib.error.HTTPError) else error.reason
        raise _out_of_reach(attempt, reason) from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # a redirection may lead to what is no URL
        raise _out_of_reach(attempt, error) from error


def _out_of_reach(attempt: str, reason: object) -> PocketError:
    message = f"{attempt}: {reason}; look whether the URL is right and this host may reach it"
    return PocketError(message, code="InvalidParameterValue")


def _compare(attempt: str, found: str, wanted: str, way_out: str) -> None:
    if found != wanted:
        message = f"{attempt}: its checksum is {found} instead of {wanted}; {way_out}"
        raise PocketError(message, code="InvalidParameterValue")


def publish(incoming: Path, target: Path, mode: int = 0o400) -> None:
    """Give a finished file its place, and make sure that it is on the disk.

    :param mode: its owner alone may read it, for it may have what was on a guest's disk; libvirt gives it QEMU's.
    """
    attempt = f"Cannot put {target} in its place"
    try:
        with incoming.open("rb") as stream:
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(incoming, target)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise PocketError(f"{attempt}: {error.strerror or error}") from error
