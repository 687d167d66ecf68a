# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance as libvirt's domain XML, and back from the metadata in it. Pure. PRIVATE to the collection.

All that describes an instance beyond its machine is in the domain's metadata, except user data, which is secret: only
its digest is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .disks import ROOT_DEVICE, SEED_DEVICE, Disk, disk_element, disks_of
from .interfaces import add_interfaces, interfaces_of
from .machine import add_machine, add_tpm, machine_of
from .mappings import RootDisk
from .model import Instance, machine_uuid
from .request import Template
from .xml_text import Element, add, child, element, parse, register, text_of

__all__ = [
    "METADATA_KEY",
    "METADATA_URI",
    "Files",
    "domain_xml",
    "instance_of",
    "metadata_xml",
    "with_metadata",
    "with_size",
]

METADATA_URI = "https://pocket.cloud/xmlns/instance/1"
METADATA_KEY = "pocket"
register(METADATA_KEY, METADATA_URI)

_REQUIRED = (
    "image_id",
    "launch_time",
    "reservation_id",
    "accel",
    "phase",
    "state_reason",
)
# What an attribute stands for that is not there: nothing, or what most instances have.
_OPTIONAL = {
    "instance_type": None,
    "user_data_sha256": None,
    "key_name": None,
    "client_token": None,
    "shutdown_behavior": "stop",
    "restart_policy": "running",
    "reason_boot": None,
}
_FLAGS = {"source_dest_check": True, "termination_protection": False}


@dataclass(frozen=True)
class Files:
    """Where an instance's files lie. `disk` is its root disk; `console` is what the guest wrote on its serial port."""

    disk: Path
    seed: Path
    console: Path

    @classmethod
    def of(cls, directory: Path, disk_format: str = "qcow2") -> Files:
        """Return those of the instance whose directory is `directory`."""
        return cls(directory / f"disk.{disk_format}", directory / "seed.iso", directory / "console.log")


def metadata_xml(instance: Instance) -> str:
    """Return the metadata element of `instance` without its namespace, which libvirt adds when it takes it."""
    return text_of(_metadata(instance, ""))


def _metadata(instance: Instance, namespace: str) -> Element:
    attributes = {"id": instance.instance_id, "ami-launch-index": instance.ami_launch_index}
    attributes.update({_attribute(name): getattr(instance, name) for name in _REQUIRED})
    for name, usual in {**_OPTIONAL, **_FLAGS}.items():
        value = getattr(instance, name)
        if value != usual:
            attributes[_attribute(name)] = str(value).lower() if name in _FLAGS else value
    root = element(f"{namespace}instance", attributes)
    add_interfaces(root, namespace, instance.interfaces)
    for key, value in sorted(instance.tags.items()):
        add(root, f"{namespace}tag", {"key": key, "value": value})
    names = instance.group_names or (None,) * len(instance.security_groups)
    for group, group_name in zip(instance.security_groups, names):
        add(root, f"{namespace}security-group", {"id": group, **({"name": group_name} if group_name else {})})
    for volume in instance.volumes_deleted_on_termination:
        add(root, f"{namespace}volume", {"id": volume, "delete-on-termination": "true"})
    return root


def _attribute(name: str) -> str:
    return name.replace("_", "-")


def instance_of(xml: str, state: str) -> Instance | None:
    """Return the instance that a domain's definition describes, in that state; none for a domain of somebody else."""
    domain = parse(xml)
    root = domain.find(f"metadata/{{{METADATA_URI}}}instance")
    if root is None:
        return None
    try:
        told: dict[str, Any] = {name: root.attrib[_attribute(name)] for name in _REQUIRED}
        told.update({name: root.get(_attribute(name), usual) for name, usual in _OPTIONAL.items()})
        told.update({name: root.get(_attribute(name), str(usual).lower()) == "true" for name, usual in _FLAGS.items()})
        return Instance(
            instance_id=root.attrib["id"],
            ami_launch_index=int(root.attrib["ami-launch-index"]),
            interfaces=interfaces_of(root, domain),
            tags={tag.attrib["key"]: tag.attrib["value"] for tag in root.iterfind("{*}tag")},
            security_groups=tuple(group.attrib["id"] for group in root.iterfind("{*}security-group")),
            disks=disks_of(domain),
            volumes_deleted_on_termination=tuple(volume.attrib["id"] for volume in root.iterfind("{*}volume")),
            group_names=tuple(filter(None, (group.get("name") for group in root.iterfind("{*}security-group")))),
            state=state,
            vcpus=int(domain.findtext("vcpu", "1")),
            memory_mib=_mib(domain.find("memory")),
            machine=machine_of(domain),
            **told,
        )
    except (KeyError, ValueError) as error:
        raise PocketError(
            f"The metadata of the domain {domain.findtext('name')} cannot be understood ({error!r}): it was edited by "
            "hand, or written by a newer release of pocket.cloud; give it back by virsh edit, or undefine that domain"
        ) from error


