# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the benchmark that runs in the test kernel; given the directory with the packed calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

REPEATS = 5
DIRECTORY = Path(sys.argv[1])
MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"


class Measured(NamedTuple):
    """A whole process: its seconds, its peak memory in MiB, what it printed."""

    seconds: float
    memory: float
    output: str


def measure(*command: str, given: str | None = None, **environment: str) -> Measured:
    """Run a process to its end."""
    reader, writer = os.pipe()
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=open(given, "rb") if given else subprocess.DEVNULL,  # noqa: SIM115
        stdout=writer,
        env={**os.environ, **environment},
    )
    os.close(writer)
    with os.fdopen(reader) as printed:
        output = printed.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, f"{command} ended with {status}: {output[:2000]}"
    return Measured(seconds, usage.ru_maxrss / 1024, output)


def module(name: str) -> Measured:
    """Run a packed call."""
    return measure("/usr/bin/python3", str(DIRECTORY / f"{name}.py"))


def unpacked(name: str) -> Measured:
    """The same call without Ansible's packing: the module's own file, its imports compiled."""
    given = DIRECTORY / f"{name}.args"
    return measure("/usr/bin/python3", str(MODULES / "ipvs_table.py"), given=str(given))


def program() -> Measured:
    """The director's own program, as its boot runs it: without Ansible, on what was declared."""
    return measure(
        "/usr/bin/python3", "-S", "-m", "pocket_cloud._ipvs.restore", PYTHONPATH="/usr/local/lib/pocket-cloud"
    )


def clear() -> None:
    subprocess.run(["ipvsadm", "-C"], check=True)


def writes(done: Measured) -> int:
    """How many messages the call says that it wrote."""
    told = json.loads(done.output)["writes"]
    return sum(count for kind in told.values() for count in kind.values())


def report(what: str, ours: list[float], theirs: list[float], target: float) -> None:
    """One line: both medians, the ratio of each pair's median, and whether it is met."""
    ratio = median(one / other for one, other in zip(ours, theirs))
    verdict = "met" if ratio <= target else "MISSED"
    print(f"{what:52} {median(ours):7.2f} s {median(theirs):7.2f} s {ratio:6.2f} (at most {target:.2f}: {verdict})")


def against_ipvsadm() -> None:
    apply, restore, again, save, nothing = [], [], [], [], []
    bare_apply, bare_again = [], []
    unpacked("table")  # compiles the imports
    for _repeat in range(REPEATS):
        clear()
        restore.append(measure("ipvsadm", "-R", given=str(DIRECTORY / "table.ipvsadm")).seconds)
        clear()
        nothing.append(module("nothing").seconds)
        done = module("table")
        assert writes(done) == 6000
        apply.append(done.seconds)
        save.append(measure("ipvsadm", "-Sn").seconds)
        done = module("table")
        assert writes(done) == 0
        again.append(done.seconds)
        clear()
        bare_apply.append(unpacked("table").seconds)
        bare_again.append(unpacked("table").seconds)
    report("1,000 services with 5 dests into an empty table", apply, restore, 0.5)
    report("  without Ansible's packing of the module", bare_apply, restore, 0.5)
    report("the same again (no write), beside ipvsadm -Sn", again, save, 1.5)
    report("  without Ansible's packing of the module", bare_again, save, 1.5)
    print(f"{'  of which any module takes that does nothing (ping)':52} {median(nothing):7.2f} s")


def restoring() -> None:
    """The two programs that bring a saved table back, beside each other; each says or shows what is there after."""
    module("declare")
    program()  # compiles the imports
    ours, theirs, again, save = [], [], [], []
    for _repeat in range(REPEATS):
        clear()
        theirs.append(measure("ipvsadm", "-R", given=str(DIRECTORY / "table.ipvsadm")).seconds)
        restored = measure("ipvsadm", "-Sn")
        save.append(restored.seconds)
        clear()
        done = program()
        assert len(done.output.splitlines()) == 6000
        ours.append(done.seconds)
        assert sorted(measure("ipvsadm", "-Sn").output.splitlines()) == sorted(restored.output.splitlines())
        done = program()
        assert not done.output
        again.append(done.seconds)
    report("the same by the program that a boot runs", ours, theirs, 0.5)
    report("the same again by that program", again, save, 1.5)


def ten_weights() -> None:
    before = set(measure("ipvsadm", "-Sn").output.splitlines())
    done = module("weights")
    after = set(measure("ipvsadm", "-Sn").output.splitlines())
    assert len(after - before) == len(before - after) == 10
    count = writes(done)
    print(
        f"{'ten other weights: messages written':52} {count:9} {'(exactly 10: met)' if count == 10 else '(MISSED)':>32}"
    )


def sizes() -> None:
    names = sorted(DIRECTORY.glob("size-*.py"), key=lambda path: int(path.stem[5:]))
    for path in names:
        clear()
        dests = int(path.stem[5:])
        made, again = module(path.stem), module(path.stem)
        assert writes(made) == dests + dests // 5
        assert writes(again) == 0
        limit = f" (at most 300: {'met' if made.memory < 300 else 'MISSED'})" if dests == 50_000 else ""
        print(
            f"{dests:6,} dests: {made.seconds:6.2f} s to make, {again.seconds:6.2f} s again, "
            f"{made.seconds / dests * 1e6:5.0f} us a dest, peak {made.memory:4.0f} and {again.memory:4.0f} MiB{limit}"
        )


def floor() -> None:
    clear()
    module("service")
    ours, theirs = [], []
    for _repeat in range(3 * REPEATS):
        theirs.append(module("floor").seconds)
        ours.append(module("service").seconds)
    report("one service, unchanged, beside importing pyroute2", ours, theirs, 1.3)


def main() -> None:
    subprocess.run(["modprobe", "ip_vs"], check=True)
    print(f"{'whole processes, medians':52} {'ours':>9} {'theirs':>9}  ratio")
    against_ipvsadm()
    restoring()
    ten_weights()
    floor()
    sizes()


if __name__ == "__main__":
    main()
