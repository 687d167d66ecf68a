# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk images: what a file really is, and overlays on a registered one. PRIVATE to the collection.

A disk's format is never guessed by QEMU: a guest that writes a qcow2 header with a backing file into its raw disk
would else read the host's files. We look at the magic ourselves and name the format to qemu-img and libvirt.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .._errors import PocketError

__all__ = [
    "Image",
    "ImageSource",
    "Inspected",
    "backing_file",
    "create_overlay",
    "gib",
    "has_data_file",
    "inspect",
    "open_disk",
    "qemu_img",
]

GIB = 1 << 30
SECTOR = 512
QCOW2_MAGIC = b"QFI\xfb"
# QEMU's docs/interop/qcow2.txt: incompatible feature bits.
_CORRUPT, _EXTERNAL_DATA = 1 << 1, 1 << 2
_HEADER_LENGTH = 104
_LEAKS = 3  # exit status of qemu-img check where clusters are merely wasted
_FOREIGN = {
    b"KDMV": "a VMDK disk",
    b"COWD": "a VMDK disk",
    b"# Disk DescriptorFile": "the descriptor of a VMDK disk",
    b"vhdxfile": "a VHDX disk",
    b"conectix": "a VHD disk",
    b"<<< ": "a VirtualBox disk",
    b"QED\0": "a QED disk",
    b"\x1f\x8b": "compressed by gzip",
    b"\xfd7zXZ\0": "compressed by xz",
    b"BZh": "compressed by bzip2",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PK\x03\x04": "a zip archive",
}


@dataclass(frozen=True)
class ImageSource:
    """Where an image came from; what tells without reading it again that a file is still the same.

    :param location: the path on this host, or the URL.
    :param size: bytes.
    :param mtime_ns: the file's modification time in nanoseconds since the epoch; none for a URL.
    :param checksum: of the content, C(sha256:) and 64 hexadecimal digits.
    """

    location: str
    size: int
    mtime_ns: int | None
    checksum: str


@dataclass(frozen=True)
class Image:
    """A registered, read-only base disk.

    :param path: the file in the store.
    :param disk_format: C(qcow2) or C(raw).
    :param virtual_size: of the disk that a guest sees, in bytes.
    :param size_gib: the same in GiB, rounded up, as EC2 states volume sizes.
    :param creation_date: ISO 8601 in UTC.
    """

    image_id: str
    name: str
    path: Path
    disk_format: str
    virtual_size: int
    size_gib: int
    creation_date: str
    source: ImageSource
    description: str = ""


@dataclass(frozen=True)
class Inspected:
    """What a file was found to be: its format and, in bytes, the size of the disk in it."""

    disk_format: str
    virtual_size: int


