# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed in the middle, on a real libvirtd: the next run converges, and no orphan is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host

WEB = {"pool": "web"}


@pytest.fixture
def cloud(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(host, store, idle_image(tmp_path))
    (host.path(store) / "capacity.json").write_text('{"boots_at_once": 10}')  # nothing boots there
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")


POINTS = int(os.environ.get("POCKET_CLOUD_KILLS", "50")) // 2
MANY = 10


def test_killed_at_fifty_points_spread_over_a_launch_and_a_termination_of_ten(cloud: Cloud) -> None:
    asked: dict[str, Any] = {"exact_count": MANY, "tags": WEB}
    took = {}
    for guarded in (False, True):
        launch = cloud.duration(**asked, source_dest_check=guarded)
        took[guarded] = {"launching": launch, "terminating": cloud.duration(state="terminated", tags=WEB)}
    killed = {"launching": 0, "terminating": 0}
    partial = dict(killed)
    for point in range(POINTS):
        share = (point + 0.5) / POINTS
        asked["source_dest_check"] = guarded = point % 4 == 1  # network filters take most of the time
        killed["launching"] += is_killed(cloud, took[guarded], "launching", share, **asked)
        partial["launching"] += remains(cloud, "launching")
        result = cloud.run(**asked)
        assert len(result["instance_ids"]) == MANY
        cloud.assert_whole(MANY)
        killed["terminating"] += is_killed(cloud, took[guarded], "terminating", share, state="terminated", tags=WEB)
        partial["terminating"] += remains(cloud, "terminating")
        # asked by tag, those whose termination had begun are found all the same: they are remains
        done = cloud.run(state="terminated", tags=WEB)
        assert set(done["terminated_ids"]) | cloud.tombstones() >= set(result["instance_ids"])
        cloud.assert_nothing_left()
    assert all(number >= POINTS * 0.6 for number in killed.values()), killed
    assert all(number >= POINTS * 0.2 for number in partial.values()), partial


def is_killed(cloud: Cloud, took: dict[str, float], phase: str, share: float, **asked: Any) -> bool:
    """Kill a run after this share of the time that it takes; where it took less, the next of its kind get less."""
    killed = cloud.killed_after(took[phase] * share, **asked)
    if not killed:
        took[phase] *= 0.8
    return killed


def remains(cloud: Cloud, phase: str) -> bool:
    """Whether a run was killed in the middle of what `phase` says of an instance."""
    return any(f'phase="{phase}"' in text for text in cloud.definitions())


def test_libvirtd_restarted_between_runs_loses_nothing(cloud: Cloud) -> None:
    before = cloud.run(exact_count=2, tags=WEB)
    cloud.host.stop_libvirtd()
    cloud.host.start_libvirt()
    after = cloud.run(exact_count=2, tags=WEB)
    assert after["changed"] is False
    assert after["instances"] == before["instances"]
    cloud.assert_whole(2)
