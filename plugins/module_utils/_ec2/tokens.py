# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2's client tokens: a launch that is asked for twice is made once. Pure. PRIVATE to the collection.

The record of a token is written before the first instance of its launch is made, with the ids that they will have, so
that a run that takes up after a killed one launches those that are missing and no others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from .._errors import PocketError
from .._plan import Operation
from .model import Instance
from .request import Current, Drawn, Launch, Request
from .tombstones import forgotten

__all__ = ["TOKENS", "check_client_token", "record_launch", "taken_up"]

TOKENS = "client-token"  # the kind of their records
_LONGEST = 64


def check_client_token(token: str | None) -> str | None:
    """Return the token, or raise where EC2 would refuse it: up to 64 ASCII characters, and not none."""
    if token is not None and not (1 <= len(token) <= _LONGEST and token.isascii() and token.isprintable()):
        raise PocketError(
            f"client_token: {token!r} cannot be used; it has 1 to {_LONGEST} printable ASCII characters",
            code="InvalidParameterValue",
        )
    return token


def _digest(request: Request) -> str:
    """Return what two launches have in common that ask for the same; the token's own name is not part of it."""
    asked = {**asdict(replace(request.template, client_token=None)), "tags": dict(request.tags)}
    counts = [request.count, request.min_count, request.max_count]
    text = json.dumps([asked, counts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def record_launch(request: Request, launches: list[Launch]) -> Operation:
    """Return the write that remembers what the token launches. It is in no diff: ids are drawn."""
    token = str(request.template.client_token)
    record = {
        "parameters": _digest(request),
        "reservation_id": request.drawn.reservation_id,
        "launch_time": request.drawn.launch_time,
        "instance_ids": [launch.instance.instance_id for launch in launches],
    }
    return Operation("token", f"client token {token}", payload=(token, record))


def taken_up(record: Mapping[str, Any], current: Current, request: Request) -> tuple[list[Instance], Drawn | None]:
    """Return those of the token's instances that exist, and the rest of its draw; none where all exist or existed.

    Raises IdempotentParameterMismatch where the token launched something else, and IdempotentInstanceTerminated where
    what it launched is no more.
    """
    token = request.template.client_token
    if record["parameters"] != _digest(request):
        raise PocketError(
            f"client_token: {token!r} was used with other parameters; use another token, or state the same as then",
            code="IdempotentParameterMismatch",
        )
    live = {instance.instance_id: instance for instance in current.instances if instance.phase == "launched"}
    # One that somebody undefined is not made again: its disk would be overwritten.
    gone = {*current.buried, *current.orphans, *(instance.instance_id for instance in current.terminated)}
    gone |= {instance.instance_id for instance in current.instances if instance.phase == "terminating"}
    ids = record["instance_ids"]
    there = [live[one] for one in ids if one in live]
    missing = tuple(one for one in ids if one not in live and one not in gone)
    if forgotten(record["launch_time"], request.drawn.launch_time):  # rather too few than terminated ones again
        missing = ()
    if not there and not missing:
        raise PocketError(
            f"client_token: {token!r} launched {', '.join(ids)}, which are terminated; use another token",
            code="IdempotentInstanceTerminated",
        )
    return there, Drawn(missing, record["reservation_id"], record["launch_time"]) if missing else None
