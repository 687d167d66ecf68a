# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private host, its stores and the guest image, as fixtures."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.machines import Machine
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import ROOT, Host, why_not

CACHE = Path(
    os.environ.get("POCKET_CLOUD_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pocket-cloud"
)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def bare_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A private host on which libvirt was not started."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture
def host(bare_host: Host) -> Host:
    """The private host, with libvirtd running. /dev/kvm is not shown to it: it may be broken, and TCG is everywhere."""
    bare_host.start_libvirt()
    return bare_host


@pytest.fixture
def store(bare_host: Host) -> Iterator[str]:
    """The path on the private host of a store that does not exist yet; what is in it later is in memory, so it goes."""
    path = f"/var/lib/pocket-cloud-{next(_numbers)}"
    yield path
    bare_host.run(["rm", "-rf", path])


@pytest.fixture(scope="session")
def guest_image() -> Path:
    """The tiny guest's disk image, built where that was not done yet."""
    subprocess.run([ROOT / "tests" / "lab" / "guest" / "build"], check=True, timeout=600)
    return CACHE / "guest.qcow2"


@pytest.fixture
def machine(host: Host, guest_image: Path) -> Iterator[Callable[..., Machine]]:
    """Makes a machine on a bridge: C(machine(name, bridge, mac))."""
    made: list[Machine] = []

    def make(name: str, bridge: str, mac: str = "52:54:00:0a:0b:0c") -> Machine:
        made.append(Machine(host, name, bridge, mac, guest_image.parent / "kernel" / "tree" / "bin" / "busybox"))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture(scope="session")
def debian_image() -> Path:
    """A cloud image of Debian 12, built of its packages where that was not done yet."""
    subprocess.run([ROOT / "tests" / "lab" / "debian" / "build"], check=True, timeout=600)
    return CACHE / "debian.qcow2"
