# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows how many connections are left while a module drains. PRIVATE to the collection.

A module cannot speak before it ends. So it is run in steps of some seconds, each of which goes on where the one before
ended, and between them this speaks. Without a drain the module is run once, as any other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.pocket.cloud.plugins.plugin_utils._items import NamingAction

__all__ = ["DrainingAction"]

TIMEOUT = 300
STEP = 5


class DrainingAction(NamingAction):
    """The task of a module that can drain; where it takes the options is its subclass's to say."""

    def options(self, args: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The options of the drain by their bare names, None where there is none."""
        drain: Mapping[str, Any] | None = args.get("drain")
        return drain if isinstance(drain, Mapping) else None

    def with_options(self, args: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """The module's arguments with other options of the drain."""
        return {**args, "drain": {**(self.options(args) or {}), **options}}

    def execute(self, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module, in steps where it drains."""
        args = self._task.args
        options = self.options(args)
        if options is None or self._task.check_mode or self._task.async_val:
            return super().execute(task_vars)
        try:
            timeout, step = (_seconds(options, *one) for one in (("timeout", TIMEOUT), ("step", STEP)))
        except (TypeError, ValueError):  # the module says what is wrong with it
            return super().execute(task_vars)
        return self._in_steps(args, timeout, step, task_vars)

    def _in_steps(
        self, args: Mapping[str, Any], timeout: int, step: int, task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        start = time.monotonic()
        first: dict[str, Any] = {}
        while True:
            left = max(0, timeout - round(time.monotonic() - start))
            # The first step only begins it, so that what there is to say is said beforehand.
            step_args = self.with_options(args, {"timeout": left, "step": step if first else 0})
            result: dict[str, Any] = self._execute_module(module_args=step_args, task_vars=task_vars)
            if result.get("failed") or not result.get("draining"):
                # what changed is what the first step set out to do
                told: dict[str, Any] = {name: first[name] for name in ("diff", "writes", "warnings") if name in first}
                return {**result, **told, "changed": bool(first.get("changed") or result.get("changed"))}
            if not first:
                first = result
                for warning in first.get("warnings") or ():
                    self._display.display(str(warning))  # ansible itself shows warnings at a task's end
            self._report(result["draining"], round(time.monotonic() - start), timeout)

    def _report(self, draining: list[Mapping[str, Any]], passed: int, timeout: int) -> None:
        for one in draining:
            counts = {kind: one[f"{kind}_connections"] for kind in ("active", "inactive", "persistent")}
            told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            self._display.display(
                f"{one['service']} -> {one['dest']}: {sum(counts.values())} connections left ({told}), "
                f"{passed} s of {timeout} s"
            )


def _seconds(options: Mapping[str, Any], name: str, default: int) -> int:
    """An option as the module will read it; ValueError for one that it will refuse."""
    value = options.get(name)
    seconds = default if value is None else int(value)
    if seconds < 0:
        raise ValueError(name)
    return seconds
