# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network filters that are not as they were left: what makes them so again. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Sequence

from .._plan import Operation
from .network_filters import Differences, differences
from .request import Current

__all__ = ["drift", "filters_lack"]


def filters_lack(current: Current) -> Differences:
    """Return how the filters differ from what finished runs have left."""
    if current.filters is None:
        return Differences({})
    return differences(current.filters, current.instances, current.groups, current.enforcement, finished=True)


def drift(current: Current) -> Sequence[Operation]:
    """Return the repair of filters that somebody edited or removed, or that an unfinished run left."""
    lacking = filters_lack(current)
    found = current.filters or {}
    repaired = [
        _operation(name, {"intact": False} if name in found else None, {"intact": True}) for name in lacking.define
    ]
    return [*repaired, *(_operation(name, {"intact": False}, None) for name in lacking.remove)]


def _operation(name: str, before: dict[str, bool] | None, after: dict[str, bool] | None) -> Operation:
    return Operation("filter", f"network filter {name}", before, after, payload=name)
