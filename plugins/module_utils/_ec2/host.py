# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a KVM host is and has: behind the module ec2like_host_info. PRIVATE to the collection.

It must also tell about a host on which nothing is installed yet: a role asks before it sets anything up.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import InfoTask
from .acceleration import Verdict, verdict
from .hypervisor import Hypervisor
from .model import INSTANCE_TYPES
from .network_filters import Enforcement
from .orphans import Orphan, orphans
from .store import Store

__all__ = ["Host", "HostInfoTask"]

_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Host:
    """What was found; a version is none where the program is not there or does not run.

    :param libvirt_reason: why there is no libvirt version; empty where there is one.
    :param orphans: what is left of instances that have no domain; none where libvirt does not tell.
    """

    acceleration: Verdict
    vcpus: int
    memory_mib: int
    memory_available_mib: int
    libvirt_version: str | None
    libvirt_reason: str
    qemu_version: str | None
    security_model: str | None
    instance_types: Mapping[str, Mapping[str, int]]
    enforcement: Enforcement
    orphans: Mapping[str, Orphan] | None


class HostInfoTask(InfoTask[Host]):
    """What there is on this host."""

    def __init__(self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None) -> None:
        self._refresh = params["refresh"]
        self._store = Store(params["store"])
        self._hypervisor = hypervisor or Hypervisor(params["uri"])

    def read(self) -> Host:
        own_types = self._store.instance_types()
        version, reason = self._libvirt()
        memory = _memory()
        known = {name: {"vcpus": vcpus, "memory_mib": mib} for name, (vcpus, mib) in INSTANCE_TYPES.items()}
        return Host(
            acceleration=verdict(self._refresh),
            vcpus=len(os.sched_getaffinity(0)),
            memory_mib=memory.get("MemTotal", 0),
            memory_available_mib=memory.get("MemAvailable", 0),
            libvirt_version=version,
            libvirt_reason=reason,
            qemu_version=_qemu_version(),
            security_model=self._hypervisor.security_model() if version else None,
            instance_types={**known, **own_types},
            enforcement=self._hypervisor.enforcement() if version else Enforcement(reason, reason),
            orphans=self._orphans() if version else None,
        )

    def _orphans(self) -> Mapping[str, Orphan] | None:
        try:
            known = {instance.instance_id for instance in self._hypervisor.instances()}
            networks = self._hypervisor.networks()
            return orphans(self._store.instance_directories(), networks, known, self._hypervisor.mentioned)
        except PocketError:
            return None

    def _libvirt(self) -> tuple[str | None, str]:
        try:
            return self._hypervisor.version(), ""
        except PocketError as error:
            return None, error.message

    def result(self, plan: Plan, state: Host, applied: bool) -> dict[str, Any]:
        return {
            "host": {
                "accel": state.acceleration.accel,
                "accel_reason": state.acceleration.reason,
                "vcpus": state.vcpus,
                "memory_mib": state.memory_mib,
                "memory_available_mib": state.memory_available_mib,
                "libvirt_version": state.libvirt_version,
                "libvirt_reason": state.libvirt_reason,
                "qemu_version": state.qemu_version,
                "security_model": state.security_model,
                "network_filters": {
                    "spoofing": not state.enforcement.spoofing,
                    "spoofing_reason": state.enforcement.spoofing,
                    "security_groups": not state.enforcement.groups,
                    "security_groups_reason": state.enforcement.groups,
                },
                "store": str(self._store.root),
                "orphans": _shown(state.orphans),
                "instance_types": dict(sorted(state.instance_types.items())),
            }
        }


def _shown(found: Mapping[str, Orphan] | None) -> list[dict[str, Any]] | None:
    return None if found is None else [{"instance_id": one, **orphan.printable()} for one, orphan in found.items()]


def _memory() -> dict[str, int]:
    """The lines of /proc/meminfo, in MiB."""
    found = re.findall(r"^(\w+):\s+(\d+) kB$", _MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    return {name: int(kib) // 1024 for name, kib in found}


def _qemu_version() -> str | None:
    try:
        # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
        done = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"version (\S+)", done.stdout)
    return found.group(1) if found else None
