# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the file systems on a disk can be frozen while it is copied. Pure. PRIVATE to the collection."""

from __future__ import annotations

from .._errors import PocketError
from .model import Instance

__all__ = ["check_freezable"]


def check_freezable(instance: Instance | None) -> None:
    """Refuse to freeze what no agent in a guest could: where the disk has no guest, or one that is off or paused.

    :param instance: what the disk is attached to, if it is.
    """
    if instance is None or instance.state != "running":
        what = "the disk is attached to none" if instance is None else f"{instance.label} is {instance.state}"
        raise PocketError(
            f"freeze: only the file systems of a running guest can be frozen, and {what}; leave it out",
            code="InvalidParameterCombination",
        )
    if instance.paused:
        raise PocketError(
            f"freeze: the agent in a guest that stands still answers nothing, and {instance.label} does "
            f"({instance.paused}); let it go on with state: running of ec2like_instance, or leave freeze out",
            code="IncorrectInstanceState",
        )
