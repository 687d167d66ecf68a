# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""script/test must tell the truth: what failed, hung, vanished or was skipped is counted as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests import parts

MIXED = """
import pytest

def test_good():
    pass

def test_bad():
    assert False

@pytest.fixture
def broken_in_the_end():
    yield
    raise RuntimeError("clean-up")

def test_teardown(broken_in_the_end):
    pass

def test_skipped():
    pytest.skip("no such kernel")
"""


@pytest.fixture
def try_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs one file of tests as the only part; its outcomes by test name."""
    monkeypatch.setattr(parts, "RESULTS", tmp_path)
    monkeypatch.setattr(parts, "ROOT", tmp_path)
    monkeypatch.setattr(parts, "INTERRUPT_GRACE", 5)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "expected-skips.txt").write_text("# nothing\n")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts in half the time

    def run(source: str, time_limit: int = 60, expected: str = "") -> list[parts.Outcome]:
        (tmp_path / "test_it.py").write_text(source)
        (tmp_path / "tests" / "expected-skips.txt").write_text(expected)
        return parts.carry_out([parts.Run("it", "test_it.py", time_limit, verbose=False)])

    return run


def test_counts_each_test_once_and_a_broken_clean_up_as_failed(try_part) -> None:
    found = try_part(MIXED)
    assert {one.name.split("::")[-1] for one in found if one.result == "failed"} == {"test_bad", "test_teardown"}
    assert parts.count(found) == "1 passed, 2 failed, 1 skipped"
    assert "no such kernel" in next(one.reason for one in found if one.result == "skipped")


@pytest.mark.parametrize(
    ("ci", "expected", "result"),
    [
        ("", "", "skipped"),
        ("true", "", "failed"),
        ("true", "*::test_skipped  # this machine's kernel\n", "skipped"),
    ],
)
def test_a_skip_that_nobody_expected_fails_in_ci(try_part, monkeypatch, ci: str, expected: str, result: str) -> None:
    monkeypatch.setenv("CI", ci)
    found = try_part("import pytest\ndef test_skipped():\n    pytest.skip('no such kernel')\n", expected=expected)
    assert [one.result for one in found] == [result]


def test_a_part_without_tests_fails(try_part) -> None:
    assert [one.result for one in try_part("")] == ["failed"]


def test_a_part_that_cannot_be_loaded_fails(try_part) -> None:
    assert {one.result for one in try_part("import nothing_of_that_name\n")} == {"failed"}


def test_a_part_whose_process_dies_fails(try_part) -> None:
    found = try_part("import os\ndef test_it():\n    os._exit(0)\n")
    assert [one.result for one in found] == ["failed"]


def test_a_part_that_hangs_is_stopped_and_fails(try_part) -> None:
    found = try_part("import time\ndef test_fast():\n    pass\ndef test_it():\n    time.sleep(60)\n", time_limit=2)
    assert [one.reason for one in found if one.name == "test_it.py"] == ["it took longer than 2 s and was stopped"]


MEETS = """
import pathlib, time

def test_meets_the_other():
    here = pathlib.Path(__file__)
    here.with_suffix(".here").touch()
    deadline = time.monotonic() + 20
    while len(list(here.parent.glob("*.here"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
"""


def test_two_runs_go_on_beside_each_other_and_each_line_tells_whose_it_is(
    try_part, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(parts, "AT_ONCE", 2)
    assert [one.result for one in try_part("def test_it():\n    pass\n")] == ["passed"]
    runs = [parts.Run(name, f"test_{name}.py", 60) for name in ("one", "two", "three")]
    for run in runs:
        (tmp_path / run.path).write_text(MEETS)
    found = parts.carry_out(runs)
    assert parts.count(found) == "3 passed, 0 failed, 0 skipped"
    said = capfd.readouterr().out
    assert "one     | test_one.py::test_meets_the_other PASSED" in said
    assert "=== three (test_three.py): 1 passed, 0 failed, 0 skipped in" in said
