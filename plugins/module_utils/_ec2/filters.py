# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2's filters, on instances above all: all names must match, of each any value; C(*) and C(?) are wildcards.

PRIVATE to the collection.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .._errors import PocketError
from .model import STATE_CODES, Instance

__all__ = ["FILTERS", "Filters", "check_filters", "matches"]

Filters = Mapping[str, tuple[str, ...]]

# Name of the filter -> the values that an instance has for it.
FILTERS: Mapping[str, Callable[[Instance], list[str]]] = MappingProxyType(
    {
        "block-device-mapping.delete-on-termination": lambda instance: [
            str(mapping["ebs"]["delete_on_termination"]).lower() for mapping in instance.mappings()
        ],
        "block-device-mapping.device-name": lambda instance: [one["device_name"] for one in instance.mappings()],
        "block-device-mapping.volume-id": lambda instance: [one["ebs"]["volume_id"] for one in instance.mappings()],
        "image-id": lambda instance: [instance.image_id],
        "instance.group-id": lambda instance: list(instance.security_groups),
        "instance.group-name": lambda instance: list(instance.group_names),
        "instance-id": lambda instance: [instance.instance_id],
        "instance-state-code": lambda instance: [str(STATE_CODES[instance.state])],
        "instance-state-name": lambda instance: [instance.state],
        "instance-type": lambda instance: [instance.instance_type] if instance.instance_type else [],
        "key-name": lambda instance: [instance.key_name] if instance.key_name else [],
        "launch-index": lambda instance: [str(instance.ami_launch_index)],
        "launch-time": lambda instance: [instance.launch_time],
        "network": lambda instance: [interface.network for interface in instance.interfaces],
        "ipv6-address": lambda instance: [instance.ipv6_address] if instance.ipv6_address else [],
        "network-interface.addresses.private-ip-address": lambda instance: [
            one.private_ip_address for one in instance.interfaces if one.private_ip_address
        ],
        "network-interface.ipv6-addresses.ipv6-address": lambda instance: [
            one.ipv6_address for one in instance.interfaces if one.ipv6_address
        ],
        "network-interface.mac-address": lambda instance: [one.mac_address for one in instance.interfaces],
        "private-dns-name": lambda instance: [instance.instance_id],
        "private-ip-address": lambda instance: [instance.private_ip_address] if instance.private_ip_address else [],
        "reservation-id": lambda instance: [instance.reservation_id],
        "tag-key": lambda instance: list(instance.tags),
    }
)
_TAG = "tag:"


def check_filters(
    filters: Mapping[str, Any] | None, known: Collection[str] = FILTERS.keys()
) -> dict[str, tuple[str, ...]]:
    """Return `filters` in one form; raises InvalidParameterValue for an unknown name or a value of no text."""
    checked = {}
    for name, given in (filters or {}).items():
        if not isinstance(name, str):
            raise PocketError(
                f"filters: {name!r} is no text, and so no filter's name; known are {', '.join(known)} and tag:KEY",
                code="InvalidParameterValue",
            )
        if name not in known and not (_have_tags(known) and name.startswith(_TAG) and len(name) > len(_TAG)):
            raise PocketError(_unknown(name, known), code="InvalidParameterValue")
        values = list(given) if isinstance(given, (list, tuple)) else [given]
        if not values or any(isinstance(value, (dict, list, tuple)) or value is None for value in values):
            raise PocketError(
                f"filters: {name!r} has the value {given!r}; give a text or a list of texts",
                code="InvalidParameterValue",
            )
        checked[name] = tuple(_text(value) for value in values)
    return checked


def _unknown(name: str, known: Collection[str]) -> str:
    if name.startswith(_TAG) and not _have_tags(known):
        return f"filters: {name!r} has no meaning here, for these have no tags; known are {', '.join(known)}"
    tag = [_TAG] if _have_tags(known) else []
    close = difflib.get_close_matches(name, [*known, *tag], n=1)
    hint = f"did you mean {close[0]!r}? " if close and close[0] != name else ""
    return f"filters: {name!r} is unknown; {hint}known are {', '.join(known)}{' and tag:KEY' if tag else ''}"


def _have_tags(known: Collection[str]) -> bool:
    """Whether the things that the filters are of have tags, which images and networks have not."""
    return "tag-key" in known


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def matches(thing: Any, filters: Filters, known: Mapping[str, Callable[[Any], list[str]]] = FILTERS) -> bool:
    """Whether `thing`, an instance unless `known` has filters of another kind, is one of those that they select."""
    for name, patterns in filters.items():
        if name.startswith(_TAG):
            key = name[len(_TAG) :]
            values = [thing.tags[key]] if key in thing.tags else []
        else:
            values = known[name](thing)
        if not any(_fits(_parts(pattern), value) for pattern in patterns for value in values):
            return False
    return True


# Longer than the characters that they stand beside, so none of those is taken for one.
_ANY = "any text"
_ONE = "any character"


@functools.lru_cache(128)
def _parts(pattern: str) -> tuple[str, ...]:
    """Split a value with wildcards; a backslash takes the meaning off the character behind it, as in EC2."""
    wildcards = {"*": _ANY, "?": _ONE}
    found = re.findall(r"(\\)?([\s\S])", pattern)
    return tuple(character if escaped else wildcards.get(character, character) for escaped, character in found)


def _fits(parts: Sequence[str], text: str) -> bool:
    """Whether `text` matches. No regular expression: one tries every C(*) again, and some patterns take it for ever."""
    if len(parts) - parts.count(_ANY) > len(text):
        return False
    at = place = 0
    after_any, begun = -1, 0  # where to go on when what follows the last C(*) does not fit; what was before it does
    while at < len(text):
        if place < len(parts) and parts[place] == _ANY:
            place += 1
            after_any, begun = place, at
        elif place < len(parts) and parts[place] in (_ONE, text[at]):
            at += 1
            place += 1
        elif after_any >= 0:
            begun += 1
            at, place = begun, after_any
        else:
            return False
    return all(part == _ANY for part in parts[place:])
