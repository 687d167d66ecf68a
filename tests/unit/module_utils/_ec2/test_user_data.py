# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import email
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.user_data import multipart, user_data_of
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

SCRIPT: dict[str, Any] = {"content": "#!/bin/sh\necho ready\n", "content_type": "x-shellscript", "filename": None}
CONFIG: dict[str, Any] = {
    "content": "#cloud-config\nhostname: web\n",
    "content_type": "cloud-config",
    "filename": "10-config",
}


def told(**stated: Any) -> str | None:
    return user_data_of({"user_data": None, "user_data_file": None, "user_data_parts": None, **stated})


def taken_apart(message: str) -> list[tuple[str, str | None, bytes]]:
    """What cloud-init, which parses mail with the same library, finds in it."""
    parsed = email.message_from_string(message)
    assert parsed.get_content_type() == "multipart/mixed"
    parts: Any = parsed.get_payload()
    return [(part.get_content_type(), part.get_filename(), part.get_payload(decode=True)) for part in parts]


def refused(code: str, said: str, **stated: Any) -> str:
    with pytest.raises(PocketError) as caught:
        told(**stated)
    assert caught.value.code == code
    assert said in caught.value.message
    return caught.value.message


def test_without_user_data_there_is_none() -> None:
    assert told() is None


def test_a_text_stays_as_it_is() -> None:
    assert told(user_data="<ü>\r\n\udcff") == "<ü>\r\n\udcff"
    assert told(user_data="x" * 16384) == "x" * 16384
    assert told(user_data="") == ""
    refused("InvalidParameterValue", "user_data: 16386 bytes", user_data="ü" * 8193)
    message = refused("InvalidUserData.Malformed", "its character 7 is half", user_data="secret\ud800")
    assert "secret" not in message


def test_a_file_is_read_whatever_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_bytes(b"\x1f\x8b\xff\r\n\0")
    found = told(user_data_file=str(path))
    assert found is not None
    assert found.encode(errors="surrogateescape") == b"\x1f\x8b\xff\r\n\0"


def test_files_that_are_no_plain_files_are_refused(tmp_path: Path) -> None:
    path, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    path.write_text("x" * 16385)
    link.symlink_to("/etc/shadow")
    os.mkfifo(pipe)
    for name, said in (
        (str(path), "has 16385 bytes"),
        (str(link), "it is a symbolic link"),
        (str(pipe), "it is no regular file"),
        (str(tmp_path), "it is no regular file"),
        (str(tmp_path / "none"), "No such file"),
        ("user-data", "no absolute path"),
    ):
        refused("InvalidParameterValue", said, user_data_file=name)


def test_parts_arrive_as_they_were_in_their_order() -> None:
    odd: dict[str, Any] = {
        "content": "#!/bin/sh\r\n: ü " + "y" * 2000,
        "content_type": "x-shellscript-per-boot",
        "filename": "b.sh",
    }
    quoted: dict[str, Any] = {
        "content": "From here\n\n--x\n no end of line",
        "content_type": "cloud-boothook",
        "filename": None,
    }
    found = taken_apart(multipart([CONFIG, SCRIPT, odd, quoted]))
    assert found == [
        ("text/cloud-config", "10-config", CONFIG["content"].encode()),
        ("text/x-shellscript", None, SCRIPT["content"].encode()),
        ("text/x-shellscript-per-boot", "b.sh", odd["content"].encode()),
        ("text/cloud-boothook", None, quoted["content"].encode()),
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_any_text_arrives_unharmed_and_makes_the_same_message_again(texts: list[str]) -> None:
    parts = [{"content": text, "content_type": "cloud-config", "filename": None} for text in texts]
    message = multipart(parts)
    assert [data for _type, _name, data in taken_apart(message)] == [text.encode() for text in texts]
    assert multipart(parts) == message


def test_the_limit_is_that_of_the_whole_message() -> None:
    part = {**SCRIPT, "content": "#!" + "x\n" * 4090}
    assert told(user_data_parts=[part]) is not None
    refused("InvalidParameterValue", "bytes (all parts in one message) are too many", user_data_parts=[part, part])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "is empty"),
        ([CONFIG, {**SCRIPT, "content": "echo secret"}], "part 2 (x-shellscript) does not begin with '#!'"),
        ([{**CONFIG, "content_type": "jinja2"}], "does not begin with '## template: jinja'"),
        ([{**CONFIG, "content": "secret\ud800"}], "part 1 (cloud-config): its character 7"),
        ([CONFIG, CONFIG], "two parts have the filename '10-config'"),
        ([{**CONFIG, "filename": "../x"}], "the filename '../x'"),
        ([{**CONFIG, "filename": "a\nb"}], "the filename 'a\\nb'"),
    ],
)
def test_parts_that_no_guest_could_use_are_refused(parts: Any, said: str) -> None:
    assert "secret" not in refused("InvalidUserData.Malformed", said, user_data_parts=parts)
