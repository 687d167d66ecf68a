# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU: does KVM really work here, and the command that boots the lab."""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .state import LabError, State, cache_dir

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Seconds in which a kernel under real KVM says its first words; it takes about half a second
KVM_PROBE_SECONDS = 6.0


@dataclass(frozen=True)
class Forward:
    """A port of this machine's loopback that leads to an address and port of the lab."""

    host_port: int
    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Forward:
        """HOSTPORT:GUESTIP:PORT; host port 0 means any that is free."""
        try:
            host_port, address, port = text.split(":")
            socket.inet_aton(address)
            forward = cls(int(host_port), address, int(port))
        except (ValueError, OSError):
            raise LabError(
                f"--forward is HOSTPORT:GUESTIP:PORT, for instance 0:10.0.2.100:80, and '{text}' is not"
            ) from None
        if not (0 <= forward.host_port < 65536 and 0 < forward.port < 65536):
            raise LabError(f"--forward {text}: a port is 1 to 65535 (0 for any free one of this machine)")
        return forward

    def with_free_port(self) -> Forward:
        """The same with a host port that nobody uses now."""
        return self if self.host_port else Forward(free_port(), self.address, self.port)

    def rule(self) -> str:
        """As QEMU wants it."""
        return f"hostfwd=tcp:127.0.0.1:{self.host_port}-{self.address}:{self.port}"


def free_port() -> int:
    """A TCP port of the loopback that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def kvm_works() -> tuple[bool, str]:
    """Whether a kernel really boots under KVM, and why not. A /dev/kvm that opens and answers proves nothing."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "no /dev/kvm that this user may open"
    verdict = cache_dir() / f"kvm-{BOOT_ID.read_text().strip()}"
    if not verdict.exists():
        for old in cache_dir().glob("kvm-*"):
            old.unlink(missing_ok=True)
        verdict.write_text("works" if _boots_under_kvm() else "broken")
    if verdict.read_text() == "works":
        return True, "a kernel boots under KVM"
    return False, "/dev/kvm is there, but no kernel boots under it"


def _boots_under_kvm() -> bool:
    command = [qemu(), "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-kernel", str(cache_dir() / "kernel/vmlinuz"), "-append", "console=ttyS0 panic=-1", "-serial", "stdio"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + KVM_PROBE_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"Linux version" not in said and time.monotonic() < deadline:
            if not selector.select(deadline - time.monotonic()):
                break
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece:
                break
            said += piece
    process.kill()
    process.wait()
    return b"Linux version" in said


def qemu() -> str:
    """The emulator's program."""
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        raise LabError("the program qemu-system-x86_64 is missing; script/bootstrap installs it")
    return program


def make_overlay(state: State, image: Path) -> None:
    """The lab's own disk; the image below it is never written."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(state.disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"making the lab's disk {state.disk} failed: {done.stderr.strip()}")


def boot(state: State, forwards: list[Forward], memory_mib: int, kvm: bool) -> None:
    """Start QEMU in the background. The kernel is given directly: no firmware menu, no boot loader."""
    kernel = cache_dir() / "kernel"
    # Under TCG the CPU has AMD's SVM, so /dev/kvm works inside; 5-level page tables would only cost time
    emulated = ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,la57=off"]
    accel = ["-accel", "kvm", "-cpu", "host"] if kvm else emulated
    # The second line only saves boot time: no relocation, no self-tests of the kernel's ciphers
    words = "root=/dev/vda console=ttyS0 panic=-1 quiet loglevel=4 net.ifnames=0"
    words += " mitigations=off random.trust_cpu=on nokaslr cryptomgr.notests"
    command = [qemu(), "-name", f"pocket-cloud-lab-{state.name}", "-machine", "q35", *accel]
    # Under TCG one CPU: with two, QEMU 7.2 delivered a reschedule IPI right after a nested guest's VMRUN, before the
    # lab's kernel had its own GS back, and the kernel panicked (seen twice, both times with guests booting)
    cpus = min(4, os.cpu_count() or 1) if kvm else 1
    command += ["-smp", str(cpus), "-m", str(memory_mib), "-nodefaults", "-display", "none"]
    command += ["-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd")]
    command += ["-append", words + ("" if kvm else " no_timer_check")]
    # unsafe: the disk is deleted with the lab, nothing on it has to survive this machine's crash
    command += ["-drive", f"file={state.disk},if=none,id=disk,cache=unsafe,discard=unmap"]
    command += ["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]
    command += ["-netdev", ",".join(["user,id=net", *(forward.rule() for forward in forwards)])]
    command += ["-device", "virtio-net-pci,netdev=net,romfile=", "-serial", f"file:{state.serial}"]
    command += ["-daemonize", "-pidfile", str(state.pidfile)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"QEMU did not start the lab: {done.stderr.strip()}")
