# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries that a target needs beyond Python itself. PRIVATE to the collection.

Each comes with the distribution; nobody has to pip install anything on a target.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from ._errors import PocketError

__all__ = ["PACKAGES", "require"]

PACKAGES = {
    "libvirt": ("python3-libvirt", "libvirt-python"),
    "libvirt_qemu": ("python3-libvirt", "libvirt-python"),
}
"""Importable name -> (Debian's package, PyPI's name)."""


def require(name: str) -> ModuleType:
    """Import the library `name`, one of PACKAGES, or raise a PocketError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        debian, pypi = PACKAGES[name]
        raise PocketError(
            f"The Python library {pypi} cannot be imported by {sys.executable or 'python3'} on this host ({error}); "
            f"install it there, on Debian and Ubuntu with: apt install {debian}"
        ) from error
