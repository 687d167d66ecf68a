# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would change, and nothing else: the one plan behind check mode, diff and apply. PRIVATE to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Operation", "Plan", "to_yaml"]


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
                before[operation.subject] = operation.before
            seen.add(operation.subject)
            after.pop(operation.subject, None)
            if operation.after is not None:
                after[operation.subject] = operation.after
        return {"before": _document(before), "after": _document(after)}


def _document(subjects: Mapping[str, Any]) -> str:
    return to_yaml(dict(sorted(subjects.items()))) if subjects else ""


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./ :-]*")
_NOT_PLAIN = re.compile(r".*(: |:$| $).*|(?i:y|n|yes|no|true|false|on|off|null)")


def to_yaml(value: Any) -> str:
    """`value` (mappings, sequences, strings, numbers, booleans, none) as YAML text that ends in a line feed.

    Targets need not have PyYAML, and the text must not depend on its version: diffs are compared.
    """
    return "".join(line + "\n" for line in _lines(value, ""))


def _lines(value: Any, pad: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{pad}{_scalar(key)}:", item, pad)
    elif _is_list(value) and value:
        for item in value:
            nested = list(_lines(item, pad + "  "))
            yield f"{pad}- {nested[0].lstrip(' ')}"
            yield from nested[1:]
    else:
        yield pad + _scalar(value)


def _entry(head: str, item: Any, pad: str) -> Iterator[str]:
    if (isinstance(item, Mapping) or _is_list(item)) and item:
        yield head
        yield from _lines(item, pad + "  ")
    else:
        yield f"{head} {_scalar(item)}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{}"
    if _is_list(value):
        return "[]"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value)
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
