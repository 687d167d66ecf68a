# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copies of the collection that the checks work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.lint import support


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a copy of the collection, as it stands now, under ansible_collections/pocket/cloud."""
    return support.stage(tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the collection as users get it: built to an artifact, and installed from that."""
    work = tmp_path_factory.mktemp("artifact")
    source = support.stage(work / "source")
    support.check(["ansible-galaxy", "collection", "build", str(source), "--output-path", str(work)])
    (artifact,) = work.glob("pocket-cloud-*.tar.gz")
    target = work / "installed"
    support.check(["ansible-galaxy", "collection", "install", "--offline", "-p", str(target), str(artifact)])
    return target / "ansible_collections" / "pocket" / "cloud"
