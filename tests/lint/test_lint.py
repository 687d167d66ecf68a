# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check that the collection's files must pass is one test; what a tool prints is shown when it finds something."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.lint import support
from ansible_collections.pocket.cloud.tests.lint.support import ROOT, check, environment, modules, playbooks, roles

# The oldest and the newest ansible-core that are maintained, and the Pythons they run on, best first.
CORES = {"2.19": ["3.11", "3.12", "3.13"], "2.21": ["3.12", "3.13", "3.14"]}


def test_ruff_check() -> None:
    check(["ruff", "check", "--no-cache"])


def test_ruff_format() -> None:
    check(["ruff", "format", "--check", "--diff", "--no-cache"])


def test_mypy(staged: Path) -> None:
    top, lab = staged.parents[2], staged / "tests" / "lab"
    command = ["mypy", f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={support.CACHE / 'mypy'}"]
    env = environment(MYPYPATH=str(lab))  # the lab's programs are started from there, and import each other so
    packages = [str((staged / name).relative_to(top)) for name in ("plugins", "tests")]
    check([*command, "--exclude=/tests/lab/", *packages], cwd=top, env=env)
    check([*command, "."], cwd=lab, env=env)


def test_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed (apt-get install shellcheck)")
    scripts = [path for path in support.repository_files() if shell_script(ROOT / path)]
    check(["shellcheck", "--external-sources", *map(str, scripts)])


def shell_script(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.strip().endswith((b"sh", b"bash", b"sh -e", b"sh -eu"))


def test_yamllint(staged: Path) -> None:
    check(["yamllint", "--strict", "."], cwd=staged)


def python_with(core: str) -> Path:
    """The interpreter of an environment that has this ansible-core: this very one, or one made for it."""
    if importlib.metadata.version("ansible-core").startswith(f"{core}."):
        return Path(sys.executable)
    found = next(filter(None, map(support.find_python, CORES[core])), None)
    if not found:
        pytest.skip(f"ansible-core {core} needs Python {' or '.join(CORES[core])}, none of which this machine has")
    venv = support.CACHE / f"ansible-core-{core}"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        check([str(found), "-m", "venv", "--clear", str(venv)])
        check([str(python), "-m", "pip", "install", "-q", f"ansible-core=={core}.*"])
        (venv / "complete").touch()
    return python


@pytest.mark.parametrize("core", CORES)
def test_sanity(staged: Path, core: str) -> None:
    """With every Python that this machine has, for what runs on targets."""
    python = python_with(core)
    support.offline_get_pip(python)
    check(
        [str(python.parent / "ansible-test"), "sanity", "--color", "no"],
        cwd=staged,
        env=environment(PATH=support.path_with_pythons(python.parent)),
    )


def test_ansible_lint(staged: Path) -> None:
    check(
        ["ansible-lint", "--offline", "--strict", "--profile", "production"],
        cwd=staged,
        env=environment(
            ANSIBLE_COLLECTIONS_PATH=str(staged.parents[2]), PATH=support.path_with_pythons(Path(sys.executable).parent)
        ),
    )


def test_antsibull_docs(staged: Path) -> None:
    check(
        [
            "antsibull-docs",
            "lint-collection-docs",
            "--plugin-docs",
            "--validate-collection-refs",
            "self",
            "--disallow-unknown-collection-refs",
            str(staged),
        ],
        env=environment(ANSIBLE_COLLECTIONS_PATH=str(staged.parents[2])),
    )


def test_changelog(staged: Path) -> None:
    check(["antsibull-changelog", "lint"], cwd=staged)


def test_there_is_something_to_check() -> None:
    assert modules
    assert roles
    assert playbooks


@pytest.mark.parametrize("module", modules)
def test_artifact_documents_module(module_docs: dict[str, Any], module: str) -> None:
    found = module_docs[f"pocket.cloud.{module}"]
    assert "error" not in found, found
    assert found["doc"]["short_description"]
    assert found["examples"]
    assert found["return"]


@pytest.mark.parametrize("role", roles)
def test_artifact_documents_role(role_docs: dict[str, Any], role: str) -> None:
    found = role_docs[f"pocket.cloud.{role}"]
    assert "error" not in found, found
    assert found["entry_points"]["main"]["short_description"]


@pytest.mark.parametrize("playbook", playbooks)
def test_artifact_has_playbook_by_name(installed: Path, playbook: str) -> None:
    check(
        ["ansible-playbook", "--syntax-check", "-i", "playbooks/inventory", f"pocket.cloud.{playbook}"],
        env=environment(ANSIBLE_COLLECTIONS_PATH=str(installed.parents[2])),
        cwd=installed,
    )


def test_artifact_holds_what_users_need_and_nothing_of_the_workshop(installed: Path) -> None:
    held = {path.name for path in installed.iterdir()}
    assert {"README.md", "COPYING", "MANIFEST.json", "plugins", "roles", "playbooks", "meta"} <= held
    assert not {".venv", ".cache", ".git", ".ci", ".mypy_cache", "script", "tests"} & held
