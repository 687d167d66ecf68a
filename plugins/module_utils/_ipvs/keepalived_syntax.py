# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The blocks and statements of keepalived.conf, not what they mean. Pure. PRIVATE to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .._errors import PocketError

__all__ = ["Statement", "parse_statements"]

MAX_DEPTH = 32
"""keepalived itself knows four levels."""

_TOKEN = re.compile(
    r"""
    (?P<space> (?: [^\S\n] | \\\r?\n | [#!][^\n]* )+ )
    | (?P<newline> \n )
    | (?P<brace> [{}] )
    | (?P<word> (?: \$\{[^}\s]*\} | [^\s{}"'#!\\] | \\. | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )+ )
    """,
    re.VERBOSE,
)
_BRACE_BELOW = re.compile(r"(?:\s|[#!][^\n]*)*\{")
_LOGICAL_LINE = re.compile(r"(?:\\\r?\n|[^\n])*")
_QUOTING = re.compile(r"\\(.)|[\"']")
_INCLUDES = ("include", "includer", "includem", "includew", "includeb", "includea")


@dataclass
class Statement:
    """A keyword with its words, and the block that follows it.

    :param words: without quotation marks.
    :param line: where it begins, counted from 1.
    :param start: where it begins in the text.
    :param end: where it ends in the text.
    :param block: the statements between its braces; None where it has none.
    """

    words: list[str]
    line: int
    start: int
    end: int
    block: list[Statement] | None = None

    @property
    def keyword(self) -> str:
        """The first word."""
        return self.words[0]

    @property
    def head(self) -> str:
        """All words, as a block is named to users."""
        return " ".join(self.words)


@dataclass
class _Token:
    kind: str
    text: str
    line: int
    start: int
    end: int


def parse_statements(text: str) -> list[Statement]:
    """The statements outside of all blocks, with those inside them; PocketError names the line that is wrong."""
    parser = _Parser(text)
    for token in _tokens(text):
        parser.take(token)
    return parser.finish()


def _tokens(text: str) -> Iterator[_Token]:
    position, line, fresh = 0, 1, True
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise PocketError(
                f"line {line} has {text[position]!r} without its partner, so nobody can tell where the word ends; "
                "close the quotation on the same line"
            )
        kind = str(found.lastgroup)
        word = found.group()
        if fresh and kind == "word" and (word.startswith("$") or word in _INCLUDES):
            found = _LOGICAL_LINE.match(text, position) or found
            kind = "line"
        elif fresh and kind == "word" and word.startswith("~"):
            raise PocketError(
                f"line {line} starts with {word[:80]!r}: sequences and lists cannot be expanded here; "
                "write what they stand for"
            )
        if kind != "space":
            yield _Token(kind, found.group(), line, position, found.end())
            fresh = kind in ("newline", "brace", "line")
        line += text.count("\n", position, found.end())
        position = found.end()


@dataclass
class _Parser:
    text: str
    stack: list[Statement] = field(default_factory=list)
    lists: list[list[Statement]] = field(default_factory=lambda: [[]])
    pending: Statement | None = None

    def take(self, token: _Token) -> None:
        if token.kind in ("word", "line"):
            self._word(token)
        elif token.kind == "newline":
            if self.pending and not _BRACE_BELOW.match(self.text, token.end):
                self._flush()
        elif token.text == "{":
            self._open(token)
        else:
            self._close(token)
        if token.kind == "line":
            self._flush()

    def finish(self) -> list[Statement]:
        self._flush()
        if self.stack:
            last = self.stack[-1]
            raise PocketError(
                f"line {last.line} opens the block {last.head[:80]!r}, which is never closed; add its '}}'"
            )
        return self.lists[0]

    def _word(self, token: _Token) -> None:
        plain = token.text if token.kind == "line" else _QUOTING.sub(lambda found: found.group(1) or "", token.text)
        if self.pending:
            self.pending.words.append(plain)
            self.pending.end = token.end
        else:
            self.pending = Statement([plain], token.line, token.start, token.end)

    def _flush(self) -> None:
        if self.pending:
            self.lists[-1].append(self.pending)
            self.pending = None

    def _open(self, token: _Token) -> None:
        if not self.pending:
            raise PocketError(f"line {token.line} opens a block that has no name; write its keyword before the '{{'")
        if len(self.stack) >= MAX_DEPTH:
            raise PocketError(
                f"line {token.line} opens the block {self.pending.head[:80]!r} more than {MAX_DEPTH} levels deep; "
                "give a configuration that keepalived takes"
            )
        self.lists[-1].append(self.pending)
        self.pending.block = []
        self.stack.append(self.pending)
        self.lists.append(self.pending.block)
        self.pending = None

    def _close(self, token: _Token) -> None:
        self._flush()
        if not self.stack:
            raise PocketError(f"line {token.line} closes a block that was never opened; remove its '}}'")
        self.stack.pop().end = token.end
        self.lists.pop()
