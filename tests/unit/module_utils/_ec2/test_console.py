# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.console import tail


def test_the_last_lines_without_what_moves_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(
        b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n\r\n"
        + b"\n".join(b"line %d" % number for number in range(3000))
        + b"\r\n\x1b]0;title\x07\x1b[31mKernel panic\x1b[0m\x00\x08 \xff\r\n"
    )
    lines = tail(path, 3)
    assert lines == ["line 2998", "line 2999", "Kernel panic \ufffd"]
    assert len(tail(path)) == 20


def test_why_a_kernel_panicked_is_told_though_its_trace_is_long(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    why = "[ 1.9] Kernel panic - not syncing: VFS: Unable to mount root fs"
    path.write_text("\n".join(["booting", why, *(f"trace {number}" for number in range(40))]))
    assert tail(path, 3) == [why, "trace 37", "trace 38", "trace 39"]
    path.write_text(f"booting\n{why}\nend\n")
    assert tail(path, 2) == [why, "end"]


@pytest.mark.parametrize("name", ["missing", "."])
def test_no_console_is_no_lines(tmp_path: Path, name: str) -> None:
    assert tail(tmp_path / name) == []


@given(st.binary(max_size=200))
def test_nothing_unprintable_gets_through(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "console"
    path.write_bytes(content)
    for line in tail(path):
        assert not any(ord(one) < 32 and one != "\t" for one in line)
        assert "\x7f" not in line
