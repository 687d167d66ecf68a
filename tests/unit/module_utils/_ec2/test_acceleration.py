# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import acceleration
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.acceleration import Probe, verdict


@pytest.fixture(autouse=True)
def _on_x86_64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """A host whose QEMU is a script that counts its starts and speaks as a kernel does."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "vmlinuz-6.1.0-9-amd64").touch()
    (tmp_path / "kvm").touch()
    found = Probe(tmp_path / "kvm", tmp_path / "boot", tmp_path / "run" / "cache.json", str(tmp_path / "qemu"), 5)
    return speaking(found, "echo 'SeaBIOS'; echo '[0.0] Linux version 6.1'; sleep 60")


def speaking(probe: Probe, script: str) -> Probe:
    qemu = Path(probe.qemu)
    qemu.write_text(f'#!/bin/sh\necho "$@" >> {probe.qemu}.calls\n{script}\n')
    qemu.chmod(0o755)
    return probe


def calls(probe: Probe) -> list[str]:
    path = Path(f"{probe.qemu}.calls")
    return path.read_text().splitlines() if path.exists() else []


def test_a_kernel_that_speaks_under_kvm_is_believed(probe: Probe) -> None:
    found = verdict(probe=probe)
    assert found.accel == "kvm"
    assert "vmlinuz-6.1.0-9-amd64" in found.reason
    (call,) = calls(probe)
    assert "-accel kvm -cpu host" in call
    assert "console=ttyS0" in call


def test_the_newest_kernel_is_taken(probe: Probe) -> None:
    for name in ("vmlinuz-6.1.0-10-amd64", "vmlinuz-5.10.0-99-amd64", "vmlinuz-0-rescue-77", "initrd.img-7.0"):
        (probe.boot / name).touch()
    assert "vmlinuz-6.1.0-10-amd64" in verdict(probe=probe).reason


def test_the_outcome_is_remembered_for_this_boot(probe: Probe) -> None:
    first = verdict(probe=probe)
    assert verdict(probe=probe) == first
    assert len(calls(probe)) == 1
    assert verdict(refresh=True, probe=probe) == first
    assert len(calls(probe)) == 2
    content = json.loads(probe.cache.read_text())
    probe.cache.write_text(json.dumps({**content, "boot_id": "another boot"}))
    verdict(probe=probe)
    assert len(calls(probe)) == 3


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"boot_id": 1}'])
def test_a_spoilt_memory_does_not_matter(probe: Probe, content: str) -> None:
    probe.cache.parent.mkdir()
    probe.cache.write_text(content)
    assert verdict(probe=probe).accel == "kvm"


def test_a_memory_of_something_else_is_not_believed(probe: Probe) -> None:
    verdict(probe=probe)
    content = json.loads(probe.cache.read_text())
    probe.cache.write_text(json.dumps({**content, "accel": "xen"}))
    assert verdict(probe=probe).accel == "kvm"
    assert len(calls(probe)) == 2


def test_what_qemu_says_last_is_the_reason(probe: Probe) -> None:
    found = verdict(probe=speaking(probe, "echo 'a warning'; echo 'failed to set MSR 0x10a'; exit 1"))
    assert found.accel == "tcg"
    assert found.reason.endswith("failed to set MSR 0x10a")


def test_silence_is_no_kernel(probe: Probe) -> None:
    found = verdict(probe=replace(speaking(probe, "echo 'SeaBIOS'; exec sleep 60"), timeout=0.3))
    assert found.accel == "tcg"
    assert "said nothing under KVM within 0.3 s" in found.reason


def test_what_may_change_while_the_host_runs_is_not_remembered(probe: Probe) -> None:
    probe.device.unlink()
    assert verdict(probe=probe).reason.startswith("there is no ")
    probe.device.touch()
    qemu = Path(probe.qemu)
    qemu.rename(f"{probe.qemu}.away")
    assert "is not installed" in verdict(probe=probe).reason
    Path(f"{probe.qemu}.away").rename(qemu)
    kernel = next(probe.boot.iterdir())
    kernel.rename(probe.boot / "config")
    found = verdict(probe=probe)
    assert (found.accel, "holds no kernel" in found.reason) == ("tcg", True)
    assert calls(probe) == []
    (probe.boot / "config").rename(kernel)
    assert verdict(probe=probe).accel == "kvm"
    probe.device.unlink()
    assert verdict(probe=probe).accel == "tcg"


def test_a_device_that_may_not_be_opened_is_none(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: path != probe.device)
    assert "may not be opened" in verdict(probe=probe).reason


def test_other_processors_are_emulated(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "riscv64" in verdict(probe=probe).reason


def test_a_memory_that_cannot_be_written_costs_another_probe(probe: Probe) -> None:
    unwritable = replace(probe, cache=Path("/proc/no/cache.json"))
    assert verdict(probe=unwritable).accel == verdict(probe=unwritable).accel == "kvm"
    assert len(calls(probe)) == 2


def test_the_defaults_are_this_host() -> None:
    assert Probe().device == Path("/dev/kvm")
    assert acceleration.Probe().cache == Path("/run/pocket-cloud/acceleration.json")
