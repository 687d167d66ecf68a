# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of an image, and the writes that it takes. Pure. PRIVATE to the collection."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .images import Image, gib
from .model import check_description, check_text

__all__ = ["Content", "Current", "ImageRequest", "check_name", "make_plan", "parse", "printable"]

# EC2's reference of RegisterImage: the characters and lengths of names.
_NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class ImageRequest:
    """What the user states; none is unstated. Exactly one of path and url for C(present)."""

    name: str
    state: str = "present"
    path: str | None = None
    url: str | None = None
    checksum: str | None = None
    disk_format: str = "auto"
    description: str | None = None

    @property
    def location(self) -> str:
        """The path or the URL."""
        return str(self.path if self.path is not None else self.url)


@dataclass(frozen=True)
class Content:
    """What is to be in the image; of a URL that was not fetched only the checksum is known."""

    checksum: str
    disk_format: str | None = None
    virtual_size: int | None = None
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def image_id(self) -> str:
        """C(ami-) and the first 17 digits of the checksum."""
        return "ami-" + self.checksum.partition(":")[2][:17]


@dataclass(frozen=True)
class Current:
    """What a request meets.

    :param images: those registered, by name.
    :param content: what the stated file holds; none for C(absent).
    :param damaged: the named image's file is missing or has the wrong size.
    :param users: ids of the instances that use the named image; read for C(absent) only.
    :param leftovers: names of files that killed runs left.
    """

    images: Mapping[str, Image]
    content: Content | None = None
    damaged: bool = False
    users: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


def parse(params: Mapping[str, Any]) -> ImageRequest:
    """The request that a module's parameters state; PocketError names the one that is wrong."""
    checksum = params.get("checksum")
    request = ImageRequest(
        name=params["name"],
        state=params["state"],
        path=params.get("path"),
        url=params.get("url"),
        checksum=checksum.lower() if checksum is not None else None,
        disk_format=params["disk_format"],
        description=params.get("description"),
    )
    check_name(request.name)
    if request.state == "present":
        _check_source(request)
    if request.checksum is not None and not _CHECKSUM.fullmatch(request.checksum):
        raise _bad(f"checksum: {checksum!r} is none; expected sha256: and 64 hexadecimal digits")
    check_description(request.description)
    return request


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise PocketError(
            f"name: {name!r} is no name for an image; it has 3 to 128 letters, digits, spaces and characters "
            "of ()[]./-'@_",
            code="InvalidAMIName.Malformed",
        )
    if name.startswith("ami-"):
        raise PocketError(
            f"name: {name!r} begins with 'ami-', as the ids of images do; choose another name",
            code="InvalidAMIName.Malformed",
        )


def _check_source(request: ImageRequest) -> None:
    if (request.path is None) == (request.url is None):
        raise PocketError(
            f"path or url: state exactly one of them, from which to register the image {request.name!r}",
            code="MissingParameter" if request.path is None else "InvalidParameterCombination",
        )
    if request.path is not None:
        check_text(request.path, "path")
        if not os.path.isabs(request.path):
            raise _bad(f"path: {request.path!r} is not absolute; state the whole path on the target")
        return
    check_text(urllib.parse.unquote(request.location), "url")
    try:
        url = urllib.parse.urlsplit(request.location)
        has_password = url.username is not None
        (url.hostname or "").encode("idna")  # as http.client does it, which refuses what is none
        int(url.port or 0)
    except ValueError as error:
        raise _bad(f"url: {request.url!r} is none ({error}); state an http, https or file URL") from error
    if not request.location.isascii():
        raise _bad(f"url: {request.url!r} has characters that URLs may not; write them in percent encoding")
    if url.scheme not in ("http", "https", "file") or not (url.netloc or url.scheme == "file"):
        raise _bad(f"url: {request.url!r} is not an http, https or file URL; state one of these, or path")
    if has_password:
        raise _bad("url: a user name in a URL is not supported, for it would be shown; fetch the file and state path")
    if request.checksum is None:
        raise PocketError(
            f"checksum: it is required with url; state sha256: and the 64 digits published with {request.url}",
            code="MissingParameter",
        )


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")


def make_plan(request: ImageRequest, current: Current) -> Plan:
    """The writes that bring what is to what is asked; PocketError where EC2 would refuse."""
    named = current.images.get(request.name)
    sweep = [Operation("sweep", f"leftover file {name}", {"image": None}, None, name) for name in current.leftovers]
    if current.content is None:
        return Plan((*sweep, *_removal(named, current)))
    return Plan((*sweep, *_registration(request, named, current, current.content)))


def _removal(named: Image | None, current: Current) -> list[Operation]:
    if named is None:
        return []
    others = [image for image in current.images.values() if image.image_id == named.image_id and image != named]
    if current.users and not others:
        raise PocketError(
            f"The image {named.name} ({named.image_id}) cannot be removed because the disks of these instances are "
            f"clones of it: {', '.join(current.users)}; terminate them first",
            code="DependencyViolation",
        )
    return [Operation("deregister", f"image {named.name}", _shown(named), None, named)]


def _registration(request: ImageRequest, named: Image | None, current: Current, content: Content) -> list[Operation]:
    subject = f"image {request.name}"
    twin = named or next((one for one in current.images.values() if one.image_id == content.image_id), None)
    if twin and twin.image_id == content.image_id and request.disk_format not in ("auto", twin.disk_format):
        raise _bad(
            f"disk_format: the image {twin.name!r} is {twin.disk_format}, not {request.disk_format}; "
            f"state disk_format {twin.disk_format} or auto"
        )
    if named is None:
        return [Operation("register", subject, None, printable(request, content, None), content)]
    if named.image_id != content.image_id:
        raise PocketError(
            f"name: {request.name!r} is taken by the image {named.image_id}, which has another content than "
            f"{request.location} ({content.image_id}); register it under another name, or remove the old one first "
            "with state absent",
            code="InvalidAMIName.Duplicate",
        )
    after = printable(request, content, named)
    if current.damaged:
        return [Operation("repair", subject, {**_shown(named), "damaged": True}, after, content)]
    if request.description not in (None, named.description):
        before = _shown(named)
        return [Operation("edit", subject, before, {**before, "description": request.description}, named)]
    return []


def _shown(image: Image) -> dict[str, Any]:
    return {
        "image_id": image.image_id,
        "description": image.description,
        "disk_format": image.disk_format,
        "size_gib": image.size_gib,
        "checksum": image.source.checksum,
        "source": image.source.location,
    }


def printable(request: ImageRequest, content: Content, named: Image | None) -> dict[str, Any]:
    """What a diff shows of the image after its registration; the unknown of a URL not fetched is left out."""
    description = request.description if request.description is not None else named.description if named else ""
    known: dict[str, Any] = {"image_id": content.image_id, "description": description}
    if content.disk_format is not None and content.virtual_size is not None:
        known.update(disk_format=content.disk_format, size_gib=gib(content.virtual_size))
    return {**known, "checksum": content.checksum, "source": request.location}
