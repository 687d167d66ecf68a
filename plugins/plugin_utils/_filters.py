# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters share: a function over texts or lists as a filter plugin. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

__all__ = ["as_filter"]


def as_filter(name: str, convert: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    """What a FilterModule's filters() returns for one filter; its errors are Ansible's, in a sentence."""

    def filtered(value: Any) -> Any:
        try:
            return convert(value)
        except PocketError as error:
            raise AnsibleFilterError(f"pocket.cloud.{name}: {error.message}") from None

    return {name: filtered}
