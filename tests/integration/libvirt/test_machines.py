# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of several kinds on a real libvirtd; virsh and the files that libvirt keeps are the witnesses."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host

FIRMWARE = "/usr/share/qemu/firmware"


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


def definition(cloud: Cloud, instance: dict[str, Any]) -> ET.Element:
    return ET.fromstring(cloud.host.virsh("dumpxml", "--inactive", instance["instance_id"]))


def kept(cloud: Cloud) -> list[str]:
    """What libvirt keeps of machines beside their definitions: variables of UEFI, states of TPMs."""
    found = [cloud.host.path(f"/var/lib/libvirt/{place}") for place in ("qemu/nvram", "swtpm")]
    return sorted(path.name for place in found if place.is_dir() for path in place.iterdir())


def test_the_usual_machine_is_a_q35_with_what_the_emulator_can_do(idle: Cloud) -> None:
    instance = idle.both(name="a")["instances"][0]
    told = instance["machine"]
    assert told.pop("machine_type").startswith("pc-q35-")
    assert told == {
        "firmware": "bios",
        "secure_boot": False,
        "tpm": False,
        "cpu_model": "maximum",
        "huge_pages": False,
    }
    assert kept(idle) == []


@pytest.mark.parametrize("kind", ["q35", "pc"])
def test_every_machine_takes_the_most_processors_and_none_takes_more(idle: Cloud, kind: str) -> None:
    (instance,) = idle.run(name="a", machine_type=kind)["instance_ids"]
    idle.run(name="a", state="stopped", stop_timeout=0)
    (found,) = idle.both(name="a", vcpus=255)["instances"]
    assert found["vcpus"] == 255
    assert "vcpus: 256 are too many" in idle.refused(name="a", vcpus=256)["msg"]
    assert idle.run(name="a", vcpus=255, state="running")["instances"][0]["state"]["name"] == "running"
    idle.host.virsh("destroy", instance)
    idle.host.virsh("setvcpus", instance, "256", "--maximum", "--config")
    more = idle.host.run(["virsh", "-c", "qemu:///system", "start", instance], check=False)
    assert "more than 255 vCPUs" in more.stderr or "Maximum CPUs greater" in more.stderr


def test_uefi_and_tpm_stay_with_the_instance_and_go_with_it(idle: Cloud) -> None:
    asked: dict[str, Any] = {"name": "a", "firmware": "uefi", "secure_boot": True, "tpm": True}
    instance = idle.both(**asked)["instances"][0]
    assert idle.both(**asked)["changed"] is False
    root = definition(idle, instance)
    loader, backend = root.find("os/loader"), root.find("devices/tpm/backend")
    assert loader is not None
    assert backend is not None
    assert (loader.get("secure"), backend.get("type"), backend.get("version")) == ("yes", "emulator", "2.0")
    there = kept(idle)
    assert len(there) == 2
    assert idle.domains("--state-running") == {instance["instance_id"]}
    idle.run(name="a", state="stopped", stop_timeout=0)
    assert idle.run(name="a", state="running")["instances"][0]["machine"] == instance["machine"]
    assert kept(idle) == there
    idle.both(name="a", state="terminated")
    assert kept(idle) == []


def test_uefi_without_secure_boot_and_other_machines_and_processors(idle: Cloud) -> None:
    stated: list[dict[str, Any]] = [
        {"firmware": "uefi"},
        {"machine_type": "pc", "cpu_model": "qemu64"},
        {"cpu_model": "host-model"},
    ]
    for number, machine in enumerate(stated):
        asked = {"name": str(number), **machine}
        instance = idle.both(**asked)["instances"][0]
        assert idle.both(**asked)["changed"] is False
        told = instance["machine"]
        assert told["firmware"] == machine.get("firmware", "bios")
        assert told["secure_boot"] is False
        assert told["machine_type"].startswith("pc-i440fx-" if "machine_type" in machine else "pc-q35-")
        assert told["cpu_model"] == machine.get("cpu_model", "maximum")
    assert idle.domains("--state-running") == idle.domains()


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"machine_type": "z80"}, "machine_type: 'z80' is none that QEMU has", "InvalidParameterValue"),
        ({"cpu_model": "z80"}, "cpu_model: 'z80' is no model", "InvalidParameterValue"),
        ({"cpu_model": "Snowridge"}, "'Snowridge' cannot be had on this host", "Unsupported"),
        ({"cpu_model": "host-passthrough"}, "needs KVM", "InvalidParameterCombination"),
        ({"secure_boot": True}, "state firmware: uefi", "InvalidParameterCombination"),
        (
            {"machine_type": "pc", "firmware": "uefi", "secure_boot": True},
            "Secure Boot for machines of type pc",
            "Unsupported",
        ),
        ({"firmware": "coreboot"}, "value of firmware must be one of", "InvalidParameterValue"),
    ],
)
def test_machines_that_cannot_be_are_refused_before_anything_is_written(
    idle: Cloud, stated: dict[str, Any], said: str, code: str
) -> None:
    failed = idle.refused(name="a", **stated)
    assert said in failed["msg"]
    assert failed["error_code"] == code
    idle.assert_nothing_left()


