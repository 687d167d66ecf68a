# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest wrote on its serial port. PRIVATE to the collection."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["tail"]

_READ = 16384
# Escape sequences of terminals (CSI, OSC, and the two-character ones), then what else is not printable.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_78=>c]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def tail(path: Path, lines: int = 20) -> list[str]:
    """Return the last lines with something on them; none where there is no such file yet."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _READ))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    plain = _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    written = [line.rstrip() for line in plain.split("\n")]
    return [line for line in written if line][-lines:]
