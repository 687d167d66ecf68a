# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk files made by hand, for tests that have no qemu-img."""

from __future__ import annotations

import struct
from pathlib import Path


def qcow2(
    path: Path,
    size: int = 10 << 20,
    backing: str | None = None,
    features: int = 0,
    encryption: int = 0,
    salt: bytes = b"",
) -> Path:
    """A qcow2 file as QEMU's docs/interop/qcow2.txt has its header, without the tables that follow."""
    name = (backing or "").encode()
    header = struct.pack(">4sIQIIQI", b"QFI\xfb", 3, 104 if backing else 0, len(name), 16, size, encryption)
    header += bytes(72 - len(header)) + struct.pack(">Q", features)
    path.write_bytes(header.ljust(104, b"\0") + name + bytes(512) + salt)
    return path


def raw(path: Path, size: int = 1 << 20, gpt: bool = False) -> Path:
    """A raw disk with a boot record, or with a GUID partition table alone."""
    content = bytearray(size)
    if gpt:
        content[512:520] = b"EFI PART"
    else:
        content[510:512] = b"\x55\xaa"
    path.write_bytes(content)
    return path
