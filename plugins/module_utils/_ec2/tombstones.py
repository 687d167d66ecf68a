# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Terminated instances: EC2 shows them for about an hour, their ids are known longer. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta, timezone
from typing import Any

from .interfaces import recorded_interfaces
from .machine import Machine
from .model import Instance

__all__ = ["LIFETIME", "VISIBLE", "forgotten", "instances_of", "record_of", "timestamp"]

VISIBLE = timedelta(hours=1)
LIFETIME = timedelta(days=30)
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def timestamp(when: datetime) -> str:
    """Return `when` as ISO 8601 in UTC, whole seconds."""
    return when.astimezone(timezone.utc).strftime(_FORMAT)


def forgotten(launched: str, now: str) -> bool:
    """Whether instances launched then may be terminated and no longer known; both times as timestamp() has them."""
    return datetime.strptime(now, _FORMAT) - datetime.strptime(launched, _FORMAT) >= LIFETIME


def record_of(instance: Instance, when: datetime) -> dict[str, Any]:
    """Return what is kept of `instance`, terminated at `when`."""
    reason = f"User initiated ({timestamp(when)})"
    record = {**asdict(instance.with_state("terminated", reason)), "terminated_at": timestamp(when)}
    del record["disks"], record["volumes_deleted_on_termination"]
    return record


def instances_of(records: Iterable[Mapping[str, Any]], since: datetime | None = None) -> list[Instance]:
    """Return the terminated instances among `records`, only those that were terminated after `since` if it is given."""
    names = {field.name for field in fields(Instance)}
    oldest = timestamp(since) if since else ""
    found = []
    for record in records:
        # Of one whose domain was undefined, the id is all that is known.
        if "image_id" in record and record.get("terminated_at", "") >= oldest:
            known = {name: value for name, value in record.items() if name in names}
            known["interfaces"] = recorded_interfaces(record)
            for name in ("security_groups", "group_names"):
                known[name] = tuple(known.get(name, ()))
            known["machine"] = Machine(**known.get("machine", {}))
            found.append(Instance(**known))
    return found
