# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.key_task import KeyInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.store import Store
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import KvmHost
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.test_keys import ED25519, ED25519_FINGERPRINT, RSA
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_key import DEFAULTS, Desk
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KvmHost:
    desk = Desk(tmp_path, monkeypatch)
    execute(desk.key_task, {**DEFAULTS, "name": "web", "key_material": RSA, "tags": {"team": "web"}})
    execute(desk.key_task, {**DEFAULTS, "key_material": ED25519, "tags": {"team": "operations"}})
    desk.guard.forbidden = True
    return desk


def params(**stated: Any) -> dict[str, Any]:
    return {"names": None, "ids": None, "filters": None, "store": "/x", **stated}


def names(host: KvmHost, **stated: Any) -> list[str]:
    result = execute(lambda asked: KeyInfoTask(asked, host.store), params(**stated), check=True)
    assert result["changed"] is False
    return [pair["key_name"] for pair in result["keypairs"]]


def test_all_key_pairs_by_name(host: KvmHost) -> None:
    assert names(host) == ["admin", "web"]


def test_names_ids_and_filters_select(host: KvmHost) -> None:
    pair = execute(lambda asked: KeyInfoTask(asked, host.store), params(names=["admin"]))["keypairs"][0]
    assert pair["public_key"] == ED25519
    assert names(host, ids=[pair["key_pair_id"]]) == ["admin"]
    assert names(host, filters={"key-type": ["rsa", "x"], "key-name": "w?b"}) == ["web"]
    assert names(host, filters={"fingerprint": ED25519_FINGERPRINT, "key-pair-id": "key-*"}) == ["admin"]
    assert names(host, filters={"tag:team": "op*", "tag-key": "team"}) == ["admin"]
    assert names(host, filters={"tag:team": "op*"}, names=["web"]) == []


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"names": ["admin", "nobody"]}, "names: there is no key pair 'nobody'", "InvalidKeyPair.NotFound"),
        ({"ids": ["key-1"]}, "ids: there is no key pair 'key-1'", "InvalidKeyPair.NotFound"),
        ({"filters": {"key-nam": "a"}}, "did you mean 'key-name'?", "InvalidParameterValue"),
        ({"filters": {"instance-id": "a"}}, "filters: 'instance-id' is unknown", "InvalidParameterValue"),
    ],
)
def test_what_is_not_there_or_unknown_is_an_error(host: KvmHost, stated: dict[str, Any], said: str, code: str) -> None:
    failed = refusal(lambda asked: KeyInfoTask(asked, host.store), params(**stated))
    assert said in failed["msg"]
    assert failed["error_code"] == code


def test_a_host_without_a_store_has_no_key_pairs(tmp_path: Path) -> None:
    assert execute(lambda asked: KeyInfoTask(asked, Store(tmp_path / "none")), params())["keypairs"] == []
