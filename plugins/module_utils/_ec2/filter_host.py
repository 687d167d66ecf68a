# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host can enforce network filters. PRIVATE to the collection."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .network_filters import Enforcement

__all__ = ["probe"]

_EBTABLES = ("ebtables", "--concurrent", "-t", "nat", "-L", "PREROUTING")
_SETTINGS = Path("/proc/sys/net/bridge")
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def probe() -> Enforcement:
    """Ask the programs that libvirt calls whether they work with this kernel; nothing is changed."""
    iptables = _failure(("iptables", "-w", "-n", "-L", "FORWARD"))
    ip6tables = _failure(("ip6tables", "-w", "-n", "-L", "FORWARD"))
    return Enforcement(spoofing=_failure(_EBTABLES), groups=iptables or ip6tables or _switched_off())


def _failure(command: Sequence[str]) -> str:
    """Return why a command does not work, empty where it does."""
    program = command[0]
    try:
        # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": _PATH, "LC_ALL": "C"})
    except OSError:
        return f"the program {program} is not installed (apt install iptables)"
    if done.returncode == 0:
        return ""
    said = " ".join(done.stderr.split())[:200]
    return f"{program} does not work with this kernel ({said or f'exit status {done.returncode}'})"


def _switched_off() -> str:
    """Bridged packets pass iptables unless somebody has turned that off; before the first rule it may not be loaded."""
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        try:
            value = (_SETTINGS / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == "0":
            return f"net.bridge.{name} is 0, so bridged packets pass no filter (sysctl -w net.bridge.{name}=1)"
    return ""
