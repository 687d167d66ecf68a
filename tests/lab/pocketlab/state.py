# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are, and what is known about each lab: one directory a lab, below the cache."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

LAB_DIR = Path(__file__).resolve().parent.parent


class LabError(Exception):
    """One sentence for the person at the terminal."""


def cache_dir() -> Path:
    """The directory of images and running labs."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("POCKET_CLOUD_CACHE") or os.path.join(home, "pocket-cloud")).absolute()


class State:
    """The files of one lab; the directory exists exactly while the lab does."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,20}", name):
            raise LabError(f"a lab's name is 1 to 21 of a-z, 0-9 and -, and '{name}' is not")
        self.name = name
        self.directory = cache_dir() / "labs" / name
        self.file = self.directory / "state.json"
        self.pidfile = self.directory / "qemu.pid"
        self.serial = self.directory / "serial.log"
        self.disk = self.directory / "disk.qcow2"
        self.inventory = self.directory / "hosts.yml"
        self.known_hosts = self.directory / "known_hosts"

    @property
    def key(self) -> Path:
        """The private key that root of every lab accepts."""
        return cache_dir() / "ssh-key"

    def read(self) -> dict[str, Any]:
        """What `up` wrote down; an error when there is no such lab."""
        try:
            return dict(json.loads(self.file.read_text()))
        except FileNotFoundError:
            raise LabError(
                f"there is no lab '{self.name}'; start it with: tests/lab/lab --name {self.name} up"
            ) from None

    def write(self, values: dict[str, Any]) -> None:
        """Keep what later commands need."""
        self.file.write_text(json.dumps(values, indent=2) + "\n")

    def pid(self) -> int | None:
        """The process of this very lab's QEMU, None when it does not run (a process id may have a new owner)."""
        try:
            pid = int(self.pidfile.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if str(self.pidfile).encode() in words else None

    def remove(self) -> None:
        """Delete all that this lab has made."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):  # another lab lives there
            self.directory.parent.rmdir()
