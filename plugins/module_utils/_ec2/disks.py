# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of an instance, as its domain's XML has them, and the names of their devices. Pure.

PRIVATE to the collection.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .._errors import PocketError
from .xml_text import Element, element, text_of

__all__ = [
    "ROOT_DEVICE",
    "SEED_DEVICE",
    "Disk",
    "derived_volume_id",
    "device_of",
    "disk_element",
    "disk_xml",
    "disks_of",
    "free_device",
    "is_root_device",
    "serial_of",
]

ROOT_DEVICE = "vda"
SEED_DEVICE = "vdb"
# EC2's names for what is the domain's target: /dev/sdf, /dev/xvdf and vdf are the same device.
_DEVICE = re.compile(r"(?:/dev/)?(?:sd|xvd|vd)([a-z])")
_ROOT = re.compile(r"(?:/dev/)?(?:sda1?|xvda1?|vda)")
# EC2 recommends f to p for volumes; the others are left for those who ask for them.
_OFFERED = "fghijklmnopqrstuvwxyz"
_SERIAL = re.compile(r"vol([0-9a-f]{17})")


@dataclass(frozen=True)
class Disk:
    """One disk of an instance.

    :param device_name: the target in the domain, such as C(vdf).
    :param path: the file behind it.
    :param volume_id: the volume that it is; none for the root disk and the seed.
    """

    device_name: str
    path: Path
    disk_format: str
    volume_id: str | None = None


def device_of(given: str, parameter: str = "device_name") -> str:
    """Return the target that a device's name means; raises PocketError for none and for the root device."""
    found = _DEVICE.fullmatch(given)
    if is_root_device(given):
        raise PocketError(
            f"{parameter}: {given!r} is the root device, which an instance has from its launch on; choose another, "
            "such as /dev/sdf",
            code="InvalidParameterValue",
        )
    if not found:
        raise PocketError(
            f"{parameter}: {given!r} is no name of a device; one is /dev/sdf to /dev/sdp or vdf to vdp",
            code="InvalidParameterValue",
        )
    return f"vd{found.group(1)}"


def is_root_device(given: str) -> bool:
    """Whether that is a name of the root device."""
    return _ROOT.fullmatch(given) is not None


def free_device(taken: Collection[str], instance: str) -> str:
    """Return the first device name that is offered and not taken."""
    for letter in _OFFERED:
        if f"vd{letter}" not in taken:
            return f"vd{letter}"
    raise PocketError(
        f"The instance {instance} has no free device name left from vdf to vdz; detach a volume first",
        code="AttachmentLimitExceeded",
    )


def serial_of(volume_id: str) -> str:
    """Return the serial number by which a guest knows the volume.

    A virtio disk's has 20 characters, one less than the id; EC2 leaves the hyphen out for NVMe, and so do we.
    """
    return volume_id.replace("-", "")


def derived_volume_id(instance_id: str, device_name: str) -> str:
    """Derive the id of the volume that a launch makes for that device.

    So that whoever finds a launch that died knows which volumes were made for it, and a second try makes no second.
    """
    digest = hashlib.sha256(f"{instance_id}/{device_name}".encode()).hexdigest()
    return f"vol-{digest[:17]}"


def disks_of(domain: Element) -> tuple[Disk, ...]:
    """Return the disks in a domain's definition, in its order."""
    return tuple(_disks(domain))


def _disks(domain: Element) -> Iterator[Disk]:
    for disk in domain.iterfind("devices/disk"):
        driver, source, target = disk.find("driver"), disk.find("source"), disk.find("target")
        if target is None:
            continue
        serial = _SERIAL.fullmatch(disk.findtext("serial", ""))
        yield Disk(
            device_name=target.get("dev", ""),
            path=Path(source.get("file", "") if source is not None else ""),
            disk_format=driver.get("type", "raw") if driver is not None else "raw",
            volume_id=f"vol-{serial.group(1)}" if serial else None,
        )


def disk_xml(disk: Disk) -> str:
    """Return the element of a volume."""
    return text_of(disk_element(disk))


def disk_element(disk: Disk, cache: str | None = None, discard: str = "unmap") -> Element:
    """Return the element of a disk that a guest writes to."""
    made = element("disk", {"type": "file", "device": "disk"})
    driver = {"name": "qemu", "type": disk.disk_format, "discard": discard}
    made.append(element("driver", {**driver, "cache": cache} if cache else driver))
    made.append(element("source", {"file": disk.path}))
    made.append(element("target", {"dev": disk.device_name, "bus": "virtio"}))
    if disk.volume_id:
        made.append(element("serial", text=serial_of(disk.volume_id)))
    return made
