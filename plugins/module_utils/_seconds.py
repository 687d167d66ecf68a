# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a user lets a task wait. PRIVATE to the collection."""

from __future__ import annotations

from ._errors import PocketError

__all__ = ["check_seconds"]

# A week. Not for the clock's sake alone, which cannot count to any number: nobody means longer.
_LONGEST = 7 * 24 * 3600


def check_seconds(name: str, seconds: int) -> None:
    """Raise InvalidParameterValue where an option that states for how long to wait is below 0 or above a week."""
    if not 0 <= seconds <= _LONGEST:
        shown = seconds if abs(seconds) < 10**18 else "the number"
        what = "is negative" if seconds < 0 else "is more than a week"
        raise PocketError(f"{name}: {shown} {what}; give seconds, 0 to {_LONGEST}", code="InvalidParameterValue")
