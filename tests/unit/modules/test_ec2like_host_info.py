# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import host
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.acceleration import Verdict
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.host import HostInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, mac_address
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_filters import Enforcement
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import Host, Network
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

GONE = "i-0123456789abcdef0"
THERE = "i-0123456789abcdef1"


class Daemon:
    """A hypervisor that knows its version, or why it has none."""

    def __init__(self, answer: str | PocketError) -> None:
        self.answer = answer

    def version(self) -> str:
        if isinstance(self.answer, PocketError):
            raise self.answer
        return self.answer

    def security_model(self) -> str:
        return "apparmor"

    def enforcement(self) -> Enforcement:
        return Enforcement(groups="there is no iptables")

    def instances(self) -> list[Instance]:
        return []

    def networks(self) -> list[Network]:
        host = Host(mac_address(GONE), ipaddress.IPv4Address("10.80.0.9"), GONE)
        return [Network("pocket", "pocket0", None, hosts=(host,))]

    def mentioned(self, instance_ids: Collection[str]) -> set[str]:
        return set(instance_ids) - {GONE}


@pytest.fixture(autouse=True)
def probed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """How often KVM was probed, and whether afresh."""
    calls: list[bool] = []

    def verdict(refresh: bool) -> Verdict:
        calls.append(refresh)
        return Verdict("tcg", "there is no /dev/kvm")

    monkeypatch.setattr(host, "verdict", verdict)
    return calls


def params(tmp_path: Path, **stated: Any) -> dict[str, Any]:
    return {"store": str(tmp_path / "store"), "uri": "test:///default", "refresh": False, **stated}


def info(stated: dict[str, Any], daemon: Daemon, check: bool = False) -> dict[str, Any]:
    results = execute(lambda asked: HostInfoTask(asked, daemon), stated, check)  # type: ignore[arg-type]
    assert results["changed"] is False
    return results["host"]  # type: ignore[no-any-return]


def test_it_tells_what_the_host_has_and_makes_no_store(tmp_path: Path, probed: list[bool]) -> None:
    stated = params(tmp_path)
    found = info(stated, Daemon("9.0.0"))
    assert found["accel"] == "tcg"
    assert found["accel_reason"] == "there is no /dev/kvm"
    assert found["network_filters"] == {
        "spoofing": True,
        "spoofing_reason": "",
        "security_groups": False,
        "security_groups_reason": "there is no iptables",
    }
    assert found["security_model"] == "apparmor"
    assert found["vcpus"] == len(os.sched_getaffinity(0))
    assert found["memory_mib"] > found["memory_available_mib"] > 0
    assert (found["libvirt_version"], found["libvirt_reason"]) == ("9.0.0", "")
    assert found["instance_types"]["t3.nano"] == {"vcpus": 2, "memory_mib": 512}
    assert found["store"] == stated["store"]
    assert not os.path.exists(stated["store"])
    assert probed == [False]
    assert info(stated, Daemon("9.0.0"), check=True).keys() == found.keys()


def test_a_daemon_that_is_down_is_no_failure(tmp_path: Path) -> None:
    found = info(params(tmp_path), Daemon(PocketError("libvirtd isn't running")))
    assert (found["libvirt_version"], found["libvirt_reason"]) == (None, "libvirtd isn't running")
    assert found["security_model"] is None


def test_what_is_left_of_instances_without_a_domain_is_told(tmp_path: Path) -> None:
    reserved = {"instance_id": GONE, "directory": None, "reservations": [{"network": "pocket", "address": "10.80.0.9"}]}
    assert info(params(tmp_path), Daemon("9.0.0"))["orphans"] == [reserved]
    directory = tmp_path / "store" / "instances" / GONE
    directory.mkdir(parents=True)
    (tmp_path / "store" / "instances" / THERE).mkdir()  # of a domain that lost its metadata, say
    assert info(params(tmp_path), Daemon("9.0.0"))["orphans"] == [{**reserved, "directory": str(directory)}]
    assert info(params(tmp_path), Daemon(PocketError("libvirtd isn't running")))["orphans"] is None


def test_refresh_probes_again(tmp_path: Path, probed: list[bool]) -> None:
    info(params(tmp_path, refresh=True), Daemon("9.0.0"))
    assert probed == [True]


def test_the_operators_types_come_on_top(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    own = {"tiny": {"vcpus": 1, "memory_mib": 96}, "t3.nano": {"vcpus": 1, "memory_mib": 256}}
    (tmp_path / "store" / "instance-types.json").write_text(json.dumps(own))
    types = info(params(tmp_path), Daemon("9.0.0"))["instance_types"]
    assert types["tiny"] == own["tiny"]
    assert types["t3.nano"] == own["t3.nano"]
    assert types["t3.micro"] == {"vcpus": 2, "memory_mib": 1024}


def test_types_that_are_no_types_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "instance-types.json").write_text('{"tiny": {"vcpus": 0, "memory_mib": 96}}')
    refused = refusal(HostInfoTask, params(tmp_path))
    assert "tiny" in refused["msg"]
    assert "instance-types.json" in refused["msg"]


def test_a_store_that_is_not_absolute_is_refused(tmp_path: Path) -> None:
    assert "'..'" in refusal(HostInfoTask, params(tmp_path, store="/var/lib/../x"))["msg"]
