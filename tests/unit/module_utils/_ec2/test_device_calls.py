# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the disks of running machines, whose agents and daemons may fail at each step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import device_calls
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.device_calls import DeviceCalls
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.xml_text import parse
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

BACKUP, COMPLETED = 8, 3
TARGET, OTHER = Path("/store/.incoming-1"), Path("/elsewhere")


class LibvirtError(Exception):
    """As the library has it."""


class Domain:
    """A running domain whose calls fail as often as `fails` says; `late` are those that act all the same."""

    def __init__(self, fails: dict[str, int], late: tuple[str, ...] = ()) -> None:
        self.fails = fails
        self.late = late
        self.frozen = False
        self.copied_to: Path | None = None
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fails.get(name, 0):
            self.fails[name] -= 1
            raise LibvirtError(f"{name} failed")

    def name(self) -> str:
        return "i-0"

    def isActive(self) -> bool:
        return True

    def XMLDesc(self, _flags: int) -> str:
        return "<domain><devices><disk><target dev='vda'/></disk></devices></domain>"

    def fsFreeze(self) -> None:
        if "fsFreeze" in self.late:
            self.frozen = True
        self._call("fsFreeze")
        self.frozen = True

    def fsThaw(self) -> None:
        if self.frozen:
            self._call("fsThaw")
        self.frozen = False

    def backupBegin(self, xml: str, _checkpoint: None, _flags: int) -> None:
        if self.copied_to is not None:
            raise LibvirtError("another job is active")
        target = next(Path(one.get("file", "")) for one in parse(xml).iterfind("disks/disk/target"))
        if "backupBegin" in self.late:
            self.copied_to = target
        self._call("backupBegin")
        self.copied_to = target

    def backupGetXMLDesc(self, _flags: int) -> str:
        if self.copied_to is None:
            raise LibvirtError("no domain backup job present")
        return f"<domainbackup><disks><disk><target file='{self.copied_to}'/></disk></disks></domainbackup>"

    def jobStats(self, flags: int = 0) -> dict[str, Any]:
        if flags:
            return {"type": COMPLETED}
        self._call("jobStats")
        self.copied_to = None  # it is complete when somebody asks
        return {}

    def abortJob(self) -> None:
        self._call("abortJob")
        self.copied_to = None


class Calls(DeviceCalls):
    """Calls on that domain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **fails: int) -> None:
        super().__init__()
        monkeypatch.setattr(device_calls, "_THAW_INTERVAL", 0)
        self.domain = Domain(fails)
        self._libvirt = SimpleNamespace(
            libvirtError=LibvirtError,
            VIR_DOMAIN_JOB_OPERATION_BACKUP=BACKUP,
            VIR_DOMAIN_JOB_STATS_COMPLETED=1,
            VIR_DOMAIN_JOB_COMPLETED=COMPLETED,
        )

    @property
    def _connection(self) -> Any:
        return SimpleNamespace(lookupByName=lambda _name: self.domain)

    def fail(self) -> str:
        """What is said where the copy cannot be made; nothing of it goes on."""
        with pytest.raises(PocketError) as caught:
            self.back_up("i-0", "vda", TARGET, freeze=True)
        assert self.domain.copied_to is None
        return caught.value.message


def test_the_guest_is_frozen_only_while_the_copy_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    calls.back_up("i-0", "vda", TARGET, freeze=True)
    assert calls.domain.calls == ["fsFreeze", "backupBegin", "fsThaw", "jobStats"]


def test_what_a_run_that_was_killed_has_left_frozen_is_thawed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    calls.domain.frozen = True
    calls.back_up("i-0", "vda", TARGET, freeze=True)
    assert calls.domain.calls == ["fsThaw", "fsFreeze", "backupBegin", "fsThaw", "jobStats"]


def test_a_guest_that_froze_too_late_is_thawed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, fsFreeze=1)
    calls.domain.late = ("fsFreeze",)
    assert "fsFreeze failed" in calls.fail()
    assert calls.domain.frozen is False
    assert "backupBegin" not in calls.domain.calls


def test_a_guest_whose_copy_does_not_begin_is_thawed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, backupBegin=1)
    assert "backupBegin failed" in calls.fail()
    assert calls.domain.frozen is False


def test_a_copy_that_begins_though_the_daemon_did_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, backupBegin=1)
    calls.domain.late = ("backupBegin",)
    assert "backupBegin failed" in calls.fail()
    assert "abortJob" in calls.domain.calls
    assert calls.domain.frozen is False


def test_an_agent_that_does_not_answer_at_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, fsThaw=2)
    calls.back_up("i-0", "vda", TARGET, freeze=True)
    assert calls.domain.calls.count("fsThaw") == 3
    assert calls.domain.frozen is False


def test_a_copy_whose_guest_cannot_be_thawed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, fsThaw=9)
    said = calls.fail()
    assert "fsThaw failed" in said
    assert "virsh domfsthaw i-0" in said
    assert "abortJob" in calls.domain.calls


def test_a_copy_that_breaks_off_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, jobStats=1)
    assert "jobStats failed" in calls.fail()
    assert "abortJob" in calls.domain.calls


@pytest.mark.parametrize("freeze", [True, False])
def test_a_copy_that_somebody_else_makes_goes_on(monkeypatch: pytest.MonkeyPatch, freeze: bool) -> None:
    calls = Calls(monkeypatch)
    calls.domain.copied_to = OTHER
    with pytest.raises(PocketError, match="another job is active"):
        calls.back_up("i-0", "vda", TARGET, freeze=freeze)
    assert calls.domain.copied_to == OTHER
    assert calls.domain.frozen is False
