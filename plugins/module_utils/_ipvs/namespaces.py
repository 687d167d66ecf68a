# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in another network namespace of this host. PRIVATE to the collection."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from .._errors import PocketError

__all__ = ["inside", "parse_namespace"]

CLONE_NEWNET = 0x40000000
NAMESPACES = "/run/netns"

_NAME = re.compile(r"[^/\x00]{1,255}")


def parse_namespace(name: str | None) -> str | None:
    """The name of a network namespace, or None for the own one; PocketError for what would be no file of its own."""
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name) or name in (".", "..")):
        raise PocketError(
            f"namespace is {name!r}; give the name of a network namespace as 'ip netns list' shows it, "
            "or leave namespace out for the host's own"
        )
    return name


@contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """Open sockets of the network namespace `namespace` in this block."""
    if namespace is None:
        yield
        return
    path = os.path.join(NAMESPACES, namespace)
    try:
        there, home = os.open(path, os.O_RDONLY), os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    except OSError as error:
        raise PocketError(
            f"namespace is {namespace!r}, but {path} cannot be opened ({os.strerror(error.errno or 0)}); "
            f"give the name of a network namespace that 'ip netns list' shows, or make it: ip netns add {namespace}"
        ) from error
    try:
        _enter(there, namespace)
        try:
            yield
        finally:
            _enter(home, namespace)
    finally:
        os.close(there)
        os.close(home)


def _enter(descriptor: int, namespace: str) -> None:
    import ctypes  # only where it is needed: a table may be read and compared in less time

    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise PocketError(
            f"Could not enter the network namespace {namespace}: {reason}; run the task as root (become: true)"
        )
