# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ipvs_table, with a report while it drains."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_SERVICE
from ansible_collections.pocket.cloud.plugins.plugin_utils._draining import DrainingAction


class ActionModule(DrainingAction):
    """What ansible looks for."""

    LISTS: ClassVar[Any] = {"services": IPVS_SERVICE}
