# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the parts of the tests and counts; script/test starts it in the virtual environment.

A part is one run of pytest, or several. Two of them run beside each other where the machine has two processors, and
each line then begins with the part it belongs to. The last line is the sum over all parts, `N passed, M failed,
K skipped`, and the exit status is 0 when nothing failed. With CI=true in the environment a skipped test that
tests/expected-skips.txt does not list fails, too.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "output" / "junit"
INTERRUPT_GRACE = 60  # seconds that a run gets to put away what it made
AT_ONCE = min(2, os.cpu_count() or 1)


class Run(NamedTuple):
    """One run of pytest."""

    part: str
    path: str
    time_limit: int  # seconds; a run that hangs must not hang the whole
    verbose: bool = True

    @property
    def report(self) -> Path:
        return RESULTS / f"{self.path.replace('/', '-').removesuffix('.py')}.xml"


# In the order in which they start. The longest comes first; a lab host under emulation keeps one processor busy, so
# beside it there is room for the others.
RUNS = (
    Run("demo", "tests/e2e/test_demo.py", 4800),
    Run("libvirt", "tests/integration/libvirt", 4800),
    Run("ipvs", "tests/integration/ipvs", 3600),
    Run("demo", "tests/e2e/test_bare_host.py", 3600),
    Run("lint", "tests/lint", 3600),
    Run("unit", "tests/unit", 2400, verbose=False),
)
PARTS = ("unit", "lint", "ipvs", "libvirt", "demo")


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


class Running:
    """A run that has been started, in a process group of its own."""

    def __init__(self, run: Run, prefix: str) -> None:
        self.run = run
        self.started = time.monotonic()
        self.late = False
        run.report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", run.path, f"--junitxml={run.report}", "-p", "no:cacheprovider"]
        environment = dict(
            os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", PYTHONUNBUFFERED="1"
        )
        self.process = subprocess.Popen(
            [*command, *(["-v", "--durations=12"] if run.verbose else ["-q"])],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._show, args=(prefix,), daemon=True)
        self._reader.start()

    def _show(self, prefix: str) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                say(prefix + line.rstrip("\n"))

    def ended(self) -> bool:
        if self.process.poll() is None and time.monotonic() - self.started > self.run.time_limit:
            self.late = True
            self.stop()
        return self.process.poll() is not None

    def stop(self) -> None:
        """End it. pytest answers to an interrupt by running the fixtures' clean-up."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=INTERRUPT_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def outcomes(self) -> list[Outcome]:
        self._reader.join(timeout=5)  # a daemon that a test left behind may hold the other end
        name = self.run.path
        found = outcomes(self.run.report) if self.run.report.exists() else []
        if self.late:
            found.append(Outcome(name, "failed", f"it took longer than {self.run.time_limit} s and was stopped"))
        elif self.process.returncode != 0 and not any(one.result == "failed" for one in found):
            found.append(Outcome(name, "failed", f"pytest ended with status {self.process.returncode}"))
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


def account(running: Running, expected: list[str]) -> list[Outcome]:
    """Say and return what became of a run that ended."""
    found = running.outcomes()
    if os.environ.get("CI") == "true":
        found = [judge_skip(outcome, expected) for outcome in found]
    for outcome in found:
        if outcome.result != "passed":
            say(f"{outcome.result.upper()} {outcome.name}: {(outcome.reason.splitlines() or [''])[0]}")
    seconds = time.monotonic() - running.started
    say(f"=== {running.run.part} ({running.run.path}): {count(found)} in {seconds:.0f} s")
    return found


def carry_out(runs: Sequence[Run]) -> list[Outcome]:
    expected = expected_skips()
    waiting = list(runs)
    active: list[Running] = []
    total: list[Outcome] = []
    try:
        while waiting or active:
            while waiting and len(active) < AT_ONCE:
                run = waiting.pop(0)
                say(f"=== {run.part} ({run.path})")
                active.append(Running(run, f"{run.part:7} | " if len(runs) > 1 and AT_ONCE > 1 else ""))
            time.sleep(0.2)
            for running in [one for one in active if one.ended()]:
                active.remove(running)
                total += account(running, expected)
    finally:
        for running in active:
            running.stop()
    return total


def main() -> int:
    asked = sys.argv[1:]
    if unknown := [name for name in asked if name not in PARTS]:
        say(f"there is no part {unknown[0]!r} of the tests; the parts are {', '.join(PARTS)}")
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    total = carry_out([run for run in RUNS if not asked or run.part in asked])
    say(count(total))
    return 1 if any(outcome.result == "failed" for outcome in total) else 0


if __name__ == "__main__":
    sys.exit(main())
