# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.key_task import KeyTask, key_pairs
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.keygen import Generated
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.keys import PublicKey
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed, KvmHost
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.test_keys import (
    ED25519,
    ED25519_FINGERPRINT,
    RSA,
    RSA_FINGERPRINT,
)
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

DEFAULTS = {
    "name": "admin",
    "state": "present",
    "key_material": None,
    "key_type": None,
    "force": False,
    "tags": None,
    "purge_tags": False,
    "store": "",
}
SECRET = "-----BEGIN-----"


class Desk(KvmHost):
    """The host and the module on it; each call is made in check mode first, which must tell the same."""

    def key_task(self, params: dict[str, Any]) -> KeyTask:
        return KeyTask(params, self.store, self.generate)

    def generate(self, key_type: str) -> Generated:
        self.guard.write(f"generate {key_type}")
        return Generated(PublicKey.of({"rsa": RSA, "ed25519": ED25519}[key_type]), f"created {key_type}", SECRET)

    def call(self, **stated: Any) -> dict[str, Any]:
        params = {**DEFAULTS, **stated}
        before = key_pairs(self.store)
        self.guard.forbidden = True
        foretold = execute(self.key_task, params, check=True)
        self.guard.forbidden = False
        assert key_pairs(self.store) == before
        assert SECRET not in str(foretold)
        done = execute(self.key_task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        assert SECRET not in str(done["diff"])
        assert SECRET not in str(key_pairs(self.store))
        return done

    def again(self, **stated: Any) -> dict[str, Any]:
        first = self.call(**stated)
        assert first["changed"] is True
        second = self.call(**stated)
        assert second["changed"] is False
        assert "private_key" not in (second["key"] or {})
        return first

    def refuse(self, **stated: Any) -> dict[str, Any]:
        before = key_pairs(self.store)
        self.guard.forbidden = True
        told = refusal(self.key_task, {**DEFAULTS, **stated}, check=True)
        self.guard.forbidden = False
        done = refusal(self.key_task, {**DEFAULTS, **stated})
        assert told == done
        assert done["changed"] is False
        assert key_pairs(self.store) == before
        return done


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_an_imported_key_has_ec2s_members(desk: Desk) -> None:
    key = desk.again(key_material=f"{ED25519} me@home\n")["key"]
    assert re.fullmatch("key-[0-9a-f]{17}", key.pop("key_pair_id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", key.pop("create_time"))
    assert key == {
        "key_name": "admin",
        "key_type": "ed25519",
        "key_fingerprint": ED25519_FINGERPRINT,
        "public_key": ED25519,
        "tags": {},
    }


def test_the_private_key_is_returned_by_the_run_that_creates_it_alone(desk: Desk) -> None:
    made = desk.again()["key"]
    assert (made["key_type"], made["key_fingerprint"], made["private_key"]) == ("rsa", "created rsa", SECRET)
    assert desk.again(state="absent")["key"] is None
    assert desk.again(key_type="ed25519")["key"]["key_type"] == "ed25519"


def test_another_key_takes_its_place_only_by_force(desk: Desk) -> None:
    first = desk.again(key_material=ED25519, tags={"a": "1"})["key"]
    failed = desk.refuse(key_material=RSA)
    assert failed["error_code"] == "InvalidKeyPair.Duplicate"
    assert "force" in failed["msg"]
    second = desk.again(key_material=RSA, force=True)["key"]
    assert second["key_fingerprint"] == RSA_FINGERPRINT
    assert second["key_pair_id"] != first["key_pair_id"]
    assert second["tags"] == {"a": "1"}
    assert desk.call()["changed"] is False  # there is one, whoever made it
    assert desk.call(key_type="rsa", force=True)["changed"] is False
    assert desk.refuse(key_type="ed25519")["error_code"] == "InvalidKeyPair.Duplicate"
    assert desk.again(key_type="ed25519", force=True)["key"]["private_key"] == SECRET


def test_tags_change_in_place(desk: Desk) -> None:
    first = desk.again(key_material=ED25519, tags={"team": "web", "n": 1})["key"]
    assert first["tags"] == {"n": "1", "team": "web"}
    second = desk.again(tags={"team": "db"})["key"]
    assert second == {**first, "tags": {"n": "1", "team": "db"}}
    assert desk.again(tags={"team": "db"}, purge_tags=True)["key"]["tags"] == {"team": "db"}
    assert desk.call(purge_tags=True)["changed"] is False  # unstated means untouched
    assert desk.again(tags={}, purge_tags=True)["key"]["tags"] == {}
    desk.again(tags={str(number): "" for number in range(50)})
    assert desk.refuse(tags={"more": ""})["error_code"] == "TagLimitExceeded"


def test_removing_what_is_not_there_is_no_change(desk: Desk) -> None:
    assert desk.call(state="absent")["changed"] is False


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"name": " a"}, "name: ' a'", "InvalidParameterValue"),
        ({"key_material": "ssh-rsa x"}, "key_material: ", "InvalidKeyPair.Format"),
        ({"tags": {"aws:x": ""}}, "tags: the key 'aws:x'", "InvalidParameterValue"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(desk: Desk, stated: dict[str, Any], said: str, code: str) -> None:
    failed = desk.refuse(**stated)
    assert said in failed["msg"]
    assert failed["error_code"] == code


def test_killed_anywhere_the_next_run_converges(desk: Desk) -> None:
    for goal in ({}, {"tags": {"a": "b"}}, {"key_material": ED25519, "force": True}, {"state": "absent"}):
        for writes in range(3):
            desk.guard.left = writes
            with contextlib.suppress(Killed):
                execute(desk.key_task, {**DEFAULTS, **goal})
            desk.guard.left = None
            desk.call(**goal)
            assert desk.call(**goal)["changed"] is False


def test_a_guest_is_given_the_key_it_was_launched_with(desk: Desk) -> None:
    desk.again(name="my key", key_material=f"{ED25519} me@home")
    result = execute(desk.task, {**PARAMS, "name": "a", "key_name": "my key"})
    (instance,) = result["instances"]
    assert instance["key_name"] == "my key"
    assert desk.seeds[instance["instance_id"]]["public_keys"] == (f"{ED25519} my key",)
    found = execute(desk.task, {**PARAMS, "filters": {"key-name": "my*"}, "state": "running"})
    assert found["instance_ids"] == result["instance_ids"]
    # It is looked up at a launch alone, so the pair may go.
    desk.again(name="my key", state="absent")
    assert execute(desk.task, {**PARAMS, "name": "a", "key_name": "my key"})["changed"] is False


@pytest.mark.parametrize("check", [True, False])
def test_a_key_pair_that_is_not_there_fails_the_launch_before_it_begins(desk: Desk, check: bool) -> None:
    desk.again(key_material=ED25519)
    desk.guard.forbidden = check
    writes = len(desk.guard.writes)
    failed = refusal(desk.task, {**PARAMS, "name": "a", "key_name": "nobody"}, check=check)
    assert failed["error_code"] == "InvalidKeyPair.NotFound"
    assert "key_name: there is no key pair 'nobody'" in failed["msg"]
    assert "there are: admin" in failed["msg"]
    assert len(desk.guard.writes) == writes
    assert (
        refusal(desk.task, {**PARAMS, "name": "a", "key_name": "x\n"}, check)["error_code"] == "InvalidParameterValue"
    )
