# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed in the middle, on a real libvirtd: the next run converges, and no orphan is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host

WEB = {"pool": "web"}


@pytest.fixture
def cloud(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(host, store, idle_image(tmp_path))
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")


def test_killed_in_a_launch(cloud: Cloud) -> None:
    took = cloud.duration(exact_count=3, tags=WEB)
    cloud.run(state="terminated", tags=WEB)
    killed, partial = 0, 0
    for tenths in (3, 5, 6, 7, 8):
        killed += cloud.killed_after(took * tenths / 10, exact_count=3, tags=WEB)
        partial += any('phase="launching"' in cloud.host.virsh("dumpxml", one) for one in cloud.domains())
        if tenths in (5, 7):  # whatever run comes next clears what is left
            cloud.run(state="terminated", filters={"tag:pool": "web"})
            cloud.assert_nothing_left()
        result = cloud.run(exact_count=3, tags=WEB)
        assert len(result["instance_ids"]) == 3
        cloud.assert_whole(3)
        assert cloud.run(exact_count=3, tags=WEB)["changed"] is False
        cloud.run(state="terminated", tags=WEB)
        cloud.assert_nothing_left()
    assert killed >= 3
    assert partial >= 1, "no run was killed in the middle of a launch"


def test_killed_in_a_termination(cloud: Cloud) -> None:
    ids = cloud.run(exact_count=3, tags=WEB)["instance_ids"]
    took = cloud.duration(state="terminated", instance_ids=ids)
    killed, partial = 0, 0
    for tenths in (3, 5, 6, 7, 8):
        ids = cloud.run(exact_count=3, tags=WEB)["instance_ids"]
        killed += cloud.killed_after(took * tenths / 10, state="terminated", instance_ids=ids)
        partial += any('phase="terminating"' in cloud.host.virsh("dumpxml", one) for one in cloud.domains())
        result = cloud.run(state="terminated", instance_ids=ids)
        assert {one["state"]["name"] for one in result["instances"]} == {"terminated"}
        assert {one["instance_id"] for one in result["instances"]} == set(ids)
        cloud.assert_nothing_left()
    assert cloud.run(state="terminated", instance_ids=ids)["changed"] is False
    assert killed >= 3
    assert partial >= 1, "no run was killed in the middle of a termination"


def test_libvirtd_restarted_between_runs_loses_nothing(cloud: Cloud) -> None:
    before = cloud.run(exact_count=2, tags=WEB)
    cloud.host.stop_libvirtd()
    cloud.host.start_libvirt()
    after = cloud.run(exact_count=2, tags=WEB)
    assert after["changed"] is False
    assert after["instances"] == before["instances"]
    cloud.assert_whole(2)