def _mib(memory: Element | None) -> int:
    if memory is None:
        return 0
    amount = int(memory.text or 0)
    return amount if memory.get("unit") == "MiB" else amount // 1024  # libvirt itself writes KiB


def with_metadata(xml: str, instance: Instance) -> str:
    """Return the domain's definition with the metadata of `instance` in place of that it has."""
    domain = parse(xml)
    metadata = child(domain, "metadata")
    for old in metadata.findall(f"{{{METADATA_URI}}}instance"):
        metadata.remove(old)
    metadata.append(_metadata(instance, f"{{{METADATA_URI}}}"))
    return text_of(domain)


def with_size(xml: str, instance: Instance) -> str:
    """Return the domain's definition with the vCPUs and the memory of `instance`."""
    domain = parse(xml)
    for tag in ("memory", "currentMemory"):
        memory = child(domain, tag)
        memory.set("unit", "MiB")
        memory.text = str(instance.memory_mib)
    vcpu = child(domain, "vcpu")
    vcpu.attrib.pop("current", None)
    vcpu.text = str(instance.vcpus)
    return text_of(domain)


def domain_xml(instance: Instance, files: Files, template: Template) -> str:
    """Return the whole definition of the domain of `instance`, whose machine is as `template` states."""
    domain = element("domain", {"type": "kvm" if instance.accel == "kvm" else "qemu"})
    add(domain, "name", text=instance.instance_id)
    add(domain, "uuid", text=machine_uuid(instance.instance_id))
    add(domain, "metadata").append(_metadata(instance, f"{{{METADATA_URI}}}"))
    add(domain, "memory", {"unit": "MiB"}, str(instance.memory_mib))
    add(domain, "vcpu", text=str(instance.vcpus))
    add_machine(domain, instance.machine)
    add(domain, "clock", {"offset": "utc"})
    add(domain, "on_poweroff", text="destroy")
    add(domain, "on_reboot", text="restart")
    add(domain, "on_crash", text="destroy")
    devices = add(domain, "devices")
    _devices(devices, instance, files, template.root)
    add_tpm(devices, instance.machine)
    if template.video != "none":
        # A card and no server: nothing listens, the picture is taken by way of libvirt.
        add(add(devices, "video"), "model", {"type": template.video})
    return text_of(domain)


# PCIe knows no slot to plug a disk into but a port of its own, which must be there from the start: for the eleven
# volumes that EC2 has recommended names for, and for what the machine has beside disks and interfaces.
_SPARE_PORTS = 11
_OWN_DEVICES = 5


def _devices(devices: Element, instance: Instance, files: Files, root: RootDisk) -> None:
    volumes = [disk for disk in instance.disks if disk.volume_id]
    ports = _OWN_DEVICES + len(instance.interfaces) + len(volumes) + _SPARE_PORTS
    for number in range(ports if instance.machine.has_ports else 0):
        add(devices, "controller", {"type": "pci", "index": number + 1, "model": "pcie-root-port"})
    devices.append(disk_element(Disk(ROOT_DEVICE, files.disk, root.format), root.cache, root.discard or "unmap"))
    # Not a CD-ROM: small cloud kernels have a driver for virtio disks, and none for SATA.
    seed = add(devices, "disk", {"type": "file", "device": "disk"})
    add(seed, "driver", {"name": "qemu", "type": "raw"})
    add(seed, "source", {"file": files.seed})
    add(seed, "target", {"dev": SEED_DEVICE, "bus": "virtio"})
    add(seed, "readonly")
    for volume in volumes:
        devices.append(disk_element(volume))
    for interface in instance.interfaces:
        card = add(devices, "interface", {"type": "network"})
        add(card, "mac", {"address": interface.mac_address})
        add(card, "source", {"network": interface.network})
        add(card, "model", {"type": "virtio"})
    serial = add(devices, "serial", {"type": "pty"})
    add(serial, "log", {"file": files.console, "append": "on"})
    add(serial, "target", {"type": "isa-serial", "port": 0})
    agent = add(devices, "channel", {"type": "unix"})
    add(agent, "target", {"type": "virtio", "name": "org.qemu.guest_agent.0"})
    random = add(devices, "rng", {"model": "virtio"})
    add(random, "backend", {"model": "random"}, "/dev/urandom")
    add(devices, "controller", {"type": "usb", "model": "none"})
