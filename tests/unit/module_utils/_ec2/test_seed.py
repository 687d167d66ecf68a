# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import seed
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

INSTANCE_ID = "i-0123456789abcdef0"


class Genisoimage:
    """Keeps the files that would go on the CD, and checks that nobody else could read them."""

    def __init__(self) -> None:
        self.command: Sequence[str] = ()
        self.files: dict[str, str] = {}
        self.status = 0

    def run(self, command: Sequence[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        self.command = command
        assert command[0] == "genisoimage"
        output = Path(command[command.index("-output") + 1])
        assert output.parent.stat().st_mode & 0o777 == 0o700
        for word in command[command.index("-rock") + 1 :]:
            self.files[os.path.basename(word)] = Path(word).read_bytes().decode()
        output.write_text("an image")
        return subprocess.CompletedProcess(command, self.status, "", "no\nroom")


@pytest.fixture
def cd(monkeypatch: pytest.MonkeyPatch) -> Genisoimage:
    fake = Genisoimage()
    monkeypatch.setattr(subprocess, "run", fake.run)
    return fake


def test_a_seed_without_user_data_is_an_empty_cloud_config(tmp_path: Path, cd: Genisoimage) -> None:
    seed.build(tmp_path / "seed.iso", INSTANCE_ID, "web-1")
    assert yaml.safe_load(cd.files["meta-data"]) == {"instance-id": INSTANCE_ID, "local-hostname": "web-1"}
    assert cd.files["user-data"] == "#cloud-config\n"
    assert set(cd.files) == {"meta-data", "user-data"}
    assert cd.command[cd.command.index("-volid") + 1] == "cidata"
    assert {"-joliet", "-rock"} <= set(cd.command)


def test_user_data_goes_in_unharmed_and_on_no_command_line(tmp_path: Path, cd: Genisoimage) -> None:
    data = "#!/bin/sh\necho 'pässword: <&>\"' \U0001f600\r\n"
    seed.build(tmp_path / "seed.iso", INSTANCE_ID, "web-1", data)
    assert cd.files["user-data"] == data
    assert "word" not in " ".join(cd.command)


def test_more_is_written_where_it_is_given(tmp_path: Path, cd: Genisoimage) -> None:
    seed.build(
        tmp_path / "seed.iso",
        INSTANCE_ID,
        "hö\U0001f600: '\"",
        network_config="version: 2\n",
        public_keys=["ssh-ed25519 AAAA me@here"],
        meta_data={"placement": "here"},
    )
    assert yaml.safe_load(cd.files["meta-data"]) == {
        "instance-id": INSTANCE_ID,
        "local-hostname": "hö\U0001f600: '\"",
        "placement": "here",
        "public-keys": ["ssh-ed25519 AAAA me@here"],
    }
    assert cd.files["network-config"] == "version: 2\n"


def test_the_seed_is_its_owners_alone_and_nothing_else_is_left(tmp_path: Path, cd: Genisoimage) -> None:
    target = tmp_path / "seed.iso"
    target.write_text("an older one")
    seed.build(target, INSTANCE_ID, "web-1", "secret")
    assert target.read_text() == "an image"
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_older_seed_and_nothing_else(tmp_path: Path, cd: Genisoimage) -> None:
    target = tmp_path / "seed.iso"
    target.write_text("an older one")
    cd.status = 1
    with pytest.raises(PocketError, match=f"{INSTANCE_ID}: no room") as caught:
        seed.build(target, INSTANCE_ID, "web-1", "secret")
    assert "secret" not in caught.value.message
    assert target.read_text() == "an older one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_said_and_what_a_killed_run_left_goes(
    tmp_path: Path, cd: Genisoimage, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".seed-killed"
    left.mkdir()
    (left / "user-data").write_text("secret")

    def full(*_arguments: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patches:
        patches.setattr(Path, "write_text", full)
        with pytest.raises(PocketError, match=f"{INSTANCE_ID}: No space left on device"):
            seed.build(tmp_path / "seed.iso", INSTANCE_ID, "web-1", "secret")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_genisoimage_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_arguments: Any, **_options: Any) -> None:
        raise FileNotFoundError("genisoimage")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(PocketError, match="apt install genisoimage"):
        seed.build(tmp_path / "seed.iso", INSTANCE_ID, "web-1")
