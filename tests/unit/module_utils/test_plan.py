# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._plan import Operation, Plan, to_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=9
)


@given(VALUES)
def test_yaml_text_reads_back_as_the_same_value(value):
    assert yaml.safe_load(to_yaml(value)) == value


def test_plain_words_stay_readable():
    service = {"scheduler": "rr", "dests": [{"state": "ready", "address": "10.0.0.2", "weight": 1}], "flags": []}
    assert to_yaml({"tcp 10.0.0.1:80": service}) == (
        "tcp 10.0.0.1:80:\n"
        '  scheduler: rr\n  dests:\n    - state: ready\n      address: "10.0.0.2"\n      weight: 1\n  flags: []\n'
    )


def test_an_empty_plan_changes_nothing_and_has_an_empty_diff():
    plan = Plan()
    assert not plan.changed
    assert plan.diff() == {"before": "", "after": ""}


def test_the_diff_of_a_subject_spans_its_operations():
    plan = Plan(
        (
            Operation("edit", "a", {"weight": 1}, {"weight": 0}),
            Operation("delete", "a", {"weight": 0}, None),
            Operation("create", "b", None, {"weight": 2}),
        )
    )
    assert plan.diff() == {"before": "a:\n  weight: 1\n", "after": "b:\n  weight: 2\n"}
