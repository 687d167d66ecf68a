# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would change, and nothing else: the one plan behind check mode, diff and apply. PRIVATE to the collection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

__all__ = ["Operation", "Plan", "WhenPrinted", "to_yaml"]


class WhenPrinted(Mapping[str, Any]):
    """A printable state that is worked out when it is printed, which those of large plans seldom are."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    def __getitem__(self, name: str) -> Any:
        return self._make()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())


@dataclass(frozen=True)
class Operation:
    """One write.

    :param action: what is done, in the field's word, such as C(create), C(edit), C(delete), C(start).
    :param subject: what it is done to, as the user knows it, such as C(tcp 10.0.0.1:80).
    :param before: the subject's printable state before, none where it does not exist yet.
    :param after: the subject's printable state after, none where it is gone.
    :param payload: what the back end needs to carry it out; never printed.
    """

    action: str
    subject: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    payload: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Plan:
    """The writes, in the order in which they are to be made; an empty plan changes nothing."""

    operations: tuple[Operation, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything would be written."""
        return bool(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def diff(self) -> dict[str, str]:
        """C(before) and C(after) as YAML text of only the subjects concerned, for Ansible's diff mode."""
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        seen: set[str] = set()
        for operation in self.operations:
            if operation.subject not in seen and operation.before is not None:
                before[operation.subject] = dict(operation.before)
            seen.add(operation.subject)
            after.pop(operation.subject, None)
            if operation.after is not None:
                after[operation.subject] = dict(operation.after)
        return {"before": _document(before), "after": _document(after)}


def _document(subjects: Mapping[str, Any]) -> str:
    return to_yaml(dict(sorted(subjects.items()))) if subjects else ""


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./ :-]*")
_NOT_PLAIN = re.compile(r".*(: |:$| $).*|(?i:y|n|yes|no|true|false|on|off|null)")


def to_yaml(value: Any) -> str:
    """`value` (dicts, lists, tuples, strings, numbers, booleans, none) as YAML text that ends in a line feed.

    Targets need not have PyYAML, and the text must not depend on its version: diffs are compared.
    """
    return "".join(line + "\n" for line in _lines(value, ""))


def _lines(value: Any, pad: str) -> list[str]:
    lines: list[str] = []
    if isinstance(value, dict) and value:
        for key, item in value.items():
            head = f"{pad}{_text(str(key))}:"
            if isinstance(item, (dict, list, tuple)) and item:
                lines.append(head)
                lines += _lines(item, pad + "  ")
            else:
                lines.append(f"{head} {_scalar(item)}")
    elif isinstance(value, (list, tuple)) and value:
        for item in value:
            nested = _lines(item, pad + "  ")
            lines.append(f"{pad}- {nested[0].lstrip(' ')}")
            lines += nested[1:]
    else:
        lines.append(pad + _scalar(value))
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    return str(value)


@lru_cache(4096)  # the words of large tables are few
def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and not _NOT_PLAIN.fullmatch(text):
        return text
    return '"' + "".join(_character(character) for character in text) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
