# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of one instance. PRIVATE to the collection."""

from __future__ import annotations

import shutil
from pathlib import Path

from .._errors import PocketError

__all__ = ["make_directory", "remove_directory"]


def make_directory(directory: Path) -> None:
    """Make it; one that is there will do."""
    try:
        directory.mkdir(exist_ok=True)
        directory.chmod(0o711)  # QEMU, a user of its own, passes through
    except OSError as error:
        raise PocketError(f"Cannot make the instance's directory {directory}: {error.strerror or error}") from error


def remove_directory(directory: Path) -> None:
    """Take it away with all that is in it; done already is well."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PocketError(f"Cannot remove the instance's directory {directory}: {error.strerror or error}") from error
