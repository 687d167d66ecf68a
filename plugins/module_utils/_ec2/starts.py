# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the start of an instance depends on. Pure. PRIVATE to the collection."""

from __future__ import annotations

from .addresses import active_network
from .lost_files import check_files
from .model import Instance
from .request import Current

__all__ = ["check_start"]


def check_start(instance: Instance, current: Current, new_seed: bool = False) -> None:
    """Refuse to start `instance`, or to stop it for a start, in networks that are not active, or without its files.

    :param new_seed: whether its seed is written before the start.
    """
    for interface in instance.interfaces:
        active_network(interface.network, current)
    check_files(instance, current.lost, new_seed)
