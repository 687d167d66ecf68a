# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_console does. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .._runner import Task
from .console import log, plain
from .domain_xml import Files
from .hypervisor import Hypervisor
from .model import check_instance_id, check_text
from .pictures import as_png, size_of
from .store import Store
from .tombstones import instances_of, timestamp

__all__ = ["ConsoleTask"]


@dataclass(frozen=True)
class Console:
    """What the guest shows.

    :param written: when it last wrote on its serial port, in seconds since the epoch; none where it never did.
    :param picture: its screen as PNG, none where none was asked for.
    :param kept: the content of the file that the picture belongs in, none where there is no such file.
    """

    output: str = field(repr=False)
    written: float | None
    picture: bytes | None = field(repr=False)
    kept: bytes | None = field(repr=False)


class ConsoleTask(Task[Console]):
    """One call of ec2like_console. A screenshot is the only thing that it writes."""

    def __init__(
        self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None, store: Store | None = None
    ) -> None:
        self._id = check_instance_id(params["instance_id"], "instance_id")
        self._lines = params["lines"]
        if self._lines is not None and self._lines < 1:
            raise _bad(f"lines: {self._lines} is too few; give 1 or more, or leave it out for the whole log")
        self._raw = params["raw"]
        self._path = _picture_path(params["screenshot"])
        self._hypervisor = hypervisor or Hypervisor(params["uri"])
        self._store = store or Store(params["store"])
        self._taken: bytes | None = None

    def read(self) -> Console:
        self._check_instance()
        output, written = log(Files.of(self._store.instance_directory(self._id)).console)
        if self._path is None:
            return Console(output, written, None, None)
        kept = _content(self._path)
        if self._taken is None:
            self._taken = self._screenshot()
        return Console(output, written, self._taken, kept)

    def _check_instance(self) -> None:
        if self._hypervisor.exists(self._id):
            return
        if any(one.instance_id == self._id for one in instances_of(self._store.tombstones())):
            raise PocketError(
                f"instance_id: {self._id} is terminated, and its console went with it",
                code="IncorrectInstanceState",
            )
        raise PocketError(
            f"instance_id: there is no instance {self._id} on this host", code="InvalidInstanceID.NotFound"
        )

    def _screenshot(self) -> bytes:
        if not self._hypervisor.is_running(self._id):
            raise PocketError(
                f"screenshot: the instance {self._id} does not run, so it has no picture; start it first",
                code="IncorrectInstanceState",
            )
        if not self._hypervisor.has_screen(self._id):
            raise PocketError(
                f"screenshot: the instance {self._id} has no screen, only its serial console; "
                "leave screenshot out to read that, or launch an instance with video: vga",
                code="UnsupportedOperation",
            )
        return as_png(self._hypervisor.screenshot(self._id))

    def plan(self, current: Console) -> Plan:
        if current.picture is None or current.picture == current.kept:
            return Plan()
        before = None if current.kept is None else _about(current.kept)
        return Plan((Operation("write", str(self._path), before, _about(current.picture), current.picture),))

    def apply(self, plan: Plan) -> None:
        for operation in plan:
            _write(Path(operation.subject), operation.payload)

    def verify(self, plan: Plan, after: Console) -> None:
        if after.kept != after.picture:
            raise PocketError(f"screenshot: {self._path} does not hold what was written to it", changed=True)

    def result(self, plan: Plan, state: Console, applied: bool) -> dict[str, Any]:
        output = state.output if self._raw else plain(state.output)
        if self._lines is not None:
            output = "\n".join(output.rstrip("\n").split("\n")[-self._lines :])
        written = None if state.written is None else timestamp(datetime.fromtimestamp(state.written, timezone.utc))
        result: dict[str, Any] = {"instance_id": self._id, "output": output, "timestamp": written, "screenshot": None}
        if state.picture is not None:
            width, height = size_of(state.picture)
            result["screenshot"] = {"path": str(self._path), "width": width, "height": height, **_about(state.picture)}
        return result


def _picture_path(given: str | None) -> Path | None:
    if given is None:
        return None
    check_text(given, "screenshot")
    path = Path(given)
    if not path.is_absolute() or ".." in path.parts:
        raise _bad(f"screenshot: {given!r} is not an absolute path without '..'")
    if path.suffix.lower() != ".png":
        raise _bad(f"screenshot: {given!r} does not end in .png, and PNG is what is written")
    return path


def _content(path: Path) -> bytes | None:
    """Return what is in the file; none where there is none. A file that must not be replaced is refused."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise _bad(f"screenshot: {path} is there and is not a regular file; name another")
        if not path.parent.is_dir():
            raise _bad(f"screenshot: the directory {path.parent} does not exist; make it first")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _bad(f"screenshot: cannot look at {path} ({error.strerror or error}); name another file") from error


def _about(picture: bytes) -> dict[str, Any]:
    return {"size_bytes": len(picture), "sha256": hashlib.sha256(picture).hexdigest()}


def _write(path: Path, content: bytes) -> None:
    """Write the file, whole or not at all. What is on a screen may be secret: only its owner can read it."""
    name = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".screenshot-", dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(name, path)
    except OSError as error:
        if name is not None:
            with suppress(OSError):
                os.unlink(name)
        raise PocketError(f"screenshot: cannot write {path}: {error.strerror or error}") from error


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
