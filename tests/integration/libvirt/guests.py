# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private host that is ready for instances, and what is looked at there with virsh, ls and a web client."""

from __future__ import annotations

import re
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import MODULES, PYTHON, Host, arguments

# A boot sector that stops the processor: a machine that runs and costs nothing.
IDLE = b"\xfa\xf4\xeb\xfc".ljust(510, b"\0") + b"\x55\xaa"
SMALL = {"vcpus": 1, "memory_mib": 128}


def idle_image(directory: Path) -> Path:
    """Write a disk from which a machine boots into idleness, where the guest is not what is looked at."""
    path = directory / "idle.raw"
    path.write_bytes(IDLE.ljust(1 << 20, b"\0"))
    return path


class Cloud:
    """A host with a network and an image, and `store` as its store."""

    def __init__(self, host: Host, store: str, image: Path) -> None:
        self.host = host
        self.store = store
        host.ok("ec2like_network", store=store)
        host.ok("ec2like_image", store=store, name="guest", path=str(image))

    def params(self, **stated: Any) -> dict[str, Any]:
        merged = {"store": self.store, "image_id": "guest", "accel": "tcg", "wait": False, **SMALL, **stated}
        return {name: value for name, value in merged.items() if value is not None}

    def run(self, check: bool = False, **stated: Any) -> dict[str, Any]:
        return self.host.ok("ec2like_instance", check=check, **self.params(**stated))

    def both(self, **stated: Any) -> dict[str, Any]:
        """Run in check mode, which must foretell what the real run then does."""
        foretold = self.run(check=True, **stated)
        done = self.run(**stated)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        assert foretold["terminated_ids"] == done["terminated_ids"]
        return done

    def refused(self, **stated: Any) -> dict[str, Any]:
        return self.host.refused("ec2like_instance", **self.params(**stated))

    def killed_after(self, seconds: float, **stated: Any) -> bool:
        """Run the module and kill it after so many seconds; whether it still ran then."""
        process = self.start(**stated)
        time.sleep(seconds)
        killed = process.poll() is None
        self.host.kill(process)
        process.communicate()
        return killed

    def start(self, **stated: Any) -> subprocess.Popen[str]:
        """Start the module and give it its arguments."""
        pipe = subprocess.PIPE
        process = self.host.popen([PYTHON, MODULES / "ec2like_instance.py"], stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        process.stdin.write(arguments(self.params(**stated)))
        process.stdin.close()
        process.stdin = None
        return process

    def duration(self, **stated: Any) -> float:
        """How many seconds the module takes."""
        begun = time.monotonic()
        self.run(**stated)
        return time.monotonic() - begun

    # The witnesses

    def domains(self, *options: str) -> set[str]:
        return set(self.host.virsh("list", "--name", *(options or ("--all",))).split())

    def definitions(self) -> list[str]:
        """libvirt's own files that define the domains."""
        found = []
        for path in self.host.path("/etc/libvirt/qemu").glob("i-*.xml"):
            with suppress(FileNotFoundError):  # libvirtd may still do what a killed run asked for
                found.append(path.read_text())
        return found

    def tombstones(self) -> set[str]:
        """The instances that the register has as terminated."""
        query = "import sqlite3, sys; print(*[row[0] for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2])])"
        words = [f"{self.store}/state.sqlite", "SELECT instance_id FROM tombstones"]
        return set(self.host.run([PYTHON, "-c", query, *words]).stdout.split())

    def reservations(self) -> dict[str, str]:
        """The names and addresses that dnsmasq has at present, and that it has after the network's next start."""
        found = []
        for options in ((), ("--inactive",)):
            root = ET.fromstring(self.host.virsh("net-dumpxml", "pocket", *options))
            hosts = {host.attrib["name"]: host.attrib["ip"] for host in root.iterfind("ip/dhcp/host")}
            hosts.pop("pocket0", None)  # the network's own, by which libvirt serves DHCPv6 at all
            found.append(hosts)
        for path in self.host.path("/var/lib/libvirt/dnsmasq").glob("*.pocket/*"):
            assert not path.name.startswith("."), f"half written and left: {path}"
            _mac, address, name = path.read_text().split(",")
            found[0][name.strip()] = address
        assert found[0] == found[1]
        return found[0]

    def files(self) -> dict[str, set[str]]:
        directory = self.host.path(self.store) / "instances"
        return {path.name: {one.name for one in path.iterdir()} for path in directory.iterdir()}

    def assert_whole(self, count: int) -> None:
        """So many instances, each with domain, address, disk and seed, and nothing that belongs to none."""
        domains = self.domains()
        assert len(domains) == count
        reservations = self.reservations()
        assert set(reservations) == domains, reservations
        assert len(set(reservations.values())) == count
        files = self.files()
        assert set(files) == domains
        assert all({"disk.qcow2", "seed.iso"} <= names for names in files.values())
        names = [line.split()[-1] for line in self.host.virsh("nwfilter-list").splitlines() if line.strip()]
        definitions = self.definitions()
        checked = [text for text in definitions if 'source-dest-check="false"' not in text]
        assert all("<filterref " in text for text in checked)
        used = {name for text in definitions for name in re.findall("<filterref filter='(.*?)'", text)}
        assert {name for name in names if name.startswith("pocket-i-")} == used
        assert len(definitions) == count
        assert all('phase="launched"' in text for text in definitions)

    def assert_nothing_left(self) -> None:
        self.assert_whole(0)
        guests = self.host.run(["sh", "-c", "ls -d /run/libvirt/qemu/i-* 2>/dev/null"], check=False).stdout
        assert guests == ""


def clean_cloud(host: Host, store: str, image: Path) -> Iterator[Cloud]:
    """A cloud that must be left empty; what the test left of its instances is taken away."""
    made = Cloud(host, store, image)
    yield made
    ids = sorted(made.domains())
    made.run(
        state="terminated", instance_ids=[one for one in ids if one.startswith("i-")], termination_protection=False
    )
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")
