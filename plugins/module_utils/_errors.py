# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that carries a message to the user. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["PocketError", "in_turn"]


class PocketError(Exception):
    """What was attempted, the parameter, the value and the way out, in one sentence.

    :param message: the sentence that the user reads.
    :param code: EC2's error code where EC2 has one for the case, such as C(InvalidAMIID.NotFound).
    :param changed: whether something had been written before the failure.
    :param results: further return values of the failed task, such as the instances that did start.
    """

    def __init__(self, message: str, *, code: str | None = None, changed: bool = False, **results: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.changed = changed
        self.results = results


def in_turn(writes: Iterable[Callable[[], object]]) -> None:
    """Make one write after the other; an error of a later one says that something was changed."""
    done = False
    try:
        for write in writes:
            write()
            done = True
    except PocketError as error:
        error.changed = error.changed or done
        raise
