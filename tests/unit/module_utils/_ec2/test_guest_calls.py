# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent in a guest answers, who may be hostile."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import guest_calls
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.guest_calls import GuestCalls


class Agent(GuestCalls):
    """Calls of an agent that answers each with the same, which is what a file that is read has to hold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        super().__init__()
        self._libvirt = SimpleNamespace(libvirtError=OSError)
        ask = SimpleNamespace(qemuAgentCommand=lambda *_arguments: answer)
        monkeypatch.setattr(guest_calls, "require", lambda _name: ask)

    @property
    def _connection(self) -> Any:
        return SimpleNamespace(lookupByName=lambda name: name)


def test_a_file_of_the_guests_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, json.dumps({"return": {"buf-b64": "aGVsbG8="}}))
    assert agent.guest_file("i-0", "/etc/motd") == "hello"


@pytest.mark.parametrize(
    "answer",
    ['{"return": {}}', '{"return": []}', '{"return": {"buf-b64": 5}}', '{"return": {"buf-b64": "a"}}', "{}", "x"],
)
def test_an_answer_that_is_none_is_no_file(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    assert Agent(monkeypatch, answer).guest_file("i-0", "/etc/motd") is None
