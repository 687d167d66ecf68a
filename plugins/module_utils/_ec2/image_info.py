# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_image_info does. PRIVATE to the collection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import InfoTask
from . import image_files
from .filters import check_filters, matches
from .image_task import described
from .images import Image
from .store import Store

__all__ = ["FILTERS", "ImageInfoTask", "Known"]

_IMAGE_ID = re.compile(r"ami-[0-9a-f]{17}")


@dataclass(frozen=True)
class Known:
    """An image, whether its file is whole, and the instances whose disks are clones of it."""

    image: Image
    intact: bool
    instance_ids: tuple[str, ...]

    @property
    def state(self) -> str:
        """EC2's word: C(available) or C(failed)."""
        return "available" if self.intact else "failed"

    def ec2(self) -> dict[str, Any]:
        """Return EC2's description of it, members in snake case."""
        used = {"instance_ids": list(self.instance_ids), "instance_count": len(self.instance_ids)}
        return {**described(self.image), "state": self.state, **used}


# EC2's filters: name -> the values that an image has for it.
FILTERS: dict[str, Any] = {
    "creation-date": lambda known: [known.image.creation_date],
    "description": lambda known: [known.image.description],
    "image-id": lambda known: [known.image.image_id],
    "name": lambda known: [known.image.name],
    "source-instance-id": lambda known: [one for one in [known.image.source.location] if one.startswith("i-")],
    "state": lambda known: [known.state],
}


class ImageInfoTask(InfoTask[list[Known]]):
    """One call of ec2like_image_info."""

    def __init__(self, params: Mapping[str, Any], store: Store | None = None) -> None:
        self._ids = params["image_ids"]
        for image_id in self._ids or ():
            if not _IMAGE_ID.fullmatch(image_id):
                raise PocketError(
                    f"image_ids: {image_id!r} is no image id; one is 'ami-' and 17 hexadecimal digits",
                    code="InvalidAMIID.Malformed",
                )
        self._filters = check_filters(params["filters"], FILTERS)
        self._store = store or Store(params["store"])

    def read(self) -> list[Known]:
        used = image_files.clones(self._store)
        return [
            Known(image, image_files.is_intact(image), tuple(used.get(image.path.name, ())))
            for image in self._store.images()
        ]

    def result(self, plan: Plan, state: list[Known], applied: bool) -> dict[str, Any]:
        there = {known.image.image_id for known in state}
        for image_id in self._ids or ():
            if image_id not in there:
                raise PocketError(
                    f"image_ids: there is no image {image_id} in the store {self._store.root}",
                    code="InvalidAMIID.NotFound",
                )
        shown = [
            known
            for known in state
            if (self._ids is None or known.image.image_id in self._ids) and matches(known, self._filters, FILTERS)
        ]
        return {
            "images": [known.ec2() for known in shown],
            "image_ids": list(dict.fromkeys(known.image.image_id for known in shown)),
        }
