# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine of an instance: firmware, TPM, processor model, memory. Pure. PRIVATE to the collection.

It is in the domain's definition alone, and read from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import PocketError
from .xml_text import Element, add, parse

__all__ = [
    "OPTIONS",
    "Abilities",
    "Machine",
    "abilities_of",
    "add_machine",
    "add_tpm",
    "check_machine",
    "machine_of",
    "new_machine",
]

OPTIONS = ("machine_type", "firmware", "secure_boot", "tpm", "cpu_model", "huge_pages")
PASSTHROUGH = "host-passthrough"
_MODES = (PASSTHROUGH, "host-model", "maximum")
_HUGE_PAGE_KIB = 2048


@dataclass(frozen=True)
class Machine:
    """What an instance runs on.

    :param machine_type: libvirt's name of it; libvirt itself spells out which version an alias such as C(q35) means.
    :param firmware: C(bios) or C(uefi).
    :param cpu_model: C(host-passthrough), C(host-model), C(maximum), or the name of a model.
    """

    machine_type: str = field(default="q35", compare=False)
    firmware: str = "bios"
    secure_boot: bool = False
    tpm: bool = False
    cpu_model: str = "maximum"
    huge_pages: bool = False

    @property
    def has_ports(self) -> bool:
        """Whether a device needs a port to be plugged into, as PCI Express has them; the older bus has slots."""
        return "q35" in self.machine_type

    def ec2(self) -> dict[str, Any]:
        """Return it as the options that state it."""
        return {name: getattr(self, name) for name in OPTIONS}


@dataclass(frozen=True)
class Abilities:
    """What a host can give to machines of one type.

    :param cpu_models: names of processor models, each with whether it can be had here.
    :param huge_mib: free huge pages, in MiB.
    :param hugetlbfs: whether the file system through which they are had is mounted.
    """

    firmware: frozenset[str] = frozenset()
    secure_boot: bool = False
    tpm: bool = False
    cpu_modes: frozenset[str] = frozenset()
    cpu_models: Mapping[str, bool] = field(default_factory=dict)
    huge_mib: int = 0
    hugetlbfs: bool = True


def abilities_of(xml: str, free_huge_pages: int, hugetlbfs: bool = True) -> Abilities:
    """Return what libvirt's C(domainCapabilities) tell, with the number of huge pages that are free."""
    root = parse(xml)
    supported = {mode.get("name", "") for mode in root.iterfind("cpu/mode[@supported='yes']")}
    tpm = root.find("devices/tpm[@supported='yes']")
    backends = set() if tpm is None else _values(tpm, "backendModel")
    return Abilities(
        firmware=frozenset({"bios", *("uefi" for one in _values(root.find("os"), "firmware") if one == "efi")}),
        secure_boot="yes" in _values(root.find("os/loader"), "secure"),
        tpm="emulator" in backends,
        cpu_modes=frozenset(supported & set(_MODES)),
        cpu_models={
            model.text or "": model.get("usable") != "no" for model in root.iterfind("cpu/mode[@name='custom']/model")
        },
        huge_mib=free_huge_pages * _HUGE_PAGE_KIB // 1024,
        hugetlbfs=hugetlbfs,
    )


def _values(parent: Element | None, name: str) -> set[str]:
    if parent is None:
        return set()
    return {value.text or "" for value in parent.iterfind(f"enum[@name='{name}']/value")}


# What is asked for


def check_machine(params: Mapping[str, Any]) -> None:
    """Refuse what cannot be right on any host."""
    for name in ("machine_type", "cpu_model"):
        if params[name] is not None and not params[name].strip():
            raise PocketError(f"{name}: is empty; name one, or leave it out", code="InvalidParameterValue")
    if params["secure_boot"] and params["firmware"] != "uefi":
        raise PocketError(
            "secure_boot: is a thing of UEFI; state firmware: uefi, too", code="InvalidParameterCombination"
        )


def new_machine(stated: Mapping[str, Any], accel: str, abilities: Abilities | None, memory_mib: int) -> Machine:
    """Return the machine of new instances; raises PocketError for what the host cannot give.

    :param stated: OPTIONS, each none where it is not stated; none of them is where there are no abilities.
    :param memory_mib: of all of the new instances.
    """
    usual = PASSTHROUGH if accel == "kvm" else "maximum"
    asked = {name: value for name, value in stated.items() if value is not None}
    machine = Machine(**{"cpu_model": usual, **asked})
    if machine.cpu_model == PASSTHROUGH and accel != "kvm":
        raise PocketError(
            "cpu_model: host-passthrough needs KVM, and instances are emulated here; state maximum, or leave it out",
            code="InvalidParameterCombination",
        )
    if asked and abilities is not None:
        _check_firmware(machine, abilities)
        _check_cpu(machine, abilities)
        _check_memory(machine, abilities, memory_mib)
    return machine


