# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of argument specs that modules share; their texts are in the doc fragments. PRIVATE to the collection."""

from __future__ import annotations

__all__: list[str] = []