def test_huge_pages_are_had_where_the_host_has_reserved_enough(idle: Cloud) -> None:
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = sum(int(line.split()[1]) for line in lines if line.startswith("HugePages_Free:"))
    failed = idle.refused(name="a", vcpus=1, memory_mib=max(32, 2 * free + 2), huge_pages=True)
    assert f"huge_pages: {2 * free} MiB of this host's memory are free in huge pages" in failed["msg"]
    assert failed["error_code"] == "InsufficientInstanceCapacity"


@pytest.fixture
def huge_pages(host: Host) -> Iterator[Callable[[], int]]:
    """Pages of 2 MiB for 144 MiB, beside those that the machine has reserved; says how many are free."""
    setting = Path("/proc/sys/vm/nr_hugepages")
    before = int(setting.read_text())
    setting.write_text(str(before + 72))
    if int(setting.read_text()) < before + 72:
        setting.write_text(str(before))
        pytest.skip("this machine has no room for 72 huge pages more")

    def free() -> int:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("HugePages_Free:"))

    yield free
    host.run(["sh", "-c", "umount /dev/hugepages"], check=False)
    setting.write_text(str(before))
    host.stop_libvirtd()  # it looks for them when it starts
    host.start_libvirt()


def test_a_machine_whose_memory_is_in_huge_pages(idle: Cloud, huge_pages: Callable[[], int]) -> None:
    asked = {"name": "a", "memory_mib": 128, "huge_pages": True}
    failed = idle.refused(**asked)
    assert "no hugetlbfs is mounted on this host" in failed["msg"]
    assert failed["error_code"] == "Unsupported"
    idle.host.run(["mkdir", "-p", "/dev/hugepages"])
    idle.host.run(["mount", "-t", "hugetlbfs", "hugetlbfs", "/dev/hugepages"])
    idle.host.stop_libvirtd()
    idle.host.start_libvirt()
    before = huge_pages()
    (instance,) = idle.both(**asked)["instances"]
    assert idle.both(**asked)["changed"] is False
    assert (instance["state"]["name"], instance["machine"]["huge_pages"]) == ("running", True)
    assert before - huge_pages() == 64
    left = 2 * huge_pages()
    failed = idle.refused(**{**asked, "name": "b", "memory_mib": left + 100})
    assert f"{left} MiB of this host's memory are free in huge pages" in failed["msg"]
    assert "reserve 50 pages more" in failed["msg"]
    idle.run(name="a", state="stopped", stop_timeout=0)
    assert huge_pages() == before
    assert idle.both(name="a", state="running")["instances"][0]["machine"] == instance["machine"]
    assert before - huge_pages() == 64
    idle.both(name="a", state="terminated")
    assert huge_pages() == before


def test_what_a_host_lacks_is_named_with_its_package(idle: Cloud) -> None:
    """Firmware and TPM are hidden from the private host alone."""
    host = idle.host
    host.run(["mount", "-t", "tmpfs", "tmpfs", FIRMWARE])
    host.run(["mount", "--bind", "/dev/null", "/usr/bin/swtpm"])
    host.stop_libvirtd()
    host.start_libvirt()
    try:
        for option, package in (("firmware", "ovmf"), ("tpm", "swtpm swtpm-tools")):
            failed = idle.refused(name="a", **{option: "uefi" if option == "firmware" else True})
            assert f"{option}: this host has no " in failed["msg"]
            assert f"apt install {package}" in failed["msg"]
            assert failed["error_code"] == "Unsupported"
    finally:
        host.run(["umount", FIRMWARE])
        host.run(["umount", "/usr/bin/swtpm"])
    # Once they are installed, they are had at once.
    assert idle.run(check=True, name="a", firmware="uefi", tpm=True)["changed"] is True
