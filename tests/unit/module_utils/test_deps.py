# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils import _deps
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError


def test_a_missing_library_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(_deps.PACKAGES, "no_such_library", ("python3-no-such", "no-such"))
    with pytest.raises(PocketError, match=r"no-such cannot be imported.*apt install python3-no-such"):
        _deps.require("no_such_library")


def test_a_present_library_is_returned(monkeypatch):
    monkeypatch.setitem(_deps.PACKAGES, "json", ("python3", "json"))
    assert _deps.require("json").dumps([]) == "[]"
