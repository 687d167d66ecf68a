# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.storage_info import SnapshotInfoTask
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_snapshot import Desk
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, monkeypatch)
    made.shoot(name="a", volume_id=made.volume_id, description="of a volume")
    made.shoot(name="b", instance_id=made.first, tags={"pool": "web"})
    return made


def names(desk: Desk, **stated: Any) -> list[str]:
    params = {"snapshot_ids": None, "filters": None, **stated}
    found = execute(lambda asked: SnapshotInfoTask(asked, desk.store), params)
    assert found["changed"] is False
    assert found["snapshot_ids"] == [snapshot["snapshot_id"] for snapshot in found["snapshots"]]
    return sorted(snapshot["tags"]["Name"] for snapshot in found["snapshots"])


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["a", "b"]),
        ({"description": "of *"}, ["a"]),
        ({"volume-id": "*"}, ["a"]),
        ({"instance-id": "*"}, ["b"]),
        ({"volume-size": 2}, ["a"]),
        ({"status": "completed", "progress": "100%"}, ["a", "b"]),
        ({"status": "pending"}, []),
        ({"tag:pool": "web"}, ["b"]),
        ({"tag-key": "pool"}, ["b"]),
        ({"snapshot-id": "snap-*", "start-time": "20*"}, ["a", "b"]),
    ],
)
def test_filters_select(desk: Desk, filters: dict[str, Any], found: list[str]) -> None:
    assert names(desk, filters=filters) == found


def test_snapshots_by_id(desk: Desk) -> None:
    assert names(desk, snapshot_ids=[desk.shoot(name="a")["snapshot_id"]]) == ["a"]


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("InvalidParameterValue", {"filters": {"size": "1"}}),
        ("InvalidSnapshotID.Malformed", {"snapshot_ids": ["snap-x"]}),
        ("InvalidSnapshot.NotFound", {"snapshot_ids": ["snap-0123456789abcdef0"]}),
    ],
)
def test_bad_input_is_refused(desk: Desk, code: str, stated: dict[str, Any]) -> None:
    params = {"snapshot_ids": None, "filters": None, **stated}
    failed = refusal(lambda asked: SnapshotInfoTask(asked, desk.store), params)
    assert failed["error_code"] == code
    assert str(next(iter(stated))) in failed["msg"]
