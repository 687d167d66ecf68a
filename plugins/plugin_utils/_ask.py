# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks KVM hosts for their instances: one process a host, all at once. PRIVATE to the collection."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Union

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.plugin_utils import _carried
from ansible_collections.pocket.cloud.plugins.plugin_utils._kvm_hosts import KvmHost

__all__ = ["Answer", "ask", "ask_all", "program"]

# Its instances, or why it did not tell them.
Answer = Union[list[dict[str, Any]], PocketError]

_AT_ONCE = 16
_SSH_FAILED = 255
_SHOWN = 300


@functools.lru_cache(1)
def _carried_sources() -> str:
    """All that a host needs of the collection, packed."""
    place = Path(__file__).resolve().parents[1] / "module_utils"
    files = [*place.glob("_*.py"), *place.glob("_ec2/*.py")]
    names = {path: ".".join(path.relative_to(place).with_suffix("").parts) for path in files if path.stem != "__init__"}
    return _carried.pack({f"{_carried.PACKAGE}.{names[path]}": path.read_text(encoding="utf-8") for path in names})


def program(request: Mapping[str, Any]) -> str:
    """Return the program that answers `request` on a host."""
    beginning = Path(_carried.__file__).read_text(encoding="utf-8")
    return f"{beginning}\n\nmain({_carried_sources()!r}, '_ec2.listing', {dict(request)!r})\n"


def ask(host: KvmHost, filters: Mapping[str, Any], timeout: float) -> list[dict[str, Any]]:
    """Return the instances of the host that `filters` select; raises PocketError where it does not tell them."""
    text = program({"uri": host.uri, "store": host.store, "filters": dict(filters)})
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            host.command(timeout),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",  # a shell's start-up files may say anything; the answer itself is ASCII
        )
    except OSError as error:
        raise PocketError(f"Cannot ask {host.label}: {error.strerror}: {error.filename}") from error
    try:
        out, said = process.communicate(text, timeout)
    except subprocess.TimeoutExpired as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise PocketError(f"Cannot ask {host.label}: it did not answer within {timeout:g} s") from error
    return _answer(host, out, said, process.returncode)


def _answer(host: KvmHost, out: str, said: str, status: int) -> list[dict[str, Any]]:
    told = next((line for line in reversed(out.split("\n")) if line.startswith(_carried.MARK)), None)
    if told is not None:
        try:
            answer = json.loads(told[len(_carried.MARK) :])
        except ValueError as error:
            raise PocketError(f"Cannot ask {host.label}: its answer broke off: {error}") from error
        if not isinstance(answer, dict) or not ("error" in answer or isinstance(answer.get("instances"), list)):
            raise PocketError(f"Cannot ask {host.label}: its answer is none that could be understood")
        if "error" in answer:
            raise PocketError(f"Cannot list the instances of {host.label}: {answer['error']}")
        return answer["instances"]  # type: ignore[no-any-return]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1][:_SHOWN] if lines else "it said nothing"
    what = "ssh" if host.host and status == _SSH_FAILED else host.python
    raise PocketError(f"Cannot ask {host.label}: {what} ended with status {status}: {last}")


def ask_all(
    hosts: Sequence[KvmHost],
    filters: Mapping[str, Any],
    timeout: float,
    ask_one: Callable[[KvmHost, Mapping[str, Any], float], list[dict[str, Any]]] = ask,
) -> dict[str, Answer]:
    """Return the answer of each host, by name."""

    def attempt(host: KvmHost) -> Answer:
        try:
            return ask_one(host, filters, timeout)
        except PocketError as error:
            return error

    if not hosts:
        return {}
    with ThreadPoolExecutor(min(len(hosts), _AT_ONCE)) as pool:
        return dict(zip([host.name for host in hosts], pool.map(attempt, hosts)))
