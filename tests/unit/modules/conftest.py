# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that tests of several modules use."""

from __future__ import annotations

from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import bench, kernel

__all__ = ["bench", "kernel"]
