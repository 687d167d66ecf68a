# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one random table to the next, in the kernel's own."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, saved
from ansible_collections.pocket.cloud.tests.integration.ipvs.test_text import ALL
from ansible_collections.pocket.cloud.tests.integration.ipvs.test_text import settings as without_counters
from ansible_collections.pocket.cloud.tests.unit.ipvs_tables import tables


def test_any_table_becomes_any_other(director: Director):
    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(tables)
    def becomes(table: list[dict[str, Any]]) -> None:
        # First in check mode, which has to tell the same, and again, which has to change nothing.
        director.table(*table, purge=True, scope=ALL)
        assert without_counters(director.info()["services"]) == table
        assert len(saved()) == sum(1 + len(one["dests"]) for one in table)

    becomes()
