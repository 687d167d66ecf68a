# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance shows on its screen, from its libvirt daemon. PRIVATE to the collection."""

from __future__ import annotations

from .connection import Connection
from .xml_text import parse

__all__ = ["ConsoleCalls"]


class ConsoleCalls(Connection):
    """Calls about screens."""

    def has_screen(self, instance_id: str) -> bool:
        """Whether the machine of the instance, as it runs, has a graphics card."""
        with self._attempt(f"look for a screen of the instance {instance_id}"):
            xml = self._connection.lookupByName(instance_id).XMLDesc()
        return parse(xml).find("devices/video") is not None

    def screenshot(self, instance_id: str) -> bytes:
        """Return a picture of the first screen, in the format that the hypervisor has: PNG or PPM."""
        with self._attempt(f"take a screenshot of the instance {instance_id}"):
            connection = self._connection
            stream = connection.newStream()
            parts: list[bytes] = []
            connection.lookupByName(instance_id).screenshot(stream, 0)
            stream.recvAll(lambda _stream, data, _opaque: parts.append(data), None)
            stream.finish()
            return b"".join(parts)
