# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks, and the plays that the roles' READMEs show, are such as ansible-playbook takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
READMES = sorted((ROOT / "roles").glob("*/README.md"))


def blocks(readme: Path) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def options(role: str) -> set[str]:
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return {name for spec in specs["argument_specs"].values() for name in spec["options"]}


def stated(value: Any) -> set[str]:
    """All keys of all dictionaries in `value`."""
    if isinstance(value, dict):
        return set(value).union(*map(stated, value.values()))
    if isinstance(value, list):
        return set().union(*map(stated, value))
    return set()


def test_every_play_passes_the_syntax_check(tmp_path: Path) -> None:
    plays = [ROOT / "playbooks" / name for name in ("site.yml", "destroy.yml")]
    for readme in READMES:
        for number, text in enumerate(blocks(readme)):
            plays.append(tmp_path / f"{readme.parent.name}-{number}.yml")
            plays[-1].write_text(text, encoding="utf-8")
    assert len(plays) > len(READMES) + 1
    inventory = ROOT / "playbooks" / "inventory" / "hosts.yml"
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", "-i", inventory, *plays],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_plays_and_the_example_inventory_state_are_options_of_the_roles() -> None:
    roles = [path.parent.name for path in READMES]
    known = set().union(*map(options, roles))
    texts = [text for readme in READMES for text in blocks(readme)]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "playbooks").rglob("*.yml")]
    prefixes = (*(f"{role}_" for role in roles), "load_balanced_pools")
    names = {name for text in texts for name in stated(yaml.safe_load(text)) if name.startswith(prefixes)}
    assert names
    assert names - known == set()


def test_every_readme_names_every_option() -> None:
    for readme in READMES:
        role = readme.parent.name
        text = readme.read_text(encoding="utf-8")
        prefix = f"{role}_"
        missing = [n for n in options(role) if n not in text and f"`_{n[len(prefix) :]}`" not in text]
        assert missing == [], role
