# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to one libvirt daemon. PRIVATE to the collection.

The only import of libvirt. Its errors leave here as PocketError.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from .._deps import require
from .._errors import PocketError
from .model import check_text

__all__ = ["DEFAULT_URI", "THREADS", "THREADS_THAT_WAIT", "Connection"]

DEFAULT_URI = "qemu:///system"
# libvirtd serves five requests of one connection at a time, and one that is silent for long it drops: four threads
# share a connection, and there are four. Of twenty workers in all that leaves some to others. Half of that is as much
# as work that takes processors can use; the end of a machine is waiting for the most part.
CONNECTIONS = 4
THREADS_THAT_WAIT = 4 * CONNECTIONS
THREADS = THREADS_THAT_WAIT // 2


class Connection:
    """Connections to the libvirt daemon at `uri`, made when first needed, for at most THREADS_THAT_WAIT threads."""

    def __init__(self, uri: str = DEFAULT_URI) -> None:
        check_text(uri, "uri")
        if not uri.strip():
            raise PocketError(
                f"uri: {uri!r} is none that libvirt could connect to; give one such as {DEFAULT_URI}, or leave it out",
                code="InvalidParameterValue",
            )
        self.uri = uri
        self._libvirt: Any = None
        self._opened: list[Any] = []
        self._guard = threading.Lock()
        self._threads = threading.local()
        self._turns = itertools.count()

    @property
    def _local(self) -> bool:
        """Whether the daemon is on this host, whose files then tell of it."""
        return not urlsplit(self.uri).netloc

    @property
    def _connection(self) -> Any:
        """The connection of this thread; those of a pool take turns."""
        mine = getattr(self._threads, "connection", None)
        if mine is None or mine not in self._opened:
            mine = self._threads.connection = self._next()
        return mine

    def _next(self) -> Any:
        with self._guard:
            number = 0
            if threading.current_thread() is not threading.main_thread():
                number = next(self._turns) % CONNECTIONS
            while len(self._opened) <= number:
                self._opened.append(self._connect())
            return self._opened[number]

    def _connect(self) -> Any:
        self._libvirt = require("libvirt")
        # Else the library prints each error on standard error, beside raising it.
        self._libvirt.registerErrorHandler(lambda _context, _error: None, None)
        try:
            return self._libvirt.open(self.uri)
        except self._libvirt.libvirtError as error:
            wrong = (self._libvirt.VIR_ERR_NO_CONNECT, self._libvirt.VIR_ERR_INVALID_ARG)
            raise _unreachable(self.uri, str(error), error.get_error_code() in wrong) from error

    def close(self) -> None:
        """Close the connections, if there are any."""
        with self._guard:
            while self._opened:
                self._opened.pop().close()

    @contextmanager
    def _attempt(self, what: str) -> Iterator[None]:
        """Turn libvirt's errors into sentences that begin with what was attempted."""
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise PocketError(f"Cannot {what}: libvirt says: {error}") from error

    def _missing(self, error: Exception) -> bool:
        gone = (self._libvirt.VIR_ERR_NO_DOMAIN, self._libvirt.VIR_ERR_NO_DOMAIN_METADATA)
        return error.get_error_code() in gone  # type: ignore[attr-defined]

    def _towards(self, active: bool, subject: Any, act: Callable[[], Any]) -> None:
        """Act, and take no offence where the domain or network turns out to be as wanted already."""
        try:
            act()
        except self._libvirt.libvirtError as error:
            refused = error.get_error_code() == self._libvirt.VIR_ERR_OPERATION_INVALID
            if not refused or bool(subject.isActive()) != active:
                raise

    def version(self) -> str:
        """Return the daemon's version, such as C(9.0.0)."""
        connection = self._connection
        with self._attempt(f"ask {self.uri} for its version"):
            number = connection.getLibVersion()
        return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"


def _unreachable(uri: str, said: str, wrong: bool) -> PocketError:
    start = "start it with: systemctl start libvirtd"
    if "No such file" in said or "Connection refused" in said:
        return PocketError(f"libvirtd isn't running on this host, or not at {uri} ({said}); {start}")
    if "Permission denied" in said or "authenticat" in said or "access denied" in said:
        return PocketError(f"No permission to use libvirt at {uri} ({said}); run with become: true")
    if wrong or "parse URI" in said:
        way = f"give one such as {DEFAULT_URI}, or leave it out"
        return PocketError(f"uri: {uri!r} is none of libvirt's ({said}); {way}", code="InvalidParameterValue")
    return PocketError(f"Cannot connect to libvirt at the uri {uri!r}: {said}")
