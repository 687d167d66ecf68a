# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import disk_files, image_files
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.images import (
    Image,
    ImageSource,
    Inspected,
    backing_file,
    create_overlay,
    gib,
    has_data_file,
    inspect,
    qemu_img,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.store import Store
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2, raw

REAL_RUN = subprocess.run
CORRUPT, EXTERNAL_DATA, DIRTY = 2, 4, 1


class QemuImg:
    """Records how qemu-img is called, and answers as it is told."""

    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []
        self.answers: dict[str, Any] = {}
        self.status: dict[str, int] = {}

    def run(self, command: Sequence[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        assert command[0] == "qemu-img"
        self.calls.append(command)
        status = self.status.get(command[1], 0)
        said = "qemu-img: it does\nnot work" if status else ""
        return subprocess.CompletedProcess(command, status, json.dumps(self.answers.get(command[1])), said)


@pytest.fixture(autouse=True)
def qemu(monkeypatch: pytest.MonkeyPatch) -> QemuImg:
    fake = QemuImg()
    monkeypatch.setattr(subprocess, "run", fake.run)
    monkeypatch.setattr(shutil, "which", lambda _program: "/usr/bin/qemu-img")
    return fake


def image(tmp_path: Path, virtual_size: int = 2 << 30) -> Image:
    source = ImageSource("/disks/web", 4, None, "sha256:" + "0" * 64)
    return Image("ami-" + "0" * 17, "web", tmp_path / "base", "qcow2", virtual_size, gib(virtual_size), "", source)


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (1 << 30, 1), ((1 << 30) + 1, 2), (0, 1)])
def test_gib_rounds_up(size: int, expected: int) -> None:
    assert gib(size) == expected


def test_a_qcow2_disk_is_known_by_its_header_and_never_probed(tmp_path: Path, qemu: QemuImg) -> None:
    qemu.answers["info"] = {"virtual-size": 5 << 20}
    disk = qcow2(tmp_path / "disk", size=5 << 20, features=DIRTY)
    assert inspect(disk) == inspect(disk, "qcow2") == Inspected("qcow2", 5 << 20)
    for call in qemu.calls:
        assert call[call.index("-f") + 1] == "qcow2"


@pytest.mark.parametrize("gpt", [False, True])
def test_a_raw_disk_is_known_by_what_it_boots_from(tmp_path: Path, qemu: QemuImg, gpt: bool) -> None:
    disk = raw(tmp_path / "disk", size=(1 << 20) + 1, gpt=gpt)
    qemu.answers["info"] = {"virtual-size": (1 << 20) + 512}
    assert inspect(disk) == inspect(disk, "raw") == Inspected("raw", (1 << 20) + 512)
    assert [call[1] for call in qemu.calls] == ["info", "info"]


def test_without_qemu_img_our_own_look_must_do(tmp_path: Path, qemu: QemuImg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    assert inspect(qcow2(tmp_path / "disk", size=7 << 20)) == Inspected("qcow2", 7 << 20)
    assert qemu.calls == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backing": "/etc/shadow"}, "refers to another file"),
        ({"features": EXTERNAL_DATA}, "refers to another file"),
        ({"features": CORRUPT}, "corrupt"),
        ({"encryption": 2}, "encrypted"),
        ({"size": 0}, "no size at all"),
    ],
)
def test_a_qcow2_disk_must_stand_alone(tmp_path: Path, qemu: QemuImg, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PocketError, match=words) as caught:
        inspect(qcow2(tmp_path / "disk", **options))
    assert caught.value.code == "InvalidParameterValue"
    assert qemu.calls == []  # QEMU does not get to open what it names


@pytest.mark.parametrize(
    "answer",
    [
        {"virtual-size": 10 << 20, "backing-filename": "/etc/shadow"},
        {"virtual-size": 10 << 20, "format-specific": {"data": {"data-file": "/etc/shadow"}}},
        {"virtual-size": 11 << 20},
    ],
)
def test_qemu_must_see_the_disk_that_we_saw(tmp_path: Path, qemu: QemuImg, answer: dict[str, Any]) -> None:
    qemu.answers["info"] = answer
    with pytest.raises(PocketError, match=r"refers to another file|damaged"):
        inspect(qcow2(tmp_path / "disk"))


@pytest.mark.parametrize(("status", "sound"), [(0, True), (3, True), (1, False), (2, False)])
def test_a_damaged_disk_is_refused_and_a_wasteful_one_taken(
    tmp_path: Path, qemu: QemuImg, status: int, sound: bool
) -> None:
    qemu.answers["info"] = {"virtual-size": 10 << 20}
    qemu.status["check"] = status
    disk = qcow2(tmp_path / "disk")
    if sound:
        inspect(disk)
    else:
        with pytest.raises(PocketError, match="damaged or was cut off"):
            inspect(disk)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a disk"),
        (b"hello", "not a disk"),
        (bytes(1 << 16), "not a disk"),
        (b"QFI\xfb" + bytes(10), "cut off"),
        (b"KDMV" + bytes(506) + b"\x55\xaa", "VMDK"),
        (b"vhdxfile" + bytes(1000), "VHDX"),
        (b"\x1f\x8b" + bytes(1000), "gzip"),
        (b"\xfd7zXZ\0" + bytes(1000), "xz"),
    ],
)
def test_what_is_no_disk_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    with pytest.raises(PocketError, match=words) as caught:
        inspect(disk, label="http://there/disk")
    assert "http://there/disk" in caught.value.message
    assert caught.value.code == "InvalidParameterValue"


