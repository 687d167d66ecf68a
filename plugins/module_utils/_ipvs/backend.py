# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks need of a kernel, so that tests can put a table in memory in its place. PRIVATE to the collection."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Optional, Protocol

from .._plan import Plan
from .daemon import Daemon, DaemonWrite
from .model import ServiceKey, VirtualService
from .scope import Scope
from .settings import Settings, SettingsWrite

__all__ = ["LOCK", "Backend", "Connect", "exclusive"]

LOCK = "/run/pocket-cloud/ipvs.lock"


class Backend(Protocol):
    """The IPVS table of one network namespace; netlink.Kernel is the real one."""

    def read(
        self,
        keys: Collection[ServiceKey] | None = None,
        stats: bool = False,
        within: Scope | None = None,
    ) -> dict[ServiceKey, VirtualService]:
        """The services of `keys` that exist, and those that are `within`; all of them where `keys` is None."""

    def apply(self, plan: Plan) -> None:
        """Write the plan."""

    def require_modules(self, schedulers: Iterable[str], engines: Iterable[str]) -> None:
        """Refuse schedulers and persistence engines that the kernel cannot have."""

    def sysctl(self, name: str) -> str | None:
        """The setting net.ipv4.vs.NAME as text, None where the kernel does not have it."""

    def info(self) -> dict[str, Any]:
        """Version of IPVS and size of its connection table."""

    def settings(self) -> Settings:
        """The timeouts of connections, and the settings net.ipv4.vs."""

    def write_settings(self, write: SettingsWrite) -> None:
        """Write settings."""

    def daemons(self) -> list[Daemon]:
        """The connection synchronisation daemons that run."""

    def write_daemon(self, write: DaemonWrite) -> None:
        """Stop and start a daemon."""

    def zero(self, key: ServiceKey | None) -> None:
        """Set the counters of a service and its dests to 0, of all where `key` is None."""

    def connections(self) -> str:
        """The kernel's list of connections, as it prints it."""


Connect = Callable[[Optional[str]], Backend]
"""Opens the table of a network namespace, of the own one for None."""


@contextmanager
def exclusive() -> Iterator[None]:
    """Let one run at a time change tables on this host; a second one waits for the first.

    Who may not write the lock may, as a rule, not write the table either: that answer is left to the kernel.
    """
    try:
        os.makedirs(os.path.dirname(LOCK), mode=0o755, exist_ok=True)
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
