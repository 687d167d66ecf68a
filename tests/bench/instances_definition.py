# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's machine without what makes it an instance: what is measured against."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

__all__ = ["definition", "mac"]


def mac(number: int) -> str:
    """The address of the hardware of the machine of that number."""
    return f"52:54:00:ff:{number >> 8:02x}:{number & 255:02x}"


def definition(text: str, disk: Path, number: int, network_filter: str) -> str:
    """The domain of `text` as another machine: only its root disk, its own address of hardware, and that filter."""
    root = ET.fromstring(text)
    for name, value in (("name", f"floor-{number}"), ("uuid", str(uuid.uuid4()))):
        root.find(name).text = value  # type: ignore[union-attr]
    devices: Any = root.find("devices")
    first, *others = devices.findall("disk")
    first.find("source").set("file", str(disk))
    for other in others:
        devices.remove(other)
    for guard in devices.iterfind("interface/filterref"):
        guard.set("filter", network_filter)
    devices.find("interface/mac").set("address", mac(number))
    devices.find("serial/log").set("file", f"{disk}.log")
    return ET.tostring(root, encoding="unicode")
