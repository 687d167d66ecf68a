# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KVM really works on this host. PRIVATE to the collection.

A C(/dev/kvm) that opens, answers its API and even runs the firmware may still boot no kernel, so only a kernel that
speaks under KVM counts: the host's own, started by QEMU with the processor that instances get.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Probe", "Verdict", "obstacle", "verdict"]

SPEECH = b"Linux version"


@dataclass(frozen=True)
class Verdict:
    """What instances are accelerated by: C(kvm) or C(tcg), and the reason, a sentence without a full stop."""

    accel: str
    reason: str


@dataclass(frozen=True)
class Probe:
    """Where the probe looks, and for how many seconds it listens to the kernel."""

    device: Path = Path("/dev/kvm")
    boot: Path = Path("/boot")
    cache: Path = Path("/run/pocket-cloud/acceleration.json")
    qemu: str = "qemu-system-x86_64"
    timeout: float = 30.0


def verdict(refresh: bool = False, probe: Probe | None = None) -> Verdict:
    """Tell how instances run best on this host; a probe's outcome is remembered until the host reboots.

    :param refresh: probe again even where an outcome is remembered.
    """
    probe = probe or Probe()
    obstacle = _obstacle(probe)
    if obstacle:
        return Verdict("tcg", obstacle)
    kernel = _kernel(probe.boot)
    if kernel is None:
        return Verdict(
            "tcg",
            f"{probe.device} is there, but {probe.boot} holds no kernel that could prove that it boots one; "
            "install a kernel, or state accel kvm if you know that KVM works",
        )
    found = None if refresh else _remembered(probe.cache)
    if found is None:
        found = _boot(kernel, probe)
        _remember(probe.cache, found)
    return found


def obstacle(probe: Probe | None = None) -> str | None:
    """Why KVM cannot even be tried; none where it can, whether or not it then works."""
    return _obstacle(probe or Probe())


def _obstacle(probe: Probe) -> str | None:
    """Why there is nothing to probe. Cheap to find out, and may change while the host runs: never remembered."""
    if platform.machine() != "x86_64":
        return f"KVM is probed on x86_64 only, and this host is {platform.machine()}"
    if not probe.device.exists():
        return (
            f"there is no {probe.device}: the processor or the hypervisor below offers no virtualisation, it is "
            "disabled in the firmware, or the module kvm_intel or kvm_amd is not loaded"
        )
    if not os.access(probe.device, os.R_OK | os.W_OK):
        return f"{probe.device} may not be opened by the user that asks"
    if shutil.which(probe.qemu) is None:
        return f"{probe.qemu} is not installed, without which KVM cannot be tried"
    return None


def _kernel(boot: Path) -> Path | None:
    """The newest kernel image that can be read."""
    found = [path for path in boot.glob("vmlinuz-*") if "rescue" not in path.name and os.access(path, os.R_OK)]
    return max(found, key=lambda path: _version(path.name), default=None)


def _version(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[a-z]+", name)]


def _boot(kernel: Path, probe: Probe) -> Verdict:
    """Boot the kernel under KVM and listen to its serial console."""
    # timeout(1) ends QEMU even if this process is killed meanwhile; the kernel finds no root and ends by itself.
    command = ["timeout", "--signal=KILL", f"{probe.timeout + 5:g}", probe.qemu]
    command += ["-accel", "kvm", "-cpu", "host", "-machine", "q35", "-m", "512", "-nodefaults", "-no-user-config"]
    command += ["-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(kernel)]
    command += ["-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
    with subprocess.Popen(command, start_new_session=True, **options) as process:  # type: ignore[call-overload]
        said = _listen(process.stdout.fileno(), probe.timeout)
        ended = _ended(process)
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
    if SPEECH in said:
        return Verdict("kvm", f"the kernel {kernel} boots under KVM")
    lines = [" ".join(line.split()) for line in said.decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line.isprintable() and line), None)
    if ended and last:
        return Verdict("tcg", f"{probe.device} is there, but QEMU fails with it: {last}")
    return Verdict(
        "tcg", f"{probe.device} is there, but the kernel {kernel} said nothing under KVM within {probe.timeout:g} s"
    )


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ended by itself; its output may have ended a moment before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    return process.returncode is not None


def _listen(output: int, timeout: float) -> bytes:
    """What came until the output ended, the kernel spoke, or the time was over."""
    said = b""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while SPEECH not in said and selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(output, 4096)
            if not piece:
                break
            said += piece
    return said


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _remembered(cache: Path) -> Verdict | None:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["boot_id"] != _boot_id() or content["accel"] not in ("kvm", "tcg"):
            return None
        return Verdict(content["accel"], str(content["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(cache: Path, found: Verdict) -> None:
    """Best effort: where it cannot be written, the next one probes again."""
    with contextlib.suppress(OSError):
        cache.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache.parent, prefix=".acceleration-", delete=False) as stream:
            json.dump({"boot_id": _boot_id(), **asdict(found)}, stream)
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, cache)
