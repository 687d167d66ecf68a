# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of screens: QEMU of many releases writes PPM only, and viewers want PNG. Pure. PRIVATE to the collection."""

from __future__ import annotations

import re
import struct
import zlib

from .._errors import PocketError

__all__ = ["as_png", "size_of"]

_PNG = b"\x89PNG\r\n\x1a\n"
# P6, width, height, the greatest value of a colour; comments are to the end of a line.
_PPM = re.compile(rb"P6(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+255\s")
_TRUE_COLOUR = 2


def as_png(picture: bytes) -> bytes:
    """Return the picture as PNG; what is PNG already stays as it is."""
    if picture.startswith(_PNG):
        return picture
    head = _PPM.match(picture)
    if not head:
        raise PocketError(f"libvirt sent a picture that is neither PNG nor PPM; it begins with {picture[:8]!r}")
    width, height = int(head[1]), int(head[2])
    pixels = picture[head.end() :]
    row = 3 * width
    if len(pixels) < row * height:
        raise PocketError(f"libvirt sent {len(pixels)} bytes of a picture of {width} x {height} points; take it again")
    # Each row begins with the filter that it went through: none.
    rows = b"".join(b"\0" + pixels[start : start + row] for start in range(0, row * height, row))
    header = struct.pack(">IIBBBBB", width, height, 8, _TRUE_COLOUR, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 6)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def size_of(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG picture, in points."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height
