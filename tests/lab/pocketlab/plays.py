# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running playbooks against a lab, and asking the pool from outside."""

from __future__ import annotations

import collections
import json
import os
import re
import selectors
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .state import LAB_DIR, LabError, State, cache_dir

ROOT = LAB_DIR.parents[1]
QUIET_SECONDS = 5.0  # after so long without a line, a sign of life is printed


def ansible_environment(state: State) -> dict[str, str]:
    """The collection from this checkout, few ssh round trips, and nothing kept outside the lab's directory."""
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"),
        "ANSIBLE_HOME": str(state.directory / "ansible"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_TIMEOUT": "60",
        "ANSIBLE_SSH_RETRIES": "3",
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=300s",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(state.directory),
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0",
        "ANSIBLE_FORCE_COLOR": "1" if sys.stdout.isatty() else "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
    }


class PlayFailedError(LabError):
    """A playbook ended with a failure; it has said why."""


def play(state: State, playbook: str, *arguments: str, show: Callable[[str], None] = print) -> int:
    """Run a playbook of the collection against the lab; returns how many tasks changed something."""
    command = [*_command(state, "ansible-playbook"), "-e", f"lab_guest_image={cache_dir() / 'guest.qcow2'}"]
    command += [*arguments, str(ROOT / "playbooks" / playbook)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=ansible_environment(state),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        said = _follow(process, show)
    recap = re.findall(r"ok=\d+ .*?changed=(\d+)", said)
    if process.returncode or not recap:
        raise PlayFailedError(f"{playbook} failed with status {process.returncode}")
    return sum(int(changed) for changed in recap)


def task(state: State, module: str, /, **arguments: Any) -> dict[str, Any]:
    """Run one module of the collection on the lab; returns what it returns."""
    command = [*_command(state, "ansible"), "lab", "-m", f"pocket.cloud.{module}"]
    command += ["-a", json.dumps(arguments)] if arguments else []
    environment = {**ansible_environment(state), "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    _host, arrow, said = done.stdout.partition(" => ")
    if done.returncode or not arrow:
        raise PlayFailedError(f"{module} failed with status {done.returncode}: {done.stdout}{done.stderr}")
    results: dict[str, Any] = json.loads(said)
    return results


def _command(state: State, program: str) -> list[str]:
    inventories = ["-i", str(LAB_DIR / "inventory"), "-i", str(state.inventory)]
    return [str(Path(sys.executable).parent / program), *inventories]


def _follow(process: subprocess.Popen[str], show: Callable[[str], None]) -> str:
    """Show each line as it comes, and a sign of life in between; returns all that was said, without colours."""
    assert process.stdout is not None
    start = time.monotonic()
    said = ""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout.fileno(), selectors.EVENT_READ)
        unfinished = b""
        while True:
            if not selector.select(QUIET_SECONDS):
                show(f"  ... {time.monotonic() - start:.0f} s")
                continue
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            *lines, unfinished = (unfinished + piece).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                said += re.sub(r"\x1b\[[0-9;]*m", "", text) + "\n"
                if text.strip():
                    show(text)
    return said


def ask(url: str, timeout: float = 10.0) -> str:
    """One request on a connection of its own; returns the id of the instance that answered."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return str(answer.read().decode().split()[0])


def ask_many(url: str, times: int) -> dict[str, int]:
    """How many of the requests each instance answered."""
    counts: collections.Counter[str] = collections.Counter()
    for _request in range(times):
        counts[ask(url)] += 1
    return dict(sorted(counts.items()))


def url_of(state: State) -> str:
    """Where this machine reaches the pool."""
    host_port = state.read()["forwards"][0][0]
    return f"http://127.0.0.1:{host_port}/"