def gib(size: int) -> int:
    """`size` bytes in GiB, rounded up, at least 1."""
    return max(1, -(-size // GIB))


def qemu_img(attempt: str, *arguments: str) -> str:
    """The output of qemu-img; PocketError that begins with `attempt` (C(Cannot …)) where it fails."""
    done = _run_qemu_img(attempt, *arguments)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise PocketError(f"{attempt}: {said}")
    return done.stdout


def _run_qemu_img(attempt: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
        # What it makes holds a guest's secrets: its owner's alone, until libvirt hands it to QEMU's user.
        return subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False, umask=0o077)
    except FileNotFoundError as error:
        raise PocketError(
            f"{attempt}: the program qemu-img is not on this host; install it, on Debian and Ubuntu with: "
            "apt install qemu-utils"
        ) from error


def create_overlay(image: Image, path: str | os.PathLike[str], size_gib: int | None = None) -> None:
    """Make the linked clone of `image` that an instance writes to, at `path`, which must not exist.

    :param size_gib: of the new disk; none keeps the image's size. Less than the image's is refused.
    """
    target = os.fspath(path)
    attempt = f"Cannot make the disk {target} from image {image.name} ({image.image_id})"
    if size_gib is not None and size_gib * GIB < image.virtual_size:
        raise PocketError(
            f"{attempt}: a size of {size_gib} GiB is less than the image's {image.size_gib} GiB; state at least that",
            code="InvalidBlockDeviceMapping",
        )
    if os.path.lexists(target):
        raise PocketError(f"{attempt}: that file exists already")
    size = [str(size_gib * GIB)] if size_gib is not None else []
    base = os.fspath(image.path)
    qemu_img(attempt, "create", "-q", "-f", "qcow2", "-F", image.disk_format, "-b", base, target, *size)


def has_data_file(path: str | os.PathLike[str]) -> bool:
    """Whether a qcow2 disk keeps its content in another file, as its header tells."""
    with open(path, "rb") as stream:
        header = stream.read(_HEADER_LENGTH)
    return header.startswith(QCOW2_MAGIC) and bool(_features(header) & _EXTERNAL_DATA)


def _features(header: bytes) -> int:
    """Return the incompatible features of a qcow2 disk; version 2 knows none."""
    if len(header) < 80 or struct.unpack(">I", header[4:8])[0] < 3:
        return 0
    return int(struct.unpack(">Q", header[72:80])[0])


def backing_file(path: str | os.PathLike[str]) -> str | None:
    """The backing file that a qcow2 disk names in its header; none where it has none or is no qcow2.

    Read straight from the header, so that it also works on the disk of a running guest.
    """
    with open(path, "rb") as stream:
        header = stream.read(_HEADER_LENGTH)
        if not header.startswith(QCOW2_MAGIC) or len(header) < 20:
            return None
        offset, length = struct.unpack(">QI", header[8:20])
        if not offset:
            return None
        stream.seek(offset)
        return stream.read(min(length, 1023)).decode(errors="surrogateescape")


def inspect(path: str | os.PathLike[str], disk_format: str = "auto", label: str | None = None) -> Inspected:
    """What kind of disk the file at `path` holds; PocketError where it is none that an instance can start from.

    :param disk_format: C(qcow2), C(raw), or C(auto): whichever of the two it is.
    :param label: what messages call the file; its path where none is given.
    """
    name = label or os.fspath(path)
    with open_disk(os.fspath(path), name) as stream:
        try:
            header = stream.read(8192)
        except OSError as error:
            raise _unusable(name, f"{error.strerror or error}; state the path of a disk file") from error
        size = os.fstat(stream.fileno()).st_size
    if header.startswith(QCOW2_MAGIC):
        _refuse_other(name, disk_format, "qcow2")
        found = Inspected("qcow2", _check_qcow2(name, header))
    else:
        _check_raw(name, header, disk_format)
        found = Inspected("raw", -(-size // SECTOR) * SECTOR)
    if shutil.which("qemu-img"):  # not there in check mode on a host that gets its packages in the same play
        _check_by_qemu(os.fspath(path), name, found)
    return found


def _check_by_qemu(path: str, name: str, found: Inspected) -> None:
    """QEMU's own opinion, after ours: it finds damage, and must see the disk that we saw."""
    attempt = f"Cannot use {name} as an image"
    told = _run_qemu_img(attempt, "info", "-U", "--output=json", "-f", found.disk_format, path)
    if told.returncode:
        raise _unusable(name, " ".join(told.stderr.split()) or f"qemu-img ends with status {told.returncode}")
    about = json.loads(told.stdout)
    if about.get("backing-filename") or _data_file(about):
        raise _not_alone(name)
    if about["virtual-size"] != found.virtual_size:
        raise _unusable(name, "its header is damaged; fetch the file again")
    if found.disk_format == "qcow2":
        done = _run_qemu_img(attempt, "check", "-U", "-q", "-f", "qcow2", path)
        if done.returncode not in (0, _LEAKS):
            raise _unusable(name, "it is damaged or was cut off, as qemu-img check finds; fetch the file again")


def open_disk(path: str, name: str | None = None) -> BinaryIO:
    """Open a regular file to read it; symbolic links, directories and devices are refused."""
    name = name or path
    try:
        # O_NONBLOCK: a named pipe that nobody writes to must not block us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if os.path.islink(path):
            raise _unusable(name, "it is a symbolic link; state the file itself") from error
        raise _unusable(name, f"{error.strerror or error}; state the path of a disk file") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _unusable(name, "it is not a regular file; state the path of a disk file")
    return os.fdopen(descriptor, "rb")


def _refuse_other(name: str, stated: str, found: str) -> None:
    if stated not in ("auto", found):
        raise _unusable(name, f"disk_format is {stated}, but the file is {found}; state disk_format {found} or auto")


def _check_qcow2(name: str, header: bytes) -> int:
    """The size of the disk in a qcow2 file that stands alone."""
    if len(header) < 72:
        raise _unusable(name, "its qcow2 header is cut off; fetch the file again")
    (backing,) = struct.unpack(">Q", header[8:16])
    (encryption,) = struct.unpack(">I", header[32:36])
    features = _features(header)
    if backing or features & _EXTERNAL_DATA:
        raise _not_alone(name)
    if features & _CORRUPT:
        raise _unusable(name, f"it is marked as corrupt; repair it with: qemu-img check -r all {name}")
    if encryption:
        raise _unusable(name, "it is encrypted, and an instance has no key for it; decrypt it with qemu-img convert")
    size: int = struct.unpack(">Q", header[24:32])[0]
    if not size:
        raise _unusable(name, "the disk in it has no size at all; state the path of a bootable disk")
    return size


def _not_alone(name: str) -> PocketError:
    return _unusable(
        name,
        "it refers to another file (a backing file or an external data file), and an image must stand alone; make one "
        f"file of it with: qemu-img convert -O qcow2 {name} NEW.qcow2",
    )


def _data_file(about: dict[str, object]) -> object:
    specific = about.get("format-specific")
    data = specific.get("data") if isinstance(specific, dict) else None
    return data.get("data-file") if isinstance(data, dict) else None


def _check_raw(name: str, header: bytes, stated: str) -> None:
    """A raw disk has no magic of its own: want what a PC boots from, a partition table or a boot sector."""
    if stated == "qcow2":
        raise _unusable(name, "disk_format is qcow2, but the file is not; state disk_format raw or auto")
    for magic, kind in _FOREIGN.items():
        if header.startswith(magic):
            how = "unpack it first" if "compressed" in kind or "archive" in kind else "convert it with qemu-img convert"
            raise _unusable(name, f"it is {kind}, and images are qcow2 or raw disks; {how}")
    has_boot_record = header[510:512] == b"\x55\xaa"
    has_gpt = b"EFI PART" in (header[512:520], header[4096:4104])
    if not has_boot_record and not has_gpt:
        raise _unusable(
            name,
            "it is not a disk: neither a qcow2 header nor a partition table or boot record was found; state the path "
            "of a bootable qcow2 or raw disk file",
        )


def _unusable(name: str, why: str) -> PocketError:
    return PocketError(f"Cannot use {name} as an image: {why}", code="InvalidParameterValue")
