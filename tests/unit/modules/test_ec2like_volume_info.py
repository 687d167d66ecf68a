# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.storage_info import VolumeInfoTask
from ansible_collections.pocket.cloud.tests.unit.modules.test_ec2like_volume import UNKNOWN, Desk
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, monkeypatch)
    made.again(name="a", size_gib=1, instance=made.first, device_name="vdh", delete_on_termination=True)
    made.again(name="b", size_gib=2, tags={"pool": "web"})
    return made


def names(desk: Desk, **stated: Any) -> list[str]:
    params = {"volume_ids": None, "filters": None, **stated}
    found = execute(lambda asked: VolumeInfoTask(asked, desk.hypervisor, desk.store), params)
    assert found["changed"] is False
    assert found["volume_ids"] == [volume["volume_id"] for volume in found["volumes"]]
    return sorted(volume["tags"]["Name"] for volume in found["volumes"])


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["a", "b"]),
        ({"status": "in-use"}, ["a"]),
        ({"status": ["in-use", "available"], "size": 2}, ["b"]),
        ({"attachment.device": "/dev/vd?"}, ["a"]),
        ({"attachment.delete-on-termination": True}, ["a"]),
        ({"attachment.status": "attached"}, ["a"]),
        ({"tag:pool": "w*"}, ["b"]),
        ({"tag-key": "pool"}, ["b"]),
        ({"volume-id": "vol-*", "create-time": "20*"}, ["a", "b"]),
        ({"snapshot-id": "*"}, []),
    ],
)
def test_filters_select(desk: Desk, filters: dict[str, Any], found: list[str]) -> None:
    assert names(desk, filters=filters) == found


def test_volumes_by_id(desk: Desk) -> None:
    a = desk.call(name="a")["volume_id"]
    assert names(desk, volume_ids=[a]) == ["a"]
    assert names(desk, volume_ids=[a], filters={"attachment.instance-id": desk.second}) == []


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("InvalidParameterValue", {"filters": {"state": "x"}}),
        ("InvalidVolumeID.Malformed", {"volume_ids": ["vol-x"]}),
        ("InvalidVolume.NotFound", {"volume_ids": [UNKNOWN]}),
    ],
)
def test_bad_input_is_refused(desk: Desk, code: str, stated: dict[str, Any]) -> None:
    params = {"volume_ids": None, "filters": None, **stated}
    failed = refusal(lambda asked: VolumeInfoTask(asked, desk.hypervisor, desk.store), params)
    assert failed["error_code"] == code
    assert str(next(iter(stated))) in failed["msg"]
