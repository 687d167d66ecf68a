# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from functools import partial

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.config_task import ZeroTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import BulkTask
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import Bench, MemoryKernel, WrittenInCheckModeError
from ansible_collections.pocket.cloud.tests.unit.support import execute

WEB = {"address": "192.0.2.10", "port": 80}
DNS = {"address": "192.0.2.10", "port": 53, "protocol": "udp"}


@pytest.fixture
def zero(bench: Bench):
    """Runs the module's task: in check mode, for real, and again, on two services that have counted."""
    kernel = bench.kernel
    services = [{**WEB, "dests": [{"address": "10.0.0.1"}]}, {**DNS, "dests": [{"address": "10.0.0.2"}]}]
    execute(partial(BulkTask, connect=kernel.connect), {"services": services})
    kernel.counted.update({"10.0.0.1:80": 5, "10.0.0.2:53": 7})
    return lambda *services: bench.run(
        partial(ZeroTask, connect=kernel.connect), {"services": list(services) if services else None}
    )


def test_all_counters_go_back_to_zero(zero, kernel: MemoryKernel):
    done = zero()
    assert done["zeroed"] == ["udp 192.0.2.10:53", "tcp 192.0.2.10:80"]
    assert "connections: 5" in done["diff"]["before"]
    assert "connections: 0" in done["diff"]["after"]
    assert set(kernel.counted.values()) == {0}


def test_or_those_of_one_service(zero, kernel: MemoryKernel):
    assert zero(DNS)["zeroed"] == ["udp 192.0.2.10:53"]
    assert kernel.counted == {"10.0.0.1:80": 5, "10.0.0.2:53": 0}


def test_a_service_that_is_not_there_is_named(zero, bench: Bench):
    refused = partial(bench.refusal, partial(ZeroTask, connect=bench.kernel.connect))
    assert "tcp 192.0.2.10:8080 does not exist" in refused({"services": [DNS, {**WEB, "port": 8080}]})
    assert "services[1]: port is 70000" in refused({"services": [DNS, {**WEB, "port": 70000}]})


def test_check_mode_cannot_write(zero, kernel: MemoryKernel):
    with kernel.sealed(), pytest.raises(WrittenInCheckModeError):
        execute(partial(ZeroTask, connect=kernel.connect), {"services": None})
