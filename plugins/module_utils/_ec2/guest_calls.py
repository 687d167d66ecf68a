# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent in a guest tells, where there is one. PRIVATE to the collection."""

from __future__ import annotations

import base64
import json
from typing import Any

from .._deps import require
from .connection import Connection

__all__ = ["GuestCalls"]

# Seconds; an agent that runs answers at once, and one that hangs must not hold up a wait.
_PATIENCE = 2
_MOST = 65536


class GuestCalls(Connection):
    """Calls that QEMU's guest agent answers."""

    def guest_file(self, instance_id: str, path: str) -> str | None:
        """Return the beginning of a file of the guest's; none without an agent, the right to ask it, or that file."""
        connection = self._connection
        try:
            domain = connection.lookupByName(instance_id)
            handle = _ask(domain, "guest-file-open", path=path, mode="r")
            try:
                answer = _ask(domain, "guest-file-read", handle=handle, count=_MOST)
            finally:
                _ask(domain, "guest-file-close", handle=handle)
            return base64.b64decode(answer["buf-b64"]).decode(errors="replace")
        except (self._libvirt.libvirtError, KeyError, TypeError, ValueError):  # a guest may answer whatever it likes
            return None


def _ask(domain: Any, command: str, **arguments: Any) -> Any:
    text = json.dumps({"execute": command, "arguments": arguments})
    return json.loads(require("libvirt_qemu").qemuAgentCommand(domain, text, _PATIENCE, 0))["return"]
