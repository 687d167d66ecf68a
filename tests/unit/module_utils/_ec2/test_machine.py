# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.machine import (
    OPTIONS,
    Abilities,
    Machine,
    abilities_of,
    add_machine,
    add_tpm,
    machine_of,
    new_machine,
)
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, KvmHost
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import machines
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

# What libvirt 9.0 says of Debian 12's QEMU, cut down to what is read of it.
CAPABILITIES = """
<domainCapabilities>
  <machine>pc-q35-7.2</machine>
  <os supported='yes'>
    <enum name='firmware'>{firmware}</enum>
    <loader supported='yes'><enum name='secure'>{secure}<value>no</value></enum></loader>
  </os>
  <cpu>
    <mode name='host-passthrough' supported='no'/>
    <mode name='maximum' supported='yes'/>
    <mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model></mode>
    <mode name='custom' supported='yes'>
      <model usable='yes' vendor='unknown'>qemu64</model>
      <model usable='no' vendor='Intel'>Haswell</model>
    </mode>
  </cpu>
  <devices>{tpm}</devices>
</domainCapabilities>
"""
EFI = "<value>efi</value>"
TPM = "<tpm supported='yes'><enum name='backendModel'><value>emulator</value></enum></tpm>"
BARE = abilities_of(CAPABILITIES.format(firmware="", secure="", tpm="<tpm supported='no'/>"), 0)
FULL = abilities_of(CAPABILITIES.format(firmware=EFI, secure="<value>yes</value>", tpm=TPM), 256)


def machine(accel: str = "tcg", abilities: Abilities | None = FULL, memory_mib: int = 512, **stated: Any) -> Machine:
    return new_machine({**dict.fromkeys(OPTIONS), **stated}, accel, abilities, memory_mib)


@given(machines())
def test_a_machine_comes_back_from_the_definition(asked: Machine) -> None:
    domain = ET.Element("domain")
    add_machine(domain, asked)
    add_tpm(ET.SubElement(domain, "devices"), asked)
    found = machine_of(domain)
    assert (found, found.machine_type) == (asked, asked.machine_type)


def test_what_libvirt_adds_on_its_own_is_understood() -> None:
    text = """
    <domain><os><type machine='pc-q35-7.2'>hvm</type><loader secure='yes' type='pflash'>/x.fd</loader></os>
    <cpu mode='host-model' check='partial'/></domain>
    """
    found = machine_of(ET.fromstring(text))
    assert found == Machine(firmware="uefi", secure_boot=True, cpu_model="host-model")
    assert found.machine_type == "pc-q35-7.2"


def test_only_pci_express_has_ports() -> None:
    kinds = ("q35", "pc-q35-7.2", "pc", "pc-i440fx-7.2")
    assert [Machine(kind).has_ports for kind in kinds] == [True, True, False, False]


def test_the_usual_machine_needs_no_look_at_the_host() -> None:
    assert machine(abilities=None) == Machine("q35", "bios", False, False, "maximum", False)
    assert machine("kvm", None).cpu_model == "host-passthrough"


def test_what_the_host_can_do_is_given() -> None:
    asked: dict[str, Any] = {"firmware": "uefi", "secure_boot": True, "tpm": True, "huge_pages": True}
    assert machine(**asked) == Machine(cpu_model="maximum", **asked)
    assert machine(cpu_model="qemu64").cpu_model == "qemu64"
    assert machine(abilities=BARE, firmware="bios", secure_boot=False, tpm=False, huge_pages=False) == Machine()


@pytest.mark.parametrize(
    ("abilities", "stated", "said", "code"),
    [
        (BARE, {"firmware": "uefi"}, "apt install ovmf", "Unsupported"),
        (replace(FULL, secure_boot=False), {"firmware": "uefi", "secure_boot": True}, "Secure Boot", "Unsupported"),
        (BARE, {"tpm": True}, "apt install swtpm swtpm-tools", "Unsupported"),
        (FULL, {"cpu_model": "Haswell"}, "'Haswell' cannot be had on this host; there are: host-", "Unsupported"),
        (FULL, {"cpu_model": "i8080"}, "'i8080' is no model that QEMU knows", "InvalidParameterValue"),
        (FULL, {"cpu_model": "host-passthrough"}, "needs KVM", "InvalidParameterCombination"),
        (BARE, {"huge_pages": True}, "0 MiB of this host's memory", "InsufficientInstanceCapacity"),
    ],
)
def test_what_the_host_cannot_do_is_refused(abilities: Abilities, stated: Any, said: str, code: str) -> None:
    with pytest.raises(PocketError) as caught:
        machine(abilities=abilities, **stated)
    assert said in caught.value.message
    assert caught.value.message.startswith(f"{list(stated)[-1]}: ")
    assert caught.value.code == code


def test_huge_pages_need_their_file_system() -> None:
    with pytest.raises(PocketError, match=r"no hugetlbfs is mounted .* restart libvirtd") as caught:
        machine(abilities=replace(FULL, hugetlbfs=False), memory_mib=512, huge_pages=True)
    assert caught.value.code == "Unsupported"


def test_huge_pages_must_do_for_all_new_instances() -> None:
    assert machine(memory_mib=512, huge_pages=True).huge_pages
    with pytest.raises(PocketError, match=r"512 MiB .* and 513 MiB are needed"):
        machine(memory_mib=513, huge_pages=True)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KvmHost:
    return KvmHost(tmp_path, monkeypatch)


def test_an_instance_tells_its_machine_for_life(host: KvmHost) -> None:
    host.hypervisor.able = FULL
    stated = {**PARAMS, "name": "a", "firmware": "uefi", "tpm": True, "cpu_model": "qemu64"}
    foretold = execute(host.task, stated, check=True)
    done = execute(host.task, stated)
    assert foretold["diff"] == done["diff"]
    told = done["instances"][0]["machine"]
    assert told == {**dict.fromkeys(OPTIONS, False), **Machine("q35", "uefi", False, True, "qemu64").ec2()}
    # Nothing stated is nothing changed, and what is stated counts at launch.
    for again in (stated, {**PARAMS, "name": "a"}, {**stated, "firmware": "bios"}):
        result = execute(host.task, again)
        assert (result["changed"], result["instances"][0]["machine"]) == (False, told)
    gone = execute(host.task, {**PARAMS, "name": "a", "state": "terminated"})
    assert gone["instances"][0]["machine"] == told


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"secure_boot": True}, "state firmware: uefi", "InvalidParameterCombination"),
        ({"secure_boot": True, "firmware": "bios"}, "state firmware: uefi", "InvalidParameterCombination"),
        ({"cpu_model": " "}, "cpu_model: is empty", "InvalidParameterValue"),
        ({"machine_type": ""}, "machine_type: is empty", "InvalidParameterValue"),
        ({"firmware": "uefi"}, "firmware: this host has no UEFI", "Unsupported"),
    ],
)
def test_bad_machines_are_refused_before_anything_is_written(host: KvmHost, stated: Any, said: str, code: str) -> None:
    host.guard.forbidden = True
    failed = refusal(host.task, {**PARAMS, "name": "a", **stated}, check=True)
    assert said in failed["msg"]
    assert failed["error_code"] == code
