# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tests inside a kernel of their own, a process of Debian's user-mode-linux, and brings their reports back."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
INIT = ROOT / "tests" / "lab" / "uml" / "init"
INSIDE = "POCKET_CLOUD_INSIDE_UML"
REPORTS = Path("/exchange/reports")
MEMORY = "768M"
SILENCE = 600  # seconds without a report after which the kernel counts as hung

NEEDED = {
    "linux.uml": "user-mode-linux",
    "ipvsadm": "ipvsadm",
    "modprobe": "kmod",
    "ip": "iproute2",
    "setpriv": "util-linux",
    "taskset": "util-linux",
}


def obstacle() -> str | None:
    """Why tests cannot run in a kernel of their own on this machine, if they cannot."""
    missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
    if missing:
        return f"these packages are missing: {' '.join(missing)} (apt install {' '.join(missing)})"
    if not Path("/usr/bin/python3").exists():
        return "/usr/bin/python3 is missing (apt install python3)"
    return None


class Machine:
    """One boot of the kernel, which runs one command, and then halts."""

    def __init__(self, command: Sequence[str], memory: str = MEMORY) -> None:
        self._exchange = Path(tempfile.mkdtemp(prefix="pocket-cloud-uml."))
        (self._exchange / "command").write_text(f"cd {shlex.quote(str(ROOT))}\n{INSIDE}=1 exec {shlex.join(command)}\n")
        self._reports = self._exchange / "reports"
        self._reports.touch()
        # Each system call inside is a switch between two processes outside; across processors that takes far longer.
        pinned = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]
        kernel = [*pinned, "linux.uml", "rootfstype=hostfs", "rootflags=/", "ro", f"init={INIT}", f"mem={memory}"]
        console = ["con=null", "con0=fd:0,fd:1", "quiet", f"uml_exchange={self._exchange}"]
        with (self._exchange / "console").open("wb") as log:
            self._process = subprocess.Popen(
                [*kernel, *console], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def reports(self) -> Iterator[dict[str, Any]]:
        """Each report as it comes; ends when the kernel has halted."""
        heard = time.monotonic()
        with self._reports.open(encoding="utf-8") as lines:
            rest = ""
            while True:
                ended = self._process.poll() is not None
                chunk = lines.read()
                if chunk:
                    heard = time.monotonic()
                    *whole, rest = (rest + chunk).split("\n")
                    yield from map(json.loads, whole)
                elif ended or time.monotonic() - heard > SILENCE:
                    return
                else:
                    time.sleep(0.1)

    def wait(self, seconds: float) -> str:
        """What the command printed, after the kernel has halted."""
        self._process.wait(seconds)
        return (self._exchange / "output").read_text(errors="replace")

    def account(self) -> str:
        """What the kernel and pytest printed, for when reports stay away."""
        texts = []
        for name in ("console", "output"):
            path = self._exchange / name
            text = path.read_text(errors="replace") if path.exists() else ""
            texts.append(f"--- {name} ---\n{text[-8000:]}")
        return "\n".join(texts)

    def close(self) -> None:
        """End all of the kernel's processes and clear up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._exchange, ignore_errors=True)
