# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play without this collection does to get as many machines: tasks that loop over community.libvirt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.pocket.cloud.tests.bench.instances_definition import definition, mac

__all__ = ["bare_tasks", "same_tasks"]

_OVERLAY = "qemu-img create -q -f qcow2 -F raw -b {image} {place}/{{{{ item }}}}.qcow2"
_SEED = """
mkdir {place}/{{{{ item }}}} && cd {place}/{{{{ item }}}} &&
printf 'instance-id: floor-{{{{ item }}}}\\nlocal-hostname: floor-{{{{ item }}}}\\n' >meta-data && : >user-data &&
genisoimage -quiet -volid cidata -joliet -rock -output ../{{{{ item }}}}.iso meta-data user-data
"""
Task = dict[str, Any]


def bare_tasks(image: str, place: Path, text: str, filters: list[str]) -> list[Task]:
    """Overlays, and machines that are defined and started. No seed, no address of their own, filters that are there.

    :param text: the definition that all are made from.
    :param filters: the name of the network filter of each, where `text` has any.
    """
    numbers = list(range(len(filters)))
    definitions = [definition(text, place / f"{number}.qcow2", number, filters[number]) for number in numbers]
    machine = "community.libvirt.virt"
    return [
        {"name": "Overlays", "ansible.builtin.command": _OVERLAY.format(image=image, place=place), "loop": numbers},
        {"name": "Define", machine: {"command": "define", "xml": "{{ item }}"}, "loop": definitions},
        {"name": "Start", machine: {"name": "floor-{{ item }}", "state": "running"}, "loop": numbers},
    ]


def same_tasks(image: str, place: Path, text: str, filters: dict[str, str]) -> list[Task]:
    """What ours makes: each machine has a seed, too, its address reserved, and its own filter where `text` has any.

    :param filters: name -> definition of the network filter of each.
    """
    numbers = list(range(len(filters)))
    hosts = [f"<host mac='{mac(number)}' name='floor-{number}' ip='10.80.0.{number + 2}'/>" for number in numbers]
    network = "community.libvirt.virt_net"
    seeds = {"name": "Seeds", "ansible.builtin.shell": _SEED.format(place=place), "loop": numbers}
    modify = {"name": "pocket", "command": "modify", "xml": "{{ item }}"}
    reserve = {"name": "Reserve", network: modify, "loop": hosts}
    virsh = {"argv": ["virsh", "nwfilter-define", "/dev/stdin"], "stdin": "{{ item }}"}
    guard = {"name": "Filters", "ansible.builtin.command": virsh, "loop": list(filters.values())}
    overlays, *machines = bare_tasks(image, place, text, list(filters))
    return [overlays, seeds, reserve, *([guard] if "<filterref " in text else []), *machines]
