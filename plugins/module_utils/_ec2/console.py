# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest wrote on its serial port. PRIVATE to the collection."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from .._errors import PocketError

__all__ = ["log", "plain", "tail"]

_READ = 16384
# libvirt's log daemon begins a new file when one is full, and keeps this many full ones: .0 is the newest of them.
_KEPT = 3
_PANIC = "Kernel panic - not syncing"
# Escape sequences of terminals (CSI, OSC, and the two-character ones), then what else is not printable.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_78=>c]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def tail(path: Path, lines: int = 20) -> list[str]:
    """Return the last lines with something on them; none where there is no such file yet.

    Where a kernel panicked further up, its word on why comes first: what it prints after that is long.
    """
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _READ))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    written = [line for line in plain(text).split("\n") if line]
    last = written[-lines:]
    panics = [line for line in written[:-lines] if _PANIC in line]
    return last if any(_PANIC in line for line in last) else [*panics[-1:], *last]


def plain(text: str) -> str:
    """Return `text` without what moves a terminal, and without spaces at the ends of its lines."""
    shown = _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return "\n".join(line.rstrip() for line in shown.split("\n"))


def log(path: Path) -> tuple[str, float | None]:
    """Return all that is still kept of the console whose log is `path`, and the time of the last write.

    Nothing and no time where the machine has not run yet.
    """
    parts = []
    written = None
    for part in [path.with_name(f"{path.name}.{number}") for number in reversed(range(_KEPT))] + [path]:
        content, modified = _content(part)
        parts.append(content)
        written = modified if modified is not None else written
    return b"".join(parts).decode("utf-8", "replace"), written


def _content(path: Path) -> tuple[bytes, float | None]:
    """Read a regular file, and nothing that a link leads to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise PocketError(f"Cannot read the console's log {path}: it is not a regular file; remove it")
            return stream.read(), about.st_mtime
    except FileNotFoundError:
        return b"", None
    except OSError as error:
        hint = "; run with become: true" if isinstance(error, PermissionError) else ""
        raise PocketError(f"Cannot read the console's log {path}: {error.strerror or error}{hint}") from error