def _check_firmware(machine: Machine, abilities: Abilities) -> None:
    kind = machine.machine_type
    if machine.firmware not in abilities.firmware:
        raise _unsupported(f"firmware: this host has no UEFI firmware for machines of type {kind}", "ovmf")
    if machine.secure_boot and not abilities.secure_boot:
        said = f"secure_boot: this host has no UEFI firmware with Secure Boot for machines of type {kind}"
        raise _unsupported(said, "ovmf", " and state machine_type: q35" if kind != "q35" else "")
    if machine.tpm and not abilities.tpm:
        raise _unsupported("tpm: this host has no software TPM that libvirt could use", "swtpm swtpm-tools")


def _check_cpu(machine: Machine, abilities: Abilities) -> None:
    model = machine.cpu_model
    if model in abilities.cpu_modes or abilities.cpu_models.get(model):
        return
    usable = sorted([*abilities.cpu_modes, *(name for name, can in abilities.cpu_models.items() if can)])
    why = "cannot be had on this host" if model in (*_MODES, *abilities.cpu_models) else "is no model that QEMU knows"
    raise PocketError(
        f"cpu_model: {model!r} {why}; there are: {', '.join(usable)}",
        code="Unsupported" if "cannot" in why else "InvalidParameterValue",
    )


def _check_memory(machine: Machine, abilities: Abilities, memory_mib: int) -> None:
    if not machine.huge_pages:
        return
    if memory_mib > abilities.huge_mib:
        pages = -(-(memory_mib - abilities.huge_mib) * 1024 // _HUGE_PAGE_KIB)
        raise PocketError(
            f"huge_pages: {abilities.huge_mib} MiB of this host's memory are free in huge pages, and {memory_mib} MiB "
            f"are needed; reserve {pages} pages more, with sysctl vm.nr_hugepages, or leave huge_pages out",
            code="InsufficientInstanceCapacity",
        )
    if not abilities.hugetlbfs:
        raise PocketError(
            "huge_pages: no hugetlbfs is mounted on this host, through which QEMU has them; run mount -t hugetlbfs "
            "hugetlbfs /dev/hugepages and restart libvirtd, or leave huge_pages out",
            code="Unsupported",
        )


def _unsupported(said: str, packages: str, more: str = "") -> PocketError:
    return PocketError(
        f"{said}; install it, on Debian and Ubuntu with: apt install {packages}{more}", code="Unsupported"
    )


# The domain's definition


def add_machine(domain: Element, machine: Machine) -> None:
    """Add to a domain all that is about its machine, other than its devices."""
    if machine.huge_pages:
        add(add(domain, "memoryBacking"), "hugepages")
    system = add(domain, "os", {"firmware": "efi"} if machine.firmware == "uefi" else None)
    add(system, "type", {"arch": "x86_64", "machine": machine.machine_type}, "hvm")
    if machine.firmware == "uefi":
        features = add(system, "firmware")
        for name in ("enrolled-keys", "secure-boot"):
            add(features, "feature", {"name": name, "enabled": "yes" if machine.secure_boot else "no"})
        if machine.secure_boot:
            add(system, "loader", {"secure": "yes"})
    add(system, "boot", {"dev": "hd"})
    features = add(domain, "features")
    add(features, "acpi")
    add(features, "apic")
    if machine.secure_boot:
        add(features, "smm", {"state": "on"})
    if machine.cpu_model in _MODES:
        add(domain, "cpu", {"mode": machine.cpu_model})
        return
    processor = add(domain, "cpu", {"mode": "custom", "match": "exact", "check": "partial"})
    add(processor, "model", {"fallback": "forbid"}, machine.cpu_model)


def add_tpm(devices: Element, machine: Machine) -> None:
    """Add the TPM to a domain's devices, where the machine has one."""
    if machine.tpm:
        add(add(devices, "tpm", {"model": "tpm-crb"}), "backend", {"type": "emulator", "version": "2.0"})


def machine_of(domain: Element) -> Machine:
    """Return the machine that a domain's definition describes."""
    system, loader = domain.find("os"), domain.find("os/loader")
    by_uefi = system is not None and system.get("firmware") == "efi"
    by_uefi = by_uefi or (loader is not None and loader.get("type") == "pflash")
    kind, processor = domain.find("os/type"), domain.find("cpu")
    mode = "custom" if processor is None else processor.get("mode", "custom")
    return Machine(
        machine_type="q35" if kind is None else kind.get("machine", "q35"),
        firmware="uefi" if by_uefi else "bios",
        secure_boot=loader is not None and loader.get("secure") == "yes",
        tpm=domain.find("devices/tpm") is not None,
        cpu_model=domain.findtext("cpu/model", "") if mode == "custom" else mode,
        huge_pages=domain.find("memoryBacking/hugepages") is not None,
    )
