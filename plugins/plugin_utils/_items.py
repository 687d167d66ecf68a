# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names the item of a list that Ansible refuses by its type or its choices. PRIVATE to the collection.

Ansible tells which option is wrong, but not in which of a thousand items. So a refusal is looked into: each item is
held against its part of the argument spec by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase

__all__ = ["NamingAction", "refused_item"]

Spec = Mapping[str, Mapping[str, Any]]


def refused_item(lists: Mapping[str, Spec], args: Mapping[str, Any]) -> str | None:
    """The first item that its spec does not take, and why not; None where there is none.

    :param lists: the options that are lists of dicts, each with the spec of its items.
    """
    for name, spec in lists.items():
        items = args.get(name)
        for index, item in enumerate(items if isinstance(items, list) else []):
            why = _refusal(spec, item)
            if why:
                return f"{name}[{index}]: {why}"
    return None


def _refusal(spec: Spec, item: Any) -> str | None:
    if not isinstance(item, dict):
        return f"it is {item!r}; give a dict"
    inner = {name: option["options"] for name, option in spec.items() if "options" in option}
    why = refused_item({name: one for name, one in inner.items() if spec[name]["type"] == "list"}, item)
    if why:
        return why
    result = ArgumentSpecValidator(spec).validate(item)
    for error in result.errors:
        if isinstance(error, UnsupportedError):
            unknown = ", ".join(
                ".".join(one) if isinstance(one, tuple) else one for one in result.unsupported_parameters
            )
            return f"{unknown} is no option of it; it has {', '.join(sorted(spec))}"
    messages: list[str] = result.error_messages
    return messages[0] if messages else None


class NamingAction(ActionBase):
    """The task of a module that takes lists of dicts, which LISTS holds with their specs."""

    LISTS: ClassVar[Mapping[str, Spec]] = {}
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module; a refusal names the item that it is about."""
        super().run(tmp, task_vars)
        result = self.execute(task_vars)
        why = refused_item(self.LISTS, self._task.args) if result.get("failed") else None
        return {**result, "msg": why} if why else result

    def execute(self, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)
        return result
