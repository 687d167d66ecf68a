# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest is told at its first boot: a text, a file on the host, or several parts. PRIVATE to the collection.

It may hold secrets, so no message quotes it. Bytes that are not UTF-8 are carried as Python's surrogate escapes.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from typing import Any

from .._errors import PocketError

__all__ = ["LIMIT", "multipart", "user_data_of"]

LIMIT = 16384
"""The most bytes, which is EC2's limit before base64."""
# What cloud-init, or the kernel that runs the part, wants to see at the beginning.
_TEMPLATE = "## template: jinja"
_SCRIPT = "#!"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# A line that a mail message may have, by RFC 5322.
_LINE = 998


def user_data_of(params: Mapping[str, Any]) -> str | None:
    """Return the user data that `params` state, by any of its three options; raises PocketError for what is wrong."""
    if params["user_data_file"] is not None:
        return _checked(_read(params["user_data_file"]), "user_data_file")
    if params["user_data_parts"] is not None:
        return _checked(multipart(params["user_data_parts"]), "user_data_parts")
    return None if params["user_data"] is None else _checked(params["user_data"], "user_data")


def _checked(text: str, option: str) -> str:
    size = len(_bytes(text, option))
    if size > LIMIT:
        whole = " (all parts in one message)" if option == "user_data_parts" else ""
        raise PocketError(
            f"{option}: {size} bytes{whole} are too many; EC2's limit is {LIMIT} bytes (16 KiB)",
            code="InvalidParameterValue",
        )
    return text


def _bytes(text: str, option: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise _malformed(
            f"{option}: its character {error.start + 1} is half of a surrogate pair, which no encoding can carry; "
            "give text in UTF-8"
        ) from None


# From a file


def _read(path: str) -> str:
    attempt = f"user_data_file: {path} cannot be read"
    if not os.path.isabs(path) or "\0" in path:
        raise _bad(f"user_data_file: {path!r} is no absolute path; give one of a file on the KVM host")
    try:
        # Without waiting, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _bad(f"{attempt}: it is a symbolic link; give the path of the file itself") from error
        raise _bad(f"{attempt}: {error.strerror}; give the path of a file on the KVM host") from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise _bad(f"{attempt}: it is no regular file; give the path of one on the KVM host")
    with open(descriptor, "rb") as stream:
        if about.st_size > LIMIT:
            raise _bad(
                f"user_data_file: {path} has {about.st_size} bytes, and EC2's limit is {LIMIT} bytes (16 KiB); give a "
                "smaller file"
            )
        return stream.read(LIMIT + 1).decode(errors="surrogateescape")


# From parts


def multipart(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return `parts` as the MIME message that cloud-init takes; the same parts make the same message.

    :param parts: each with C(content), C(content_type), which is a subtype of C(text), and C(filename) or none.
    """
    if not parts:
        raise _malformed("user_data_parts: is empty; give at least one part, or leave it out")
    _check_names(parts)
    attached = [_part(number, part) for number, part in enumerate(parts, start=1)]
    # Drawn at random, as usual, it would make other user data of the same parts at each run.
    boundary = hashlib.sha256(json.dumps([dict(part) for part in parts], sort_keys=True).encode()).hexdigest()[:32]
    message = MIMEMultipart("mixed", boundary=f"==={boundary}===")
    for one in attached:
        message.attach(one)
    return message.as_string()


def _check_names(parts: Sequence[Mapping[str, Any]]) -> None:
    names = [part["filename"] for part in parts if part.get("filename") is not None]
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            raise _malformed(
                f"user_data_parts: the filename {name!r} cannot be used in the guest; give 1 to 64 letters, digits, "
                "'_', '.' and '-', the first of which is a letter, digit or '_'"
            )
        if names.count(name) > 1:
            raise _malformed(f"user_data_parts: two parts have the filename {name!r}; give each its own")


def _part(number: int, part: Mapping[str, Any]) -> MIMENonMultipart:
    where = f"user_data_parts: part {number} ({part['content_type']})"
    content, kind = part["content"], part["content_type"]
    beginning = _TEMPLATE if kind == "jinja2" else _SCRIPT if kind.startswith("x-shellscript") else ""
    if not content.startswith(beginning):
        raise _malformed(f"{where} does not begin with {beginning!r}, so the guest could not run it; begin it so")
    data = _bytes(content, where)
    made = MIMENonMultipart("text", kind, charset="utf-8")
    if _is_plain(data):
        made["Content-Transfer-Encoding"] = "7bit"
        made.set_payload(content)
    else:
        made["Content-Transfer-Encoding"] = "base64"
        made.set_payload(base64.encodebytes(data).decode("ascii"))
    if part.get("filename") is not None:
        made.add_header("Content-Disposition", "attachment", filename=part["filename"])
    return made


def _is_plain(data: bytes) -> bool:
    """Whether a message carries it as it is: mail ends lines its own way, so a carriage return would be lost."""
    return data.isascii() and b"\r" not in data and b"\0" not in data and max(map(len, data.split(b"\n"))) <= _LINE


def _malformed(message: str) -> PocketError:
    return PocketError(message, code="InvalidUserData.Malformed")


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
