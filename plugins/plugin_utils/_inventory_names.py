# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which name an inventory knows each instance. Pure. PRIVATE to the collection."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

__all__ = ["HOSTNAMES", "check_hostnames", "inventory_names"]

HOSTNAMES = ("instance-id", "private-ip-address", "private-dns-name")
_TAG = "tag:"
# A name is part of paths (host_vars), of patterns and of lists.
_NAME = re.compile(r"\w([\w.-]*\w)?")
_RESERVED = ("all", "localhost", "ungrouped")


def check_hostnames(given: Any) -> list[str]:
    """Return the preferences, the first first; raises PocketError for what is none."""
    known = f"{', '.join(HOSTNAMES)} and tag:KEY"
    if not isinstance(given, list) or not given:
        raise PocketError(f"hostnames: is empty; known are {known}")
    for one in given:
        if one not in HOSTNAMES and not (isinstance(one, str) and one.startswith(_TAG) and len(one) > len(_TAG)):
            raise PocketError(f"hostnames: {one!r} is unknown; known are {known}")
    return list(given)


def inventory_names(
    instances: Sequence[Mapping[str, Any]], hostnames: Sequence[str], taken: Collection[str] = ()
) -> list[str]:
    """Return a name for each: of what is preferred, the first that it has and that fits it alone, else its id.

    Two instances of one name would be one host to Ansible, and a play would miss the other.

    :param taken: names that are no instance's to have.
    """
    candidates = [
        [name for one in hostnames if (name := _value(instance, one)) and name not in taken] + [instance["instance_id"]]
        for instance in instances
    ]
    counted = Counter(name for mine in candidates for name in set(mine))
    return [next((name for name in mine if counted[name] == 1), mine[-1]) for mine in candidates]


def _value(instance: Mapping[str, Any], preference: str) -> str | None:
    if preference.startswith(_TAG):
        value = instance["tags"].get(preference[len(_TAG) :])
    else:
        value = instance.get(preference.replace("-", "_"))
    if not isinstance(value, str) or value in _RESERVED or not _NAME.fullmatch(value):
        return None
    return value
