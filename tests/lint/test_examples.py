# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every YAML block in a README works as it stands: it parses, and its plays state only what modules and roles take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.pocket.cloud.tests.lint.support import ROOT, check, environment, modules

FENCE = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KEYS_OF_A_TASK_LIST = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")


def blocks(path: Path) -> list[Any]:
    return [yaml.safe_load(text) for text in FENCE.findall(path.read_text(encoding="utf-8"))]


def is_plays(block: Any) -> bool:
    return isinstance(block, list) and all(
        isinstance(item, dict) and ("hosts" in item or "ansible.builtin.import_playbook" in item) for item in block
    )


def plays(path: Path) -> list[Any]:
    return [block for block in blocks(path) if is_plays(block)]


pages = [path for path in (ROOT / "README.md", *sorted((ROOT / "roles").glob("*/README.md"))) if path.exists()]
each_play = pytest.mark.parametrize(
    "play",
    [
        pytest.param(play, id=f"{path.relative_to(ROOT)}-{number}")
        for path in pages
        for number, play in enumerate(plays(path), 1)
    ],
)


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    """Every task of a play or of a block, however deep."""
    for key in KEYS_OF_A_TASK_LIST:
        for task in node.get(key, []):
            yield task
            yield from tasks(task)


def objections(stated: dict[str, Any], options: dict[str, Any], where: str) -> Iterator[str]:
    """What is wrong with the options that a task states, given those that are documented."""
    names = {alias: name for name, option in options.items() for alias in [name, *option.get("aliases", [])]}
    for name, value in stated.items():
        if name not in names:
            yield f"{where} has no option {name}"
            continue
        option = options[names[name]]
        templated = isinstance(value, str) and "{{" in value
        choices = option.get("choices")
        for one in value if isinstance(value, list) else [value]:
            if choices and not templated and one not in choices:
                yield f"{where} does not take {name}: {one}"
            if option.get("options") and isinstance(one, dict):
                yield from objections(one, option["options"], f"{where}.{name}")
    given = {names.get(name) for name in stated}
    yield from (
        f"{where} needs {name}" for name, option in options.items() if option.get("required") and name not in given
    )


def refused(some: list[dict[str, Any]], module_docs: dict[str, Any]) -> list[str]:
    """What is wrong with tasks that use the collection's modules."""
    return [
        objection
        for task in some
        for name in sorted(set(task) & set(module_docs))
        for objection in objections(task[name] or {}, module_docs[name]["doc"]["options"], name)
    ]


@pytest.mark.parametrize("path", pages, ids=lambda path: str(path.relative_to(ROOT)))
def test_page_has_a_play_and_all_its_blocks_parse(path: Path) -> None:
    assert plays(path)


@each_play
def test_play_passes_the_syntax_check(installed: Path, tmp_path: Path, play: Any) -> None:
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump(play, sort_keys=False), encoding="utf-8")
    check(
        ["ansible-playbook", "--syntax-check", "-i", "localhost,", str(book)],
        env=environment(ANSIBLE_COLLECTIONS_PATH=str(installed.parents[2])),
        cwd=tmp_path,
    )


@each_play
def test_play_states_what_modules_take(module_docs: dict[str, Any], play: Any) -> None:
    assert refused([task for one in play for task in tasks(one)], module_docs) == []


def roles_used(play: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The roles of a play: name, entry point, and the variables stated beside it."""
    for role in play.get("roles", []):
        plain = isinstance(role, str)
        yield (role if plain else role.get("role", role.get("name"))), "main", ({} if plain else role.get("vars", {}))
    for task in tasks(play):
        for action in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
            if action in task:
                yield task[action]["name"], task[action].get("tasks_from", "main"), task.get("vars", {})


@each_play
def test_play_uses_what_modules_return(module_docs: dict[str, Any], play: Any) -> None:
    text = yaml.safe_dump(play, width=1000)
    for task in (task for one in play for task in tasks(one)):
        for name in set(task) & set(module_docs):
            used = set(re.findall(rf"\b{re.escape(task['register'])}\.(\w+)", text)) if "register" in task else set()
            assert used <= {*module_docs[name]["return"], "changed", "failed", "skipped", "diff"}


@each_play
def test_play_states_what_roles_take(role_docs: dict[str, Any], play: Any) -> None:
    found: list[str] = []
    for one in play:
        for name, entry_point, beside in roles_used(one):
            specs = {point: spec["options"] for point, spec in role_docs[name]["entry_points"].items()}
            # Another entry point also takes what the main one does, but does not ask for it.
            shared = {option: {**spec, "required": False} for option, spec in specs["main"].items()}
            stated = {**one.get("vars", {}), **beside}
            ours = {variable: stated[variable] for variable in stated if variable.startswith(name.rsplit(".", 1)[1])}
            found += objections(ours, {**shared, **specs[entry_point]}, name)
    assert found == []


@pytest.mark.parametrize("module", modules)
def test_examples_of_module_state_what_modules_take(module_docs: dict[str, Any], module: str) -> None:
    examples = yaml.safe_load(module_docs[f"pocket.cloud.{module}"]["examples"])
    assert refused(list(tasks({"tasks": examples})), module_docs) == []


def test_readme_shows_every_module_and_role(module_docs: dict[str, Any], role_docs: dict[str, Any]) -> None:
    text = "\n".join(FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert [name for name in [*module_docs, *role_docs] if f"{name}\n" not in text and f"{name}:" not in text] == []


def test_objections_are_raised() -> None:
    options = {
        "port": {"required": True},
        "state": {"choices": ["present", "absent"]},
        "dests": {"options": {"weight": {"aliases": ["w"]}}},
    }
    assert list(objections({"port": 80, "state": "present", "dests": [{"w": 1}]}, options, "m")) == []
    assert list(objections({"state": "gone", "dests": [{"wait": 1}], "x": 1}, options, "m")) == [
        "m does not take state: gone",
        "m.dests has no option wait",
        "m has no option x",
        "m needs port",
    ]
