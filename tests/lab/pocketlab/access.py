# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching the lab: ssh, and the inventory that Ansible reads."""

from __future__ import annotations

import os
import socket
import subprocess
import time

from .state import LabError, State


def ssh_options(state: State) -> list[str]:
    """What makes ssh quick and independent of the user's own settings."""
    return [
        "-F", "/dev/null",
        "-o", f"UserKnownHostsFile={state.known_hosts}",
        "-o", "StrictHostKeyChecking=yes",
        "-o", "IdentitiesOnly=yes",
        "-o", "ConnectTimeout=30",
        "-o", "ServerAliveInterval=15",
        "-o", "ServerAliveCountMax=20",
    ]  # fmt: skip


def ssh_command(state: State, port: int) -> list[str]:
    """`ssh` up to and without the remote command; the connection is kept for the next call."""
    control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={state.directory}/c", "-o", "ControlPersist=120"]
    if len(str(state.directory)) > 80:  # a socket's path has 107 bytes at most, and ssh adds 17 while it makes one
        control = []
    return ["ssh", "-q", *ssh_options(state), *control, "-i", str(state.key), "-p", str(port), "root@127.0.0.1"]


def write_inventory(state: State, port: int, host_key: str) -> None:
    """The lab as the host `lab`, member of the groups that the playbooks know."""
    state.known_hosts.write_text(f"[127.0.0.1]:{port} {' '.join(host_key.split()[:2])}\n")
    state.inventory.write_text(
        "---\n"
        "all:\n"
        "  hosts:\n"
        "    lab:\n"
        "      ansible_host: 127.0.0.1\n"
        f"      ansible_port: {port}\n"
        "      ansible_user: root\n"
        f"      ansible_ssh_private_key_file: {state.key}\n"
        f"      ansible_ssh_common_args: {' '.join(ssh_options(state))}\n"
        "      ansible_python_interpreter: /usr/bin/python3\n"
        "kvm_hosts:\n"
        "  hosts:\n"
        "    lab:\n"
        "directors:\n"
        "  hosts:\n"
        "    lab:\n"
    )


def wait_for_ssh(state: State, port: int, timeout: float) -> float:
    """Wait until sshd greets; returns the seconds it took. A lab whose QEMU ended is an error at once."""
    start = time.monotonic()
    spoke = start
    while not _greets(port):
        now = time.monotonic()
        if state.pid() is None:
            raise LabError(f"the lab's QEMU ended while it booted; its console said:\n{console_tail(state)}")
        if now - start > timeout:
            said = console_tail(state)
            raise LabError(f"the lab did not answer on ssh within {timeout:.0f} s; its console said:\n{said}")
        if now - spoke >= 10:
            spoke = now
            print(f"  the lab is booting, {now - start:.0f} s ...", flush=True)
        time.sleep(0.3)
    return time.monotonic() - start


def _greets(port: int) -> bool:
    # QEMU accepts the connection long before sshd is there, so only its greeting counts
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def console_tail(state: State, lines: int = 15) -> str:
    """The last lines of the serial console."""
    try:
        return "\n".join(state.serial.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(nothing)"


def run_ssh(state: State, port: int, words: list[str]) -> int:
    """Run a command in the lab, or a shell when there is none; returns its exit status."""
    command = [*ssh_command(state, port), *words]
    return subprocess.run(command, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False).returncode


def close_ssh(state: State) -> None:
    """End the kept connection, when there is one."""
    if (state.directory / "c").exists():
        command = ["ssh", "-q", "-F", "/dev/null", "-o", f"ControlPath={state.directory}/c"]
        subprocess.run([*command, "-O", "exit", "root@127.0.0.1"], capture_output=True, check=False)
