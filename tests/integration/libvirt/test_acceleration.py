# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe of KVM with a real QEMU and a real kernel, and the module that reports it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.acceleration import Probe, verdict
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host

# Starts QEMU as it was asked to, but emulated: what a working KVM looks like to the probe.
EMULATED = """\
#!/bin/bash
words=()
for word; do
    case $word in kvm) word=tcg ;; host) word=max ;; esac
    words+=("$word")
done
exec qemu-system-x86_64 "${words[@]}"
"""


@pytest.fixture
def boot(guest_image: Path, tmp_path: Path) -> Path:
    """A directory like /boot with the guest's kernel in it."""
    directory = tmp_path / "boot"
    directory.mkdir()
    kernel = guest_image.parent / "kernel"
    version = (kernel / "version").read_text().strip()
    (directory / f"vmlinuz-{version}").symlink_to(kernel / "vmlinuz")
    return directory


def probe(boot: Path, tmp_path: Path, script: str, timeout: float = 60) -> Probe:
    qemu = tmp_path / "qemu"
    qemu.write_text(script)
    qemu.chmod(0o755)
    device = tmp_path / "kvm"
    device.touch()
    return Probe(device=device, boot=boot, cache=tmp_path / "cache.json", qemu=str(qemu), timeout=timeout)


def test_a_kernel_that_speaks_is_believed_and_remembered(bare_host: Host, boot: Path, tmp_path: Path) -> None:
    working = probe(boot, tmp_path, EMULATED)
    found = verdict(probe=working)
    assert found.accel == "kvm", found.reason
    assert str(boot) in found.reason
    Path(working.qemu).write_text("#!/bin/sh\nexit 1\n")
    assert verdict(probe=working) == found
    assert verdict(refresh=True, probe=working).accel == "tcg"


def test_a_firmware_that_runs_is_no_kernel_that_boots(bare_host: Host, boot: Path, tmp_path: Path) -> None:
    """A broken KVM gets as far as that."""
    next(boot.iterdir()).unlink()
    (boot / "vmlinuz-1").write_bytes(bytes(4096))
    found = verdict(probe=probe(boot, tmp_path, EMULATED, timeout=5))
    assert found.accel == "tcg"


def test_a_machine_that_hangs_is_ended_and_named(bare_host: Host, boot: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    started = time.monotonic()
    found = verdict(probe=probe(boot, tmp_path, f"#!/bin/sh\necho $$ > {pid}\nexec sleep 100\n", timeout=5))
    assert time.monotonic() - started < 50
    assert found.accel == "tcg"
    assert "said nothing" in found.reason
    assert not is_alive(int(pid.read_text()))


def is_alive(pid: int) -> bool:
    try:
        return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_this_machines_kvm_is_judged_as_a_guest_finds_it(bare_host: Host, boot: Path, tmp_path: Path) -> None:
    """The verdict against a guest that is started by hand: it must be right whether KVM works, lies or is not there."""
    found = verdict(probe=Probe(boot=boot, cache=tmp_path / "cache.json"))
    kernel = next(boot.iterdir())
    command = ["timeout", "30", "qemu-system-x86_64", "-enable-kvm", "-cpu", "host", "-m", "256", "-nographic"]
    command += ["-no-reboot", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    guest = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert found.accel == ("kvm" if b"Linux version" in guest.stdout else "tcg"), found.reason


def test_the_module_tells_about_the_host(host: Host, store: str) -> None:
    host.path(store).mkdir()
    (host.path(store) / "instance-types.json").write_text(json.dumps({"tiny": {"vcpus": 1, "memory_mib": 96}}))
    found = host.ok("ec2like_host_info", store=store)["host"]
    assert found["accel"] == "tcg"  # its /dev has no kvm
    assert "there is no /dev/kvm" in found["accel_reason"]
    assert found["libvirt_version"] in host.virsh("version")
    assert found["qemu_version"] in host.virsh("version")
    assert found["instance_types"]["tiny"] == {"vcpus": 1, "memory_mib": 96}
    assert host.ok("ec2like_host_info", store=store, check=True)["host"]["accel"] == "tcg"


def test_the_module_tells_that_libvirtd_is_down(host: Host, store: str) -> None:
    host.stop_libvirtd()
    found = host.ok("ec2like_host_info", store=store)["host"]
    assert found["libvirt_version"] is None
    assert "libvirtd isn't running" in found["libvirt_reason"]
    assert "systemctl start libvirtd" in found["libvirt_reason"]
