# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.filter_sync import security_groups
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.security_group_task import SecurityGroupInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.store import Store
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_security_group import HTTP, Desk
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, monkeypatch)
    made.again(name="web", rules=[HTTP], tags={"team": "web"})
    made.again(name="database", rules=[{"ports": ["5432"], "group_name": ["web"]}], description="Databases")
    made.guard.forbidden = True
    return made


def params(**stated: Any) -> dict[str, Any]:
    return {"group_ids": None, "group_names": None, "filters": None, "store": "/x", **stated}


def names(desk: Desk, **stated: Any) -> list[str]:
    result = execute(lambda asked: SecurityGroupInfoTask(asked, desk.store), params(**stated), check=True)
    assert result["changed"] is False
    return [group["group_name"] for group in result["security_groups"]]


def test_all_groups_by_name(desk: Desk) -> None:
    assert names(desk) == ["database", "web"]


def test_ids_names_and_filters_select(desk: Desk) -> None:
    group_id = execute(lambda asked: SecurityGroupInfoTask(asked, desk.store), params(group_names=["web"]))[
        "security_groups"
    ][0]["group_id"]
    assert names(desk, group_ids=[group_id]) == ["web"]
    assert names(desk, filters={"ip-permission.cidr": "0.0.0.0/0"}) == ["web"]
    assert names(desk, filters={"ip-permission.group-id": group_id, "ip-permission.protocol": "tcp"}) == ["database"]
    assert names(desk, filters={"description": "Data*", "group-name": "d*"}) == ["database"]
    assert names(desk, filters={"tag:team": "web", "tag-key": "team"}) == ["web"]
    assert names(desk, filters={"ip-permission.ipv6-cidr": "*"}) == []
    assert names(desk, filters={"group-id": group_id}, group_names=["database"]) == []


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"group_names": ["nobody"]}, "group_names: there is no security group 'nobody'", "InvalidGroup.NotFound"),
        ({"group_ids": ["sg-" + "1" * 17]}, "group_ids: there is no", "InvalidGroup.NotFound"),
        ({"group_ids": ["web"]}, "group_ids: 'web' is no security group's id", "InvalidGroupId.Malformed"),
        ({"group_ids": ["sg-1"]}, "group_ids: 'sg-1' is no security group's id", "InvalidGroupId.Malformed"),
        ({"filters": {"group": "a"}}, "filters: 'group' is unknown", "InvalidParameterValue"),
    ],
)
def test_what_is_not_there_or_unknown_is_an_error(desk: Desk, stated: dict[str, Any], said: str, code: str) -> None:
    failed = refusal(lambda asked: SecurityGroupInfoTask(asked, desk.store), params(**stated))
    assert said in failed["msg"]
    assert failed["error_code"] == code


def test_an_id_is_not_taken_for_a_name(desk: Desk) -> None:
    group_id = next(iter(security_groups(desk.store)))
    failed = refusal(lambda asked: SecurityGroupInfoTask(asked, desk.store), params(group_names=[group_id]))
    assert failed["error_code"] == "InvalidGroup.NotFound"
    assert f"group_names: there is no security group '{group_id}'" in failed["msg"]
    assert "group_ids" in failed["msg"]


def test_a_host_without_a_store_has_no_groups(tmp_path: Path) -> None:
    assert (
        execute(lambda asked: SecurityGroupInfoTask(asked, Store(tmp_path / "no")), params())["security_groups"] == []
    )
