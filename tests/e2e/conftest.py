# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab hosts on which the whole is tested, and witnesses that know nothing of the collection."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab"
sys.path.insert(0, str(LAB))

from pocketlab import access, plays
from pocketlab.state import State

NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "depmod": "kmod",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "ssh-keygen": "openssh-client",
}


@pytest.fixture(scope="session", autouse=True)
def _what_a_lab_needs() -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = sorted({package for program, package in NEEDED.items() if not shutil.which(program, path=path)})
    if missing:
        pytest.skip(
            f"no lab host here; these packages are missing: {' '.join(missing)} (apt install {' '.join(missing)})"
        )


class Host:
    """A lab host, reached as a person would reach it."""

    def __init__(self, name: str) -> None:
        self.state = State(name)

    def lab(self, *words: str) -> None:
        """Run the lab's command."""
        subprocess.run([sys.executable, str(LAB / "lab"), "--name", self.state.name, *words], check=True)

    def ssh(self, command: str) -> str:
        """What a command in the lab says; an error when it fails."""
        words = [*access.ssh_command(self.state, self.state.read()["ssh_port"]), command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def play(self, playbook: str, *arguments: str) -> int:
        """Run a playbook on it; returns how many tasks changed something."""
        return plays.play(self.state, playbook, *arguments)

    def task(self, module: str, /, **arguments: Any) -> dict[str, Any]:
        """Run a module of the collection on it; returns what the module returns."""
        return plays.task(self.state, module, **arguments)

    def domains(self) -> set[str]:
        """The names of all domains, by virsh."""
        return set(self.ssh("virsh list --all --name").split())

    def dests(self) -> dict[str, str]:
        """The dests and their weights of the virtual service, by ipvsadm."""
        lines = [line.split() for line in self.ssh("ipvsadm -Sn").splitlines()]
        return {words[words.index("-r") + 1]: words[words.index("-w") + 1] for words in lines if words[0] == "-a"}


class Clients:
    """Somebody who asks the pool all the time, each time on a new connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers = 0
        self.failures: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._end.is_set():
            try:
                plays.ask(self.url, timeout=60)  # slow is not lost
                self.answers += 1
            except (OSError, IndexError) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {error}")
            self._end.wait(0.2)

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture(scope="session")
def demo_host() -> Iterator[Host]:
    """The name of the lab that the tests give to script/demo; ended whatever happens."""
    host = Host("e2e")
    environment = {**os.environ, "POCKET_CLOUD_LAB": host.state.name}
    subprocess.run([str(ROOT / "script/demo"), "--down"], env=environment, check=True)
    try:
        yield host
    finally:
        subprocess.run([str(ROOT / "script/demo"), "--down"], env=environment, check=True)


@pytest.fixture(scope="session")
def bare_host() -> Iterator[Host]:
    """A host with neither libvirt nor QEMU nor any of the collection's other needs."""
    host = Host("e2e-bare")
    host.lab("down")
    try:
        host.lab("up", "--image", "bare")
        host.lab("wait")
        yield host
    finally:
        host.lab("down")
