# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What IPVS shows below /proc rather than over netlink, of any network namespace. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .._errors import PocketError
from .namespaces import inside

__all__ = ["read_connections", "read_sysctl", "read_sysctls", "write_sysctls"]

SYSCTLS = "/proc/sys/net/ipv4/vs"
CONNECTIONS = "/proc/thread-self/net/ip_vs_conn"


def read_sysctl(namespace: str | None, name: str) -> str | None:
    """The setting net.ipv4.vs.NAME with one space between numbers, None where the kernel does not have it."""
    try:
        with inside(namespace), open(os.path.join(SYSCTLS, name), encoding="ascii") as file:
            return " ".join(file.read().split())
    except FileNotFoundError:
        return None


def read_sysctls(namespace: str | None) -> dict[str, str]:
    """All settings net.ipv4.vs that can be read."""
    found = {}
    with inside(namespace):
        for name in sorted(os.listdir(SYSCTLS)):
            try:
                with open(os.path.join(SYSCTLS, name), encoding="ascii") as file:
                    found[name] = " ".join(file.read().split())
            except PermissionError:  # one that can only be written, such as drop_entry's relatives of old kernels
                continue
    return found


def write_sysctls(namespace: str | None, values: Mapping[str, str]) -> None:
    """Write settings; where the kernel refuses one, those before it are put back."""
    before = read_sysctls(namespace)
    done: list[str] = []
    with inside(namespace):
        for name, value in values.items():
            try:
                _write(name, value)
            except OSError as error:
                for changed in done:
                    _write(changed, before[changed])
                raise PocketError(
                    f"sysctls: {name} is {value!r}, which the kernel refuses ({os.strerror(error.errno or 0)}); "
                    "give a value in the range that the kernel's documentation of net.ipv4.vs tells, as root"
                ) from error
            done.append(name)


def _write(name: str, value: str) -> None:
    with open(os.path.join(SYSCTLS, name), "w", encoding="ascii") as file:
        file.write(value)


def read_connections(namespace: str | None) -> str:
    """The kernel's list of connections, as it prints it."""
    try:
        with inside(namespace), open(CONNECTIONS, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise PocketError(
            f"Could not read the connections of IPVS from {CONNECTIONS}: {os.strerror(error.errno or 0)}; "
            "run the task as root (become: true)"
        ) from error
