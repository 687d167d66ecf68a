# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ipvs_dest, with a report while it drains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.pocket.cloud.plugins.plugin_utils._draining import DrainingAction


class ActionModule(DrainingAction):
    """What ansible looks for."""

    def options(self, args: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if args.get("state") != "drained":
            return None
        return {name[len("drain_") :]: value for name, value in args.items() if name.startswith("drain_")}

    def with_options(self, args: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        return {**args, **{f"drain_{name}": value for name, value in options.items()}}
