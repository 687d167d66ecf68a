# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ipvs_restore, with refusals that name the item."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_DAEMON, IPVS_SERVICE
from ansible_collections.pocket.cloud.plugins.plugin_utils._items import NamingAction


class ActionModule(NamingAction):
    """What ansible looks for."""

    LISTS: ClassVar[Any] = {"services": IPVS_SERVICE, "sync_daemons": IPVS_DAEMON}
