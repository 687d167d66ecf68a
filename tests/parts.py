# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the parts of the tests and counts; script/test starts it in the virtual environment.

Each part is one run of pytest. The last line is the sum over all parts, `N passed, M failed, K skipped`, and the exit
status is 0 when nothing failed. With CI=true in the environment a skipped test that tests/expected-skips.txt does not
list fails, too.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "output" / "junit"
INTERRUPT_GRACE = 60  # seconds that a part gets to put away what it made


class Part(NamedTuple):
    """What one word on the command line runs."""

    path: str
    time_limit: int  # seconds; a part that hangs must not hang the whole
    verbose: bool


# In the order in which they run: what answers fastest comes first.
PARTS = {
    "unit": Part("tests/unit", 600, verbose=False),
    "lint": Part("tests/lint", 900, verbose=True),
    "ipvs": Part("tests/integration/ipvs", 600, verbose=True),
    "libvirt": Part("tests/integration/libvirt", 900, verbose=True),
    "demo": Part("tests/e2e", 2400, verbose=True),
}


class Outcome(NamedTuple):
    """What became of one test. `result` is passed, failed or skipped."""

    name: str
    result: str
    reason: str


def say(text: str) -> None:
    print(text, flush=True)


def outcomes(report: Path) -> list[Outcome]:
    """Read the outcomes out of a report that pytest wrote in JUnit's format."""
    found = []
    for case in ET.parse(report).iter("testcase"):
        name = "::".join(part for part in (case.get("classname", ""), case.get("name", "")) if part)
        bad = [child for child in case if child.tag in ("failure", "error")]
        skip = case.find("skipped")
        if bad:
            found.append(Outcome(name, "failed", bad[0].get("message", "")))
        elif skip is not None:
            found.append(Outcome(name, "skipped", skip.get("message", "")))
        else:
            found.append(Outcome(name, "passed", ""))
    return found


def call(command: list[str], time_limit: int, environment: dict[str, str]) -> int | None:
    """Run one command in a process group of its own; None when it took longer than `time_limit` seconds."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(timeout=time_limit)
    except BaseException as stopped:
        # pytest answers to an interrupt by running the fixtures' clean-up.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=INTERRUPT_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if isinstance(stopped, subprocess.TimeoutExpired):
            return None
        raise


def run_part(name: str) -> list[Outcome]:
    part = PARTS[name]
    report = RESULTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        part.path,
        f"--junitxml={report}",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-v"] if part.verbose else ["-q"]
    environment = dict(
        os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", PYTHONUNBUFFERED="1"
    )
    status = call(command, part.time_limit, environment)
    found = outcomes(report) if report.exists() else []
    if status is None:
        found.append(Outcome(name, "failed", f"the part took longer than {part.time_limit} s and was stopped"))
    elif status != 0 and not any(outcome.result == "failed" for outcome in found):
        found.append(Outcome(name, "failed", f"pytest ended with status {status}"))
    elif not found:
        found.append(Outcome(name, "failed", "pytest reported no test"))
    return found


def expected_skips() -> list[str]:
    """Read the patterns of tests/expected-skips.txt: one a line, '#' begins the reason."""
    lines = (ROOT / "tests" / "expected-skips.txt").read_text(encoding="utf-8").splitlines()
    return [pattern for pattern in (line.split("#")[0].strip() for line in lines) if pattern]


def judge_skip(outcome: Outcome, expected: list[str]) -> Outcome:
    if outcome.result == "skipped" and not any(fnmatch.fnmatchcase(outcome.name, pattern) for pattern in expected):
        return outcome._replace(result="failed", reason=f"skipped, which CI did not expect: {outcome.reason}")
    return outcome


def count(found: list[Outcome]) -> str:
    numbers = {result: sum(1 for one in found if one.result == result) for result in ("passed", "failed", "skipped")}
    return "{passed} passed, {failed} failed, {skipped} skipped".format(**numbers)


def run_parts(names: list[str]) -> list[Outcome]:
    expected = expected_skips()
    total: list[Outcome] = []
    for name in names:
        say(f"=== {name}")
        started = time.monotonic()
        found = run_part(name)
        if os.environ.get("CI") == "true":
            found = [judge_skip(outcome, expected) for outcome in found]
        for outcome in found:
            if outcome.result != "passed":
                say(f"{outcome.result.upper()} {outcome.name}: {(outcome.reason.splitlines() or [''])[0]}")
        say(f"=== {name}: {count(found)} in {time.monotonic() - started:.0f} s")
        total += found
    return total


def main() -> int:
    asked = sys.argv[1:]
    if unknown := [name for name in asked if name not in PARTS]:
        say(f"there is no part {unknown[0]!r} of the tests; the parts are {', '.join(PARTS)}")
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    total = run_parts([name for name in PARTS if not asked or name in asked])
    say(count(total))
    return 1 if any(outcome.result == "failed" for outcome in total) else 0


if __name__ == "__main__":
    sys.exit(main())
