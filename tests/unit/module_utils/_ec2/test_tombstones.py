# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from datetime import datetime, timezone

from hypothesis import given

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, Interface
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.tombstones import instances_of, record_of
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import instances

WHEN = datetime(2026, 1, 1, tzinfo=timezone.utc)


@given(instances())
def test_a_terminated_instance_is_remembered_with_its_interfaces(instance: Instance) -> None:
    (found,) = instances_of([json.loads(json.dumps(record_of(instance, WHEN)))])
    assert found == instance.with_state("terminated", "User initiated (2026-01-01T00:00:00Z)")


@given(instances())
def test_the_one_interface_of_older_records_is_still_read(instance: Instance) -> None:
    record = json.loads(json.dumps(record_of(instance, WHEN)))
    del record["interfaces"]
    own = {"network": "pocket", "mac_address": "52:54:00:00:00:01", "private_ip_address": "10.80.0.2"}
    (found,) = instances_of([{**record, **own, "address_source": "lease"}])
    assert found.interfaces == (Interface("pocket", "52:54:00:00:00:01", "10.80.0.2"),)
