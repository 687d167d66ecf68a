# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind the module ec2like_image. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from .._errors import PocketError, in_turn
from .._plan import Operation, Plan
from .._runner import Task
from . import image_files
from .disk_copies import DiskCopies
from .hypervisor import Hypervisor
from .image_plan import Content, Current, ImageRequest, make_plan, parse, printable
from .images import Image, ImageSource, gib, inspect
from .store import Store

__all__ = ["ImageTask", "described"]


class ImageTask(Task[Current]):
    """One image by its name."""

    def __init__(
        self, params: Mapping[str, Any], store: Store | None = None, hypervisor: Hypervisor | None = None
    ) -> None:
        self._request = parse(params)
        self._store = store or Store(params["store"])
        # It is only asked where a run that died has left something: it may be the copy of an instance's disk.
        self._copies = DiskCopies(hypervisor or Hypervisor(params["uri"]), self._store)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        # Removal must not meet a launch; fetching may go on beside launches.
        with self._store.images_lock():
            if self._request.state == "present":
                yield
            else:
                with self._store.lock():
                    yield

    def undisturbed(self) -> AbstractContextManager[Any]:
        absent = ["lock"] if self._request.state == "absent" else []
        return self._store.undisturbed("images.lock", *absent)

    # Reading

    def read(self) -> Current:
        request = self._request
        images = {image.name: image for image in self._store.images()}
        named = images.get(request.name)
        content = self._content(named) if request.state == "present" else None
        return Current(
            images=images,
            content=content,
            damaged=named is not None and not image_files.is_intact(named),
            users=tuple(image_files.users(self._store, named.path)) if named and not content else (),
            leftovers=tuple(_stale(image_files.leftovers(self._store), content)),
        )

    def _content(self, named: Image | None) -> Content:
        request = self._request
        if named and request.checksum == named.source.checksum and image_files.is_intact(named):
            return _known(named)  # whether the source still exists does not matter
        if request.url is not None:
            return Content(str(request.checksum))
        path = str(request.path)
        if named and request.checksum is None and _is_unchanged(path, named):
            return _known(named)
        found = inspect(path, request.disk_format)
        about = os.stat(path)
        checksum = image_files.checksum_of(path)
        if request.checksum not in (None, checksum):
            raise PocketError(
                f"checksum: {path} has {checksum}, not {request.checksum}; state the checksum of that file, or its "
                "path",
                code="InvalidParameterValue",
            )
        return Content(checksum, found.disk_format, found.virtual_size, about.st_size, about.st_mtime_ns)

    # Planning and writing

    def plan(self, current: Current) -> Plan:
        return make_plan(self._request, current)

    def apply(self, plan: Plan) -> None:
        write = {
            "deregister": self._deregister,
            "edit": self._edit,
            "register": self._register,
            "repair": self._register,
            "sweep": self._sweep,
        }
        in_turn(partial(write[operation.action], operation) for operation in plan)

    def _sweep(self, operation: Operation) -> None:
        self._copies.sweep(self._store.image_directory / str(operation.payload))

    def _register(self, operation: Operation) -> None:
        """Fetch the file, unless the same disk is here under another name, and enter it."""
        content: Content = operation.payload
        twin = next((one for one in self._store.images() if one.image_id == content.image_id), None)
        if twin is not None and image_files.is_intact(twin):
            self._enter(content, twin.disk_format, twin.virtual_size, twin.source.size)
            return
        with self._incoming(content) as path:
            label = self._request.location
            found = inspect(path, self._request.disk_format, label)
            size = path.stat().st_size
            image_files.publish(path, self._store.image_path(content.image_id, found.disk_format))
            self._enter(content, found.disk_format, found.virtual_size, size)

    def _incoming(self, content: Content) -> AbstractContextManager[Path]:
        if self._request.url is not None:
            return image_files.incoming_download(self._store, self._request.url, content.checksum)
        return image_files.incoming_copy(self._store, str(self._request.path), content.checksum)

    def _enter(self, content: Content, disk_format: str, virtual_size: int, size: int) -> None:
        old = next((image for image in self._store.images() if image.name == self._request.name), None)
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        stated = self._request.description
        self._store.register(
            Image(
                image_id=content.image_id,
                name=self._request.name,
                path=self._store.image_path(content.image_id, disk_format),
                disk_format=disk_format,
                virtual_size=virtual_size,
                size_gib=gib(virtual_size),
                creation_date=old.creation_date if old else now,
                source=ImageSource(self._request.location, size, content.mtime_ns, content.checksum),
                description=stated if stated is not None else old.description if old else "",
            )
        )

    def _edit(self, operation: Operation) -> None:
        image: Image = operation.payload
        self._store.register(replace(image, description=str(self._request.description)))

    def _deregister(self, operation: Operation) -> None:
        image: Image = operation.payload
        self._store.forget(image.name)
        if not any(other.image_id == image.image_id for other in self._store.images()):
            with contextlib.suppress(FileNotFoundError):
                image.path.unlink()

    # Answering

    def verify(self, plan: Plan, after: Current) -> None:
        named = after.images.get(self._request.name)
        expected = after.content.image_id if after.content else None
        if (named.image_id if named else None) != expected or after.damaged:
            raise PocketError(
                f"The store {self._store.root} did not keep the image {self._request.name} as asked; "
                "look whether another program writes there",
                changed=True,
            )

    def result(self, plan: Plan, state: Current, applied: bool) -> dict[str, Any]:
        named = state.images.get(self._request.name)
        if self._request.state == "absent":
            gone = next((one.payload for one in plan if one.action == "deregister"), None)
            image = {**described(gone), "state": "deregistered"} if gone else None
        elif state.content and plan.changed and not applied:
            image = _predicted(self._request, state.content, named)
        else:
            image = described(named) if named else None
        return {"image": image, "image_id": image["image_id"] if image else None}


def _stale(leftovers: Sequence[Path], content: Content | None) -> Iterator[str]:
    """The leftovers that the registration of `content` does not replace anyway."""
    for path in leftovers:
        if content is None or path.stem != content.image_id:
            yield path.name


def _is_unchanged(path: str, image: Image) -> bool:
    """Whether the file is still the one that the image was registered from, as far as that is told without reading."""
    try:
        about = os.lstat(path)
    except OSError:
        return False
    source = image.source
    return stat.S_ISREG(about.st_mode) and (path, about.st_size, about.st_mtime_ns) == (
        source.location,
        source.size,
        source.mtime_ns,
    )


def _known(image: Image) -> Content:
    source = image.source
    return Content(source.checksum, image.disk_format, image.virtual_size, source.size, source.mtime_ns)


def described(image: Image) -> dict[str, Any]:
    """An image in EC2's shape."""
    return {
        "image_id": image.image_id,
        "name": image.name,
        "state": "available",
        "creation_date": image.creation_date,
        "description": image.description,
        "disk_format": image.disk_format,
        "size_gib": image.size_gib,
        "checksum": image.source.checksum,
        "source": image.source.location,
        "path": str(image.path),
    }


def _predicted(request: ImageRequest, content: Content, named: Image | None) -> dict[str, Any]:
    """What described() would return after the plan, as far as that can be told before."""
    unknown = dict.fromkeys(("creation_date", "disk_format", "size_gib", "path"))
    present = described(named) if named else {}
    return {"name": request.name, "state": "available", **unknown, **present, **printable(request, content, named)}
