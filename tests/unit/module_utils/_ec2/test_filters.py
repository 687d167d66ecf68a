# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.filters import check_filters, matches
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError


@dataclass
class Thing:
    tags: dict[str, str] = field(default_factory=dict)


def found(pattern: str, value: str) -> bool:
    return matches(Thing({"a": value}), {"tag:a": (pattern,)})


def as_regex(pattern: str) -> str:
    wildcards = {"*": ".*", "?": "."}
    parts = re.findall(r"(\\)?([\s\S])", pattern)
    return "".join(
        re.escape(character) if escaped else wildcards.get(character, re.escape(character))
        for escaped, character in parts
    )


@given(st.text("ab*?\\\n", max_size=8), st.text("ab*?\\\n", max_size=8))
def test_wildcards_select_what_a_regular_expression_would(pattern: str, value: str) -> None:
    assert found(pattern, value) == bool(re.fullmatch(as_regex(pattern), value, re.DOTALL))


@pytest.mark.parametrize("pattern", ["*a" * 20 + "*b", "*" * 500 + "b", "*?" * 100 + "b", "a*" * 100000 + "b"])
def test_no_pattern_takes_long(pattern: str) -> None:
    begun = time.process_time()
    assert not found(pattern, "a" * 256)
    assert time.process_time() - begun < 10


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(PocketError, match="filters: 1 is no text"):
        check_filters({1: "x"})  # type: ignore[dict-item]


def test_what_was_given_is_not_offered_instead_of_itself() -> None:
    with pytest.raises(PocketError, match="'tag:' is unknown; known are") as caught:
        check_filters({"tag:": "x"})
    assert "did you mean" not in caught.value.message
