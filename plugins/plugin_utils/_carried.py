# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beginning of a program that a controller hands to a host's Python on its standard input. PRIVATE.

It imports modules whose sources came with it, so nothing is written on the host. It imports nothing of the collection
itself, and runs on any Python that a target may have.
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import sys
import zlib
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from typing import Any

__all__ = ["MARK", "PACKAGE", "Carried", "main", "pack"]

PACKAGE = "pocket_cloud"
# A shell's start-up files may print, too: the answer is the last line that begins so.
MARK = "pocket.cloud answers: "


class Carried(MetaPathFinder, InspectLoader):
    """Finds the modules of PACKAGE in `sources`: full name -> source; a package is one with modules in it."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._packages = {name.rpartition(".")[0] for name in sources} - {""}
        self._sources = {**dict.fromkeys(self._packages, ""), **sources}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how to load the module, none where it did not come along."""
        return spec_from_loader(fullname, self) if fullname in self._sources else None

    def get_source(self, fullname: str) -> str:
        """Return the source of the module."""
        return self._sources[fullname]

    def is_package(self, fullname: str) -> bool:
        """Whether it is a package."""
        return fullname in self._packages


def pack(sources: dict[str, str]) -> str:
    """Return `sources` as text for main()."""
    return base64.b64encode(zlib.compress(json.dumps(sources).encode(), 6)).decode()


def main(packed: str, module: str, request: dict[str, Any]) -> None:
    """Print what answer() of the carried module says to `request`."""
    gc.disable()  # there is nothing to collect in a life so short
    sys.meta_path.insert(0, Carried(json.loads(zlib.decompress(base64.b64decode(packed)))))
    found = importlib.import_module(f"{PACKAGE}.{module}").answer(request)
    sys.stdout.write(f"\n{MARK}{json.dumps(found)}\n")