@pytest.mark.parametrize(("make", "stated"), [(qcow2, "raw"), (raw, "qcow2")])
def test_a_stated_format_must_be_the_real_one(tmp_path: Path, make: Any, stated: str) -> None:
    with pytest.raises(PocketError, match=f"disk_format is {stated}"):
        inspect(make(tmp_path / "disk"), stated)


def test_symbolic_links_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(qcow2(tmp_path / "disk"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PocketError, match="symbolic link"):
        inspect(tmp_path / "link")
    with pytest.raises(PocketError, match="not a regular file"):
        inspect(tmp_path / "pipe")


def test_an_overlay_names_the_base_and_its_format(tmp_path: Path, qemu: QemuImg) -> None:
    create_overlay(image(tmp_path), tmp_path / "disk")
    create_overlay(image(tmp_path), tmp_path / "grown", size_gib=3)
    first, second = qemu.calls
    expected = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(tmp_path / "base")]
    assert first == ["qemu-img", *expected, str(tmp_path / "disk")]
    assert second == ["qemu-img", *expected, str(tmp_path / "grown"), str(3 << 30)]


@pytest.mark.parametrize("kind", ["overlay", "empty", "copy"])
def test_a_disk_is_made_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(subprocess, "run", REAL_RUN)
    program, disk = tmp_path / "bin" / "qemu-img", tmp_path / "disk"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n: >'{disk}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    old = os.umask(0o022)
    try:
        if kind == "overlay":
            create_overlay(image(tmp_path), disk)
        elif kind == "empty":
            disk_files.create(disk, "qcow2", 1)
        else:
            disk_files.copy(tmp_path / "base", "qcow2", disk, "raw")
    finally:
        os.umask(old)
    assert disk.stat().st_mode & 0o777 == 0o600


def test_an_overlay_is_not_smaller_than_its_base_and_replaces_nothing(tmp_path: Path, qemu: QemuImg) -> None:
    with pytest.raises(PocketError, match="1 GiB is less than the image's 2 GiB") as caught:
        create_overlay(image(tmp_path), tmp_path / "disk", size_gib=1)
    assert caught.value.code == "InvalidBlockDeviceMapping"
    (tmp_path / "disk").touch()
    with pytest.raises(PocketError, match="exists already"):
        create_overlay(image(tmp_path), tmp_path / "disk")
    assert qemu.calls == []


def test_a_failure_of_qemu_img_is_one_sentence(tmp_path: Path, qemu: QemuImg) -> None:
    qemu.status["create"] = 1
    with pytest.raises(PocketError) as caught:
        create_overlay(image(tmp_path), tmp_path / "disk")
    assert caught.value.message.endswith(": qemu-img: it does not work")
    assert "web (ami-" in caught.value.message


def test_a_missing_qemu_img_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_arguments: Any, **_options: Any) -> None:
        raise FileNotFoundError("qemu-img")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(PocketError, match=r"Cannot look: .*apt install qemu-utils"):
        qemu_img("Cannot look", "info")


def test_the_backing_file_is_read_from_the_header(tmp_path: Path) -> None:
    assert backing_file(qcow2(tmp_path / "a", backing="/images/base")) == "/images/base"
    assert backing_file(qcow2(tmp_path / "b")) is None
    assert backing_file(raw(tmp_path / "c")) is None
    (tmp_path / "d").write_bytes(b"QFI\xfb")
    assert backing_file(tmp_path / "d") is None


def test_whether_a_disk_keeps_its_content_elsewhere_is_read_from_the_header(tmp_path: Path) -> None:
    assert has_data_file(qcow2(tmp_path / "a", features=EXTERNAL_DATA))
    assert not has_data_file(qcow2(tmp_path / "b"))
    assert not has_data_file(raw(tmp_path / "c"))
    (tmp_path / "d").write_bytes(b"QFI\xfb")
    assert not has_data_file(tmp_path / "d")


def test_a_copy_keeps_holes_as_holes(tmp_path: Path) -> None:
    source = tmp_path / "disk"
    with source.open("wb") as stream:
        stream.write(b"start" * 1000)
        stream.seek(64 << 20)
        stream.write(b"end" * 1000)
        stream.truncate(128 << 20)
    store = Store(tmp_path / "store")
    store.image_directory.mkdir(parents=True)
    checksum = image_files.checksum_of(source)
    with image_files.incoming_copy(store, str(source), checksum) as copy:
        assert image_files.checksum_of(copy) == checksum
        assert copy.stat().st_size == 128 << 20
        assert copy.stat().st_blocks * 512 < 4 << 20
    assert list(store.image_directory.iterdir()) == []


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.image_directory.mkdir(parents=True)
    disk = raw(tmp_path / "disk")
    taking = image_files.incoming_copy(store, str(disk), "sha256:" + "0" * 64)
    with pytest.raises(PocketError, match="changed meanwhile"), taking:
        pytest.fail("it was taken")
    assert list(store.image_directory.iterdir()) == []
