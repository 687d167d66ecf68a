# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What machines a libvirt daemon can make. PRIVATE to the collection."""

from __future__ import annotations

from pathlib import Path

from .._errors import PocketError
from .connection import Connection
from .machine import Abilities, abilities_of

__all__ = ["MachineCalls"]

_HUGE_PAGE_KIB = 2048
_WHOLE_HOST = -1
_MOUNTS = Path("/proc/self/mounts")


class MachineCalls(Connection):
    """Calls about what the host can do."""

    def abilities(self, machine_type: str, accel: str) -> Abilities:
        """Return what machines of that type can have; raises PocketError where there is no such type."""
        connection = self._connection
        virtualization = "kvm" if accel == "kvm" else "qemu"
        try:
            xml = connection.getDomainCapabilities(None, "x86_64", machine_type, virtualization)
        except self._libvirt.libvirtError as error:
            if error.get_error_code() != self._libvirt.VIR_ERR_INVALID_ARG:
                raise PocketError(f"Cannot ask what this host can do: libvirt says: {error}") from error
            raise PocketError(
                f"machine_type: {machine_type!r} is none that QEMU has on this host ({error}); state q35, or one that "
                "this lists: qemu-system-x86_64 -machine help",
                code="InvalidParameterValue",
            ) from error
        return abilities_of(xml, self._free_huge_pages(), self._has_hugetlbfs())

    def security_model(self) -> str:
        """Return what confines machines to their own files: C(apparmor), C(selinux), or C(none)."""
        connection = self._connection
        try:
            model = connection.getSecurityModel()[0]
        except self._libvirt.libvirtError:  # a driver that has no such thing
            return "none"
        return "none" if model == "dac" else str(model)

    def _free_huge_pages(self) -> int:
        try:
            free = self._connection.getFreePages([_HUGE_PAGE_KIB], _WHOLE_HOST, 1)
        except self._libvirt.libvirtError:  # a kernel without them
            return 0
        return sum(cell.get(_HUGE_PAGE_KIB, 0) for cell in free.values())

    def _has_hugetlbfs(self) -> bool:
        """Whether huge pages can be mapped; of another host that is not told, and taken for granted."""
        if not self._local:
            return True
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return True
        return any(words[2] == "hugetlbfs" for words in map(str.split, mounts) if len(words) > 2)
