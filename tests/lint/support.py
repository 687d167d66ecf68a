# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of tests/lint share: running tools, copying the tree, finding interpreters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "lint"
HOME = CACHE / "home"
PYTHONS = [f"3.{minor}" for minor in range(9, 15)]
modules = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
roles = sorted(path.name for path in (ROOT / "roles").glob("*") if path.is_dir())
playbooks = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
WANTED_PIP = """
import sys
from ansible_test._internal.python_requirements import get_venv_packages

class Python:
    version = "%d.%d" % sys.version_info[:2]

print(get_venv_packages(Python())["pip"])
"""


def environment(**extra: str) -> dict[str, str]:
    """An environment in which no user's configuration of Ansible counts and nothing is written to the real home."""
    HOME.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GIT_"))}
    kept.setdefault("XDG_CONFIG_HOME", str(Path.home() / ".config"))  # pip's settings stay in force
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, "HOME": str(HOME), "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1", **extra}


def check(command: list[str], cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run one tool; the test fails with all it printed unless it ends with status 0. Its standard output otherwise."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(
            f"{' '.join(command)} ended with status {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False
        )
    return done.stdout


def repository_files() -> list[Path]:
    """Every file that belongs to the collection, relative to its root: what git tracks or would add."""
    listed = check(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"])
    return sorted(path for path in map(Path, listed.rstrip("\0").split("\0")) if (ROOT / path).is_file())


def stage(destination: Path) -> Path:
    """Copy the collection to where Ansible's tools want it; the root of the copy."""
    root = destination / "ansible_collections" / "pocket" / "cloud"
    for path in repository_files():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, root / path, follow_symlinks=False)
    return root


def find_python(version: str) -> Path | None:
    """A working interpreter of this version: on PATH, or where pyenv and uv keep theirs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")))
    candidates = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    for place, pattern in (
        (pyenv / "versions", f"{version}.*/bin/python{version}"),
        (Path.home() / ".local/share/uv/python", f"cpython-{version}.*/bin/python{version}"),
    ):
        candidates += sorted(place.glob(pattern), reverse=True)
    for candidate in candidates:
        asked = subprocess.run(
            [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and asked.stdout.strip() == version:
            return candidate
    return None


def path_with_pythons(first: Path) -> str:
    """A PATH on which ansible-test finds every interpreter there is, and none that only pretends to work."""
    links = CACHE / "pythons"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for version in PYTHONS:
        if python := find_python(version):
            # Not a link: an interpreter finds its libraries by the path it was started with.
            start = links / f"python{version}"
            start.write_text(f'#!/bin/sh\nexec {python} "$@"\n', encoding="utf-8")
            start.chmod(0o755)
    shims = [one for one in os.environ["PATH"].split(os.pathsep) if not one.endswith("/shims")]
    return os.pathsep.join([str(first), str(links), *shims])


def offline_get_pip(python: Path) -> None:
    """Give ansible-test the pip it wants from the package index, in place of a script it would download itself.

    It runs ~/.ansible/test/cache/get_pip_VERSION.py inside each new virtual environment.
    """
    wanted = check([str(python), "-c", WANTED_PIP]).split()
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in wanted:
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        if script.exists():
            continue
        check([str(python), "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), f"pip=={version}"])
        wheel = cache / f"pip-{version}-py3-none-any.whl"
        script.write_text(
            "import sys\n"
            f"sys.path.insert(0, {str(wheel)!r})\n"
            "from pip._internal.cli.main import main\n"
            "options = [one for one in sys.argv[1:] if one not in ('--no-setuptools', '--no-wheel')]\n"
            "sys.exit(main(['install', '--upgrade', '--force-reinstall', *options]))\n",
            encoding="utf-8",
        )
