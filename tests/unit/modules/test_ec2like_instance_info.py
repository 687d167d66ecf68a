# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.info_task import InstanceInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.tombstones import instances_of, record_of
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KvmHost:
    made = KvmHost(tmp_path, monkeypatch)
    execute(made.task, {**PARAMS, "exact_count": 2, "tags": {"pool": "web"}})
    execute(made.task, {**PARAMS, "name": "db", "tags": {"a*b": "c?"}})
    made.guard.forbidden = True
    return made


def info(host: KvmHost, **stated: Any) -> dict[str, Any]:
    params = {"instance_ids": None, "filters": None, "uri": "fake:///", "store": str(host.store.root), **stated}
    return execute(lambda asked: InstanceInfoTask(asked, host.hypervisor, host.store), params, check=True)


def names(host: KvmHost, **filters: Any) -> list[str | None]:
    return [one["tags"].get("Name") for one in info(host, filters=filters)["instances"]]


def test_all_instances_the_oldest_first(host: KvmHost) -> None:
    result = info(host)
    assert result["changed"] is False
    assert len(result["instances"]) == 3
    assert result["instance_ids"] == [one["instance_id"] for one in result["instances"]]
    assert [one["network_interfaces"][0]["address_source"] for one in result["instances"]] == ["lease"] * 3


def test_filters_are_and_between_names_and_or_within(host: KvmHost) -> None:
    assert names(host, **{"tag:pool": "web"}) == [None, None]
    assert names(host, **{"tag:pool": ["web", "x"], "launch-index": "1"}) == [None]
    assert names(host, **{"tag:Name": "d?"}) == ["db"]
    assert names(host, **{"tag-key": "Na*", "instance-state-name": "running"}) == ["db"]
    assert names(host, **{"tag-key": "a\\*b", "tag:a*b": "c\\?"}) == ["db"]
    assert names(host, **{"tag:a*b": "c\\*"}) == []
    assert names(host, **{"instance-state-code": 16, "private-ip-address": "10.80.0.4"}) == ["db"]
    assert names(host, **{"instance-state-name": "stopped"}) == []


def test_an_unknown_filter_is_an_error(host: KvmHost) -> None:
    def make(asked: dict[str, Any]) -> InstanceInfoTask:
        return InstanceInfoTask(asked, host.hypervisor, host.store)

    params = {"instance_ids": None, "filters": {"instance-state": "running"}, "uri": "fake:///", "store": "/x"}
    failed = refusal(make, params)
    assert failed["error_code"] == "InvalidParameterValue"
    assert "did you mean 'instance-state-" in failed["msg"]
    failed = refusal(make, {**params, "filters": None, "instance_ids": ["i-" + "0" * 17]})
    assert failed["error_code"] == "InvalidInstanceID.NotFound"
    assert refusal(make, {**params, "instance_ids": ["x"]})["error_code"] == "InvalidInstanceID.Malformed"


def test_terminated_instances_are_seen_for_an_hour(host: KvmHost) -> None:
    host.guard.forbidden = False
    (gone,) = execute(host.task, {**PARAMS, "name": "db", "state": "terminated"})["terminated_ids"]
    (shown,) = info(host, instance_ids=[gone])["instances"]
    assert shown["state"] == {"code": 48, "name": "terminated"}
    assert shown["tags"]["Name"] == "db"
    assert names(host, **{"instance-state-name": "terminated"}) == ["db"]
    (instance,) = instances_of(host.store.tombstones())
    long_ago = datetime.now(timezone.utc) - timedelta(minutes=61)
    host.store.bury(record_of(instance, long_ago), long_ago)
    assert names(host, **{"instance-state-name": "terminated"}) == []
    assert len(instances_of(host.store.tombstones())) == 1


def test_remains_of_a_killed_launch_are_pending(host: KvmHost) -> None:
    instance_id = next(iter(host.hypervisor.domains))
    text = host.hypervisor.domains[instance_id]
    host.hypervisor.domains[instance_id] = text.replace('phase="launched"', 'phase="launching"')
    (shown,) = info(host, instance_ids=[instance_id])["instances"]
    assert shown["state"] == {"code": 0, "name": "pending"}
