# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that libvirt itself needs, from 8 threads over 2 connections, and nothing else. Runs on the KVM host.

instances_floor.py create IMAGE DIRECTORY COUNT FILTER <domain.xml
                                                               overlays by qemu-img, define, create (paused)
instances_floor.py destroy DIRECTORY                           destroy, undefine, unlink of what runs
instances_floor.py boot PORT PACE                              start all instances of the network, so many booting at a
                                                               time; prints after how many seconds each answered
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import libvirt

from ansible_collections.pocket.cloud.tests.bench.instances_definition import definition

THREADS, CONNECTIONS = 8, 2
NETWORK = "pocket"

opened = [libvirt.open("qemu:///system") for _number in range(CONNECTIONS)]
mine = threading.local()
turns = itertools.count()


def connection() -> Any:
    if not hasattr(mine, "connection"):
        mine.connection = opened[next(turns) % CONNECTIONS]
    return mine.connection


def each(items: Iterable[Any], act: Callable[[Any], Any], threads: int = THREADS) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(act, items))


def create(image: str, directory: Path, count: int, network_filter: str) -> None:
    text = sys.stdin.read()
    directory.mkdir(exist_ok=True)

    def one(number: int) -> None:
        disk = directory / f"{number}.qcow2"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, str(disk)]
        subprocess.run(command, check=True)
        domain = connection().defineXML(definition(text, disk, number, network_filter))
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    each(range(count), one)


def destroy(directory: Path) -> None:
    def one(name: str) -> None:
        domain = connection().lookupByName(name)
        if domain.isActive():
            domain.destroy()
        domain.undefine()
        for path in directory.glob(f"{name.partition('-')[2]}.*"):
            path.unlink()

    names = [domain.name() for domain in connection().listAllDomains() if domain.name().startswith("floor-")]
    each(names, one)


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def boot(port: int, pace: int) -> None:
    """Start the instances that stand defined, as a person with a stop-watch would."""
    begun = time.monotonic()
    network = ET.fromstring(opened[0].networkLookupByName(NETWORK).XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE))
    addresses = [(host.get("name"), host.get("ip")) for host in network.iterfind("ip/dhcp/host")]

    def one(instance: tuple[str, str]) -> float:
        name, address = instance
        connection().lookupByName(name).create()
        while not answers(address, port):
            time.sleep(0.2)
        return time.monotonic() - begun

    print(json.dumps(each(addresses, one, pace)))


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "create":
        create(rest[0], Path(rest[1]), int(rest[2]), rest[3])
    elif what == "destroy":
        destroy(Path(rest[0]))
    else:
        boot(int(rest[0]), int(rest[1]))
