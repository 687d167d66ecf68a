# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copies of the collection that the checks work on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def documented(installed: Path, kind: str) -> dict[str, Any]:
    """What ansible-doc knows of the installed collection's modules or roles, by full name."""
    found = support.check(
        ["ansible-doc", "--type", kind, "--metadata-dump", "--no-fail-on-errors", "pocket.cloud"],
        env=support.environment(ANSIBLE_COLLECTIONS_PATH=str(installed.parents[2])),
        cwd=installed,
    )
    return json.loads(found)["all"][kind]  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def module_docs(installed: Path) -> dict[str, Any]:
    return documented(installed, "module")


@pytest.fixture(scope="session")
def role_docs(installed: Path) -> dict[str, Any]:
    return documented(installed, "role")
