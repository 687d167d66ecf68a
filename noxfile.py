# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of script/test as nox sessions, for those whose hands know nox. Nothing else is in here."""

from __future__ import annotations

import nox


@nox.session(python=False)
@nox.parametrize("part", ["unit", "lint", "ipvs", "libvirt", "demo"])
def test(session: nox.Session, part: str) -> None:
    """Run one part of the tests; script/test brings its own virtual environment."""
    session.run("script/test", part, *session.posargs)
