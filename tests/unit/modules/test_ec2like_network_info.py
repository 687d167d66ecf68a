# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_info_task import NetworkInfoTask
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KvmHost:
    made = KvmHost(tmp_path, monkeypatch)
    nets = made.hypervisor.nets
    nets["office"] = replace(made.network("office", "192.168.7.1/28"), active=False, uplink="eth1", uuid="someone's")
    execute(made.task, {**PARAMS, "name": "a", "network_interfaces": [{}, {}]})
    return made


def params(**stated: Any) -> dict[str, Any]:
    return {"names": None, "filters": None, "uri": "fake:///", "store": "/x", **stated}


def listed(host: KvmHost, **stated: Any) -> list[dict[str, Any]]:
    host.guard.forbidden = True
    result = execute(lambda asked: NetworkInfoTask(asked, host.hypervisor), params(**stated), check=True)
    assert result["changed"] is False
    return result["networks"]  # type: ignore[no-any-return]


def names(host: KvmHost, **stated: Any) -> list[str]:
    return [network["name"] for network in listed(host, **stated)]


def test_all_networks_with_the_room_they_have(host: KvmHost) -> None:
    office, pocket = listed(host)
    (instance,) = host.hypervisor.instances()
    assert (pocket["name"], pocket["state"], pocket["managed"]) == ("pocket", "available", True)
    assert pocket["instance_ids"] == [instance.instance_id]
    # Of 254 addresses the bridge has one and the instance two.
    assert pocket["available_ip_address_count"] == 251
    assert [one["private_ip_address"] for one in pocket["reservations"]] == ["10.80.0.2", "10.80.0.3"]
    assert {one["instance_id"] for one in pocket["reservations"]} == {instance.instance_id}
    assert (office["state"], office["managed"], office["instance_ids"]) == ("unavailable", False, [])
    assert office["available_ip_address_count"] == 13


def test_names_and_filters_select(host: KvmHost) -> None:
    assert names(host, names=["office"]) == ["office"]
    assert names(host, filters={"cidr": "10.80.*", "mode": "nat"}) == ["pocket"]
    assert names(host, filters={"state": "unavailable"}) == ["office"]
    assert names(host, filters={"uplink": "eth?", "bridge": "office0"}) == ["office"]
    assert names(host, filters={"ipv6-cidr": "*"}) == []
    assert names(host, filters={"name": ["pocket", "x"]}, names=["office"]) == []


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"names": ["pocket", "none"]}, "names: there is no network 'none'", "InvalidSubnetID.NotFound"),
        ({"filters": {"cid": "x"}}, "did you mean 'cidr'?", "InvalidParameterValue"),
        ({"filters": {"tag:a": "x"}}, "have no tags", "InvalidParameterValue"),
    ],
)
def test_what_is_not_there_or_unknown_is_an_error(host: KvmHost, stated: dict[str, Any], said: str, code: str) -> None:
    failed = refusal(lambda asked: NetworkInfoTask(asked, host.hypervisor), params(**stated))
    assert said in failed["msg"]
    assert failed["error_code"] == code
