# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The director under test: modules run by the system's Python on the real kernel, with ipvsadm as the witness."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import ansible

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = ROOT / ".cache" / "collections"
WORKER = Path(__file__).with_name("worker.py")
NOBODY = 65534


class Interpreter:
    """The Python that executes modules, as on a target: the distribution's own."""

    executable = "/usr/bin/python3"

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Interpreter:
        self._directory = tempfile.TemporaryDirectory()
        # Of the virtual environment only ansible: a target has nothing else of it.
        os.symlink(Path(ansible.__file__).parent, Path(self._directory.name) / "ansible")
        os.chmod(self._directory.name, 0o755)
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{COLLECTIONS}:{self._directory.name}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._process = subprocess.Popen(
            [self.executable, str(WORKER)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._receive()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        if self._process.stdout:
            self._process.stdout.close()
        self._directory.cleanup()

    def run(self, module: str, params: dict[str, Any], check: bool = False, user: int | None = None) -> dict[str, Any]:
        """What the module returned; `failed` is in it where it failed, and nothing but JSON was printed."""
        assert self._process is not None
        assert self._process.stdin is not None
        request = {"module": module, "params": params, "check": check, "user": user}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._receive()
        assert answer["stderr"] == "", answer["stderr"]
        assert answer["status"] in (0, 1), answer
        results: dict[str, Any] = json.loads(answer["stdout"])
        results.pop("invocation", None)
        return results

    def _receive(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker ended"
        received: dict[str, Any] = json.loads(line)
        return received


def saved(*options: str) -> list[str]:
    """What ipvsadm says is in the kernel, sorted."""
    done = subprocess.run(["ipvsadm", "-Sn", *options], capture_output=True, text=True, check=True)
    return sorted(done.stdout.splitlines())


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a module that was started returned."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        said, complained = process.stdout.read(), process.stderr.read()
    assert complained == "", complained
    results: dict[str, Any] = json.loads(said)
    return results


class Director:
    """Modules on the kernel under test. Every change is first predicted in check mode, which must write nothing."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter

    def clear(self) -> None:
        """Empty the kernel's table."""
        subprocess.run(["ipvsadm", "-C"], check=True)

    def run(self, module: str, **params: Any) -> dict[str, Any]:
        """Run in check mode and for real; what both tell must be the same. Then again, which must change nothing."""
        before = saved()
        predicted = self.interpreter.run(module, params, check=True)
        assert saved() == before, "check mode wrote"
        actual = self.interpreter.run(module, params)
        assert not actual.get("failed"), actual
        assert predicted == actual
        repeated = self.interpreter.run(module, params)
        assert repeated["changed"] is False, repeated
        assert repeated["diff"] == {"before": "", "after": ""}
        return actual

    def service(self, **params: Any) -> dict[str, Any]:
        """Run ipvs_service."""
        return self.run("ipvs_service", **params)

    def dest(self, **params: Any) -> dict[str, Any]:
        """Run ipvs_dest."""
        return self.run("ipvs_dest", **params)

    def table(self, *services: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Run ipvs_table."""
        return self.run("ipvs_table", services=list(services), **params)

    def start(self, module: str, **params: Any) -> subprocess.Popen[str]:
        """Start a module in a process of its own, as a target's Python runs it."""
        process = subprocess.Popen(
            [self.interpreter.executable, str(ROOT / "plugins" / "modules" / f"{module}.py")],
            env=self.interpreter.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**params, "_ansible_diff": True}}))
        process.stdin.close()
        return process

    def info(self, **params: Any) -> dict[str, Any]:
        """Run ipvs_info."""
        results = self.interpreter.run("ipvs_info", params)
        assert not results.get("failed"), results
        return results

    def refusal(self, module: str, **params: Any) -> str:
        """The sentence of a run that must fail, the same in check mode, without a write."""
        before = saved()
        for check in (True, False):
            failed = self.interpreter.run(module, params, check=check)
            assert failed.get("failed"), failed
            assert not failed.get("changed")
            assert saved() == before
        message: str = failed["msg"]
        assert "Traceback" not in message
        assert "\n" not in message
        return message
