# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory asks a KVM host: its instances, in one go, as ec2like_instance_info reads them.

PRIVATE to the collection. A controller sends this file and those it imports to the host, which needs nothing else of
the collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .info_task import InstanceInfoTask

__all__ = ["answer"]


def answer(
    request: Mapping[str, Any], make_task: Callable[[Mapping[str, Any]], InstanceInfoTask] = InstanceInfoTask
) -> dict[str, Any]:
    """Return C(instances) as EC2 describes them, or the C(error) that says why there are none.

    :param request: C(uri), C(store) and C(filters).
    """
    try:
        task = make_task({"instance_ids": None, **request})
        return {"instances": task.result(Plan(), task.read(), False)["instances"]}
    except PocketError as error:
        return {"error": error.message}
