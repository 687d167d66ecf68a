# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module and role of the collection promises, whoever adds the next one."""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.pocket.cloud.plugins.doc_fragments import attributes

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
MODULES = sorted(path for path in (PLUGINS / "modules").glob("*.py") if path.stem != "__init__")
ROLES = sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir())
SOURCES = sorted(path for path in PLUGINS.rglob("*.py") if path.stat().st_size)  # an __init__.py is empty
CODE_LINES = 120  # a module is documentation, an argument spec and one call to run()
FILE_LINES = 400
FUNCTION_LINES = 40
PREFIX = "ansible_collections.pocket.cloud.plugins"

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PLUGINS)))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def texts(path: Path) -> dict[str, ast.Constant]:
    """The string constants that a file assigns at its top, by name."""
    return {
        node.targets[0].id: node.value
        for node in parsed(path).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def section(path: Path, name: str) -> Any:
    return yaml.safe_load(str(texts(path)[name].value))


def documentation(path: Path) -> dict[str, Any]:
    """A module's documentation with its fragments merged in, as ansible-doc has it."""
    document = section(path, "DOCUMENTATION")
    for name in document.get("extends_documentation_fragment", []):
        fragment, _dot, variant = name.removeprefix("pocket.cloud.").partition(".")
        holder = importlib.import_module(f"{PREFIX}.doc_fragments.{fragment}").ModuleDocFragment
        merged = yaml.safe_load(getattr(holder, (variant or "DOCUMENTATION").upper()))
        for key in ("options", "attributes"):
            document[key] = {**merged.get(key, {}), **document.get(key, {})}
            for item, extra in merged.get(key, {}).items():
                document[key][item] = {**extra, **document[key][item]}
    return document  # type: ignore[no-any-return]


def imports(path: Path) -> Iterator[str]:
    """Every absolute name that a file imports, or asks for by require() or import_module()."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("require", "import_module"):
                yield str(node.args[0].value)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def importers(top: str) -> set[str]:
    """The files under plugins/ that import a package, by path."""
    return {
        str(path.relative_to(PLUGINS)) for path in SOURCES if any(name.split(".")[0] == top for name in imports(path))
    }


def test_there_is_something_to_hold() -> None:
    assert len(MODULES) >= 9
    assert len(ROLES) >= 3
    assert attributes.ModuleDocFragment.DOCUMENTATION


@each_module
def test_module_documents_full_check_and_diff_mode_or_says_why_not(path: Path) -> None:
    stated = documentation(path)["attributes"]
    for name in ("check_mode", "diff_mode"):
        if stated[name]["support"] != "full":
            assert stated[name].get("details"), f"{name} is {stated[name]['support']} without details that say why"


@each_module
def test_module_supports_check_mode(path: Path) -> None:
    calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    kind = "Ec2likeModule" if path.stem.startswith("ec2like_") else "AnsibleModule"
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == kind]
    assert made, f"makes no {kind}"
    for call in made:
        stated = {word.arg: word.value for word in call.keywords}
        assert isinstance(stated["supports_check_mode"], ast.Constant)
        assert stated["supports_check_mode"].value is True


@each_module
def test_module_has_examples_of_itself_and_documents_what_it_returns(path: Path) -> None:
    name = f"pocket.cloud.{path.stem}"
    examples = section(path, "EXAMPLES")  # plays or tasks
    tasks = [task for example in examples for task in example.get("tasks", [example])]
    assert [task for task in tasks if name in task], f"no example uses {name}"
    assert all(task.get("name") for task in tasks), "an example has no name"
    returned = section(path, "RETURN")
    for value in returned.values():
        assert value["description"]
        assert value["returned"]
        assert value["type"]


@each_module
def test_module_is_short_beside_its_documentation(path: Path) -> None:
    held = texts(path).values()
    prose = sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in held)
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines - prose < CODE_LINES


@each_module
def test_module_has_unit_tests_in_the_mirrored_place(path: Path) -> None:
    assert (ROOT / "tests" / "unit" / "modules" / f"test_{path.stem}.py").is_file()


def test_action_groups_list_every_module() -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    for name, prefix in (("ipvs", "ipvs_"), ("ec2like", "ec2like_")):
        assert sorted(groups[name]) == [path.stem for path in MODULES if path.stem.startswith(prefix)]
    assert sorted(itertools.chain(groups["ipvs"], groups["ec2like"])) == [path.stem for path in MODULES]


@pytest.mark.parametrize(("group", "option"), [("ipvs", "namespace"), ("ec2like", "store"), ("ec2like_libvirt", "uri")])
def test_an_action_group_takes_the_option_that_it_is_for(group: str, option: str) -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    assert groups[group] == [path.stem for path in MODULES if option in documentation(path)["options"]]


@each_role
def test_role_has_argument_specs_for_every_default(role: Path) -> None:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    stated = {option for spec in specs.values() for option in spec.get("options", {})}
    assert specs["main"]["short_description"]
    assert specs["main"]["description"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8")) or {}
    assert set(defaults) - stated == set()
    assert all(name.startswith((f"{role.name}_", f"{role.name}s")) for name in stated | set(defaults))


@each_role
def test_role_readme_shows_a_play_with_it(role: Path) -> None:
    text = (role / "README.md").read_text(encoding="utf-8")
    assert "```yaml" in text
    assert f"pocket.cloud.{role.name}" in text


@pytest.mark.parametrize("package", ["_ipvs", "_ec2"])
def test_nothing_below_the_modules_imports_ansible(package: str) -> None:
    place = f"module_utils/{package}/"
    assert [path for path in importers("ansible") | importers("ansible_collections") if path.startswith(place)] == []


def test_libvirt_is_imported_in_one_file_only() -> None:
    assert importers("libvirt") == {"module_utils/_ec2/connection.py"}


def test_the_netlink_socket_is_pythons_own() -> None:
    assert importers("pyroute2") == set()
    for path in MODULES:
        assert "pyroute2" not in str(documentation(path).get("requirements")), path.stem


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.stem.startswith("ipvs_")], ids=lambda path: path.stem
)
def test_each_ipvs_module_works_in_a_network_namespace(path: Path) -> None:
    assert documentation(path)["options"]["namespace"]["type"] == "str"


def test_xml_is_parsed_in_the_one_place_that_refuses_entities() -> None:
    assert importers("xml") | importers("lxml") == {"module_utils/_ec2/xml_text.py"}


@each_source
def test_source_says_its_licence_and_keeps_to_its_size(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert "# SPDX-License-Identifier: GPL-3.0-or-later" in lines[:5]
    assert "from __future__ import annotations" in lines
    prose = sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in texts(path).values())
    assert len(lines) - prose <= FILE_LINES


@each_source
def test_functions_fit_on_a_screen(path: Path) -> None:
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    too_long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES]
    assert too_long == []


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.parent.name in ("module_utils", "_ipvs", "_ec2") and path.stem != "__init__"],
    ids=lambda path: str(path.relative_to(PLUGINS)),
)
def test_module_utils_say_that_they_are_private_and_what_they_offer(path: Path) -> None:
    assert "PRIVATE" in (ast.get_docstring(parsed(path)) or "")
    names = {
        node.targets[0].id
        for node in parsed(path).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    names |= {
        node.target.id
        for node in parsed(path).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert "__all__" in names
