# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which schedulers and persistence engines a kernel has or can load. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Iterable

from .._errors import PocketError

__all__ = ["engine_module", "require", "scheduler_module"]

_LOADED = "/sys/module"
_LOADABLE = "/lib/modules"


def scheduler_module(name: str) -> str:
    """The kernel module of a scheduler."""
    return f"ip_vs_{name}"


def engine_module(name: str) -> str:
    """The kernel module of a persistence engine."""
    return f"ip_vs_pe_{name}"


def require(schedulers: Iterable[str], engines: Iterable[str]) -> None:
    """Raise PocketError for the first scheduler or engine that this kernel neither has nor can load.

    Where the host does not tell what its kernel can load, as in a container, nothing is refused here.
    """
    asked = [("scheduler", name, scheduler_module(name)) for name in sorted(set(schedulers))]
    asked += [("persistence_engine", name, engine_module(name)) for name in sorted(set(engines))]
    missing = [one for one in asked if not os.path.isdir(os.path.join(_LOADED, one[2]))]
    loadable = _loadable() if missing else None
    if loadable is None:
        return
    for option, name, module in missing:
        if module not in loadable:
            raise PocketError(
                f"{option} is {name}, but kernel {os.uname().release} of this host comes without the module {module}; "
                f"choose a {option} that it has, or install a kernel with {module}"
            )


def _loadable() -> set[str] | None:
    """The modules of the running kernel, built-in ones included; None where the host does not tell."""
    directory = os.path.join(_LOADABLE, os.uname().release)
    found = set()
    try:
        for index in ("modules.dep", "modules.builtin"):
            with open(os.path.join(directory, index), encoding="utf-8") as lines:
                for line in lines:
                    found.add(os.path.basename(line.split(":")[0].strip()).split(".ko")[0].replace("-", "_"))
    except OSError:
        return None
    return found
