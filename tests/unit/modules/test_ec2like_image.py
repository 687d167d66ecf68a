# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import image_files, store
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.image_task import ImageTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.store import Store
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2, raw
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

INSTANCE = "i-0123456789abcdef0"


@pytest.fixture(autouse=True)
def _without_qemu_img(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _program: None)


class ReadOnly(Store):
    """A store of which every write fails the test."""

    def _create(self) -> None:
        raise AssertionError("check mode made the store")

    def _transaction(self) -> Any:
        raise AssertionError("check mode wrote the register")


class Desk:
    """A store and a way to call the module on it; each call is made in check mode first, which must tell the same."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = Store(place / "store")

    def params(self, **stated: Any) -> dict[str, Any]:
        unstated = dict.fromkeys(("path", "url", "checksum", "description"))
        return {
            "name": "web",
            "disk_format": "auto",
            "state": "present",
            "store": str(self.store.root),
            "uri": "none:///",  # this host has no libvirt
            **unstated,
            **stated,
        }

    def call(self, **stated: Any) -> dict[str, Any]:
        params = self.params(**stated)
        before = self.snapshot()
        foretold = execute(lambda asked: ImageTask(asked, ReadOnly(self.store.root)), params, check=True)
        assert self.snapshot() == before
        done = execute(ImageTask, params)
        for key in ("changed", "diff", "image_id"):
            assert foretold[key] == done[key]
        for key, value in (foretold["image"] or {}).items():
            assert value in (None, done["image"][key])
        return done

    def refuse(self, **stated: Any) -> dict[str, Any]:
        params = self.params(**stated)
        before = self.snapshot()
        foretold = refusal(lambda asked: ImageTask(asked, ReadOnly(self.store.root)), params, check=True)
        done = refusal(ImageTask, params)
        assert foretold == done
        assert self.snapshot() == before
        assert done["changed"] is False
        return done

    def snapshot(self) -> dict[str, bytes]:
        """All disk files below the place; the database is judged by its content."""
        files = {
            str(path): path.read_bytes()
            for path in sorted(self.place.rglob("*"))
            if (path.is_file() and path.suffix in (".qcow2", ".raw", ".iso")) or path.name.startswith(".incoming")
        }
        return {**files, "register": repr(self.store.images()).encode()}

    def instance(self, backing: str) -> Path:
        directory = self.store.instance_directory(INSTANCE)
        directory.mkdir(parents=True)
        return qcow2(directory / "disk.qcow2", backing=backing)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def id_of(path: Path) -> str:
    return "ami-" + hashlib.sha256(path.read_bytes()).hexdigest()[:17]


@pytest.mark.parametrize("make", [qcow2, raw], ids=["qcow2", "raw"])
def test_register_again_remove_again(desk: Desk, make: Any) -> None:
    disk = make(desk.place / "disk", size=3 << 20)
    first = desk.call(path=str(disk))
    image = first["image"]
    assert first["changed"]
    assert first["image_id"] == image["image_id"] == id_of(disk)
    assert (image["name"], image["state"], image["size_gib"]) == ("web", "available", 1)
    assert image["disk_format"] == make.__name__
    assert image["source"] == str(disk)
    kept = Path(image["path"])
    assert kept.read_bytes() == disk.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o400
    assert first["diff"]["before"] == ""
    assert "image web:" in first["diff"]["after"]

    again = desk.call(path=str(disk))
    assert not again["changed"]
    assert again["image"] == image

    gone = desk.call(state="absent")
    assert gone["changed"]
    assert gone["image"] == {**image, "state": "deregistered"}
    assert list(desk.store.image_directory.iterdir()) == []
    assert desk.call(state="absent")["image"] is None


def test_a_file_that_somebody_fetches_is_no_leftover(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = qcow2(desk.place / "disk")
    desk.call(path=str(disk))
    monkeypatch.setattr(store, "COPY_TIMEOUT", 0.1)
    with desk.store.images_lock(), image_files.incoming(desk.store, "Cannot fetch it"):
        for stated in ({"path": str(disk)}, {"state": "absent"}):
            assert "in use" in refusal(ImageTask, desk.params(**stated), check=True)["msg"]
    assert execute(ImageTask, desk.params(path=str(disk)), check=True)["changed"] is False


def test_a_second_run_does_not_read_the_file_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = qcow2(desk.place / "disk")
    desk.call(path=str(disk))
    monkeypatch.setattr(image_files, "checksum_of", lambda _path: pytest.fail("hashed again"))
    assert not desk.call(path=str(disk))["changed"]


def test_a_touched_file_of_the_same_content_is_no_change(desk: Desk) -> None:
    disk = qcow2(desk.place / "disk")
    desk.call(path=str(disk))
    os.utime(disk, ns=(1, 1))
    assert not desk.call(path=str(disk))["changed"]


def test_a_name_is_not_given_to_another_content(desk: Desk) -> None:
    first = desk.call(path=str(qcow2(desk.place / "one")))
    refused = desk.refuse(path=str(qcow2(desk.place / "two", salt=b"other")))
    assert refused["error_code"] == "InvalidAMIName.Duplicate"
    assert first["image_id"] in refused["msg"]
    assert "another name" in refused["msg"]


def test_two_names_share_the_file_until_the_last_goes(desk: Desk) -> None:
    disk = qcow2(desk.place / "disk")
    first = desk.call(path=str(disk))
    second = desk.call(path=str(disk), name="second")
    assert second["changed"]
    assert second["image_id"] == first["image_id"]
    desk.instance(first["image"]["path"])
    assert desk.call(state="absent")["changed"]  # the instance keeps its image under the other name
    assert Path(first["image"]["path"]).exists()
    assert desk.refuse(state="absent", name="second")["error_code"] == "DependencyViolation"


def test_an_image_in_use_is_not_removed(desk: Desk) -> None:
    image = desk.call(path=str(qcow2(desk.place / "disk")))["image"]
    desk.instance(image["path"])
    refused = desk.refuse(state="absent")
    assert refused["error_code"] == "DependencyViolation"
    assert INSTANCE in refused["msg"]
    assert image["image_id"] in refused["msg"]


def test_the_description_is_edited_and_stays_when_unstated(desk: Desk) -> None:
    disk = str(qcow2(desk.place / "disk"))
    assert desk.call(path=disk, description="first")["image"]["description"] == "first"
    assert not desk.call(path=disk)["changed"]
    edited = desk.call(path=disk, description="second")
    assert edited["changed"]
    assert edited["image"]["description"] == "second"
    assert "description: first" in edited["diff"]["before"]
    assert "description: second" in edited["diff"]["after"]
    assert desk.call(path=disk, description="")["image"]["description"] == ""


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.chmod(0o600) or path.write_bytes(b"x")])
def test_a_damaged_file_is_fetched_anew(desk: Desk, damage: Any) -> None:
    disk = qcow2(desk.place / "disk")
    image = desk.call(path=str(disk))["image"]
    damage(Path(image["path"]))
    repaired = desk.call(path=str(disk))
    assert repaired["changed"]
    assert "damaged: true" in repaired["diff"]["before"]
    assert Path(image["path"]).read_bytes() == disk.read_bytes()
    assert repaired["image"] == image


def test_with_its_checksum_the_source_need_not_exist_any_more(desk: Desk) -> None:
    disk = qcow2(desk.place / "disk")
    checksum = "sha256:" + hashlib.sha256(disk.read_bytes()).hexdigest()
    desk.call(path=str(disk), checksum=checksum.upper().replace("SHA256", "sha256"))
    disk.unlink()
    assert not desk.call(path=str(disk), checksum=checksum)["changed"]
    assert "No such file" in desk.refuse(path=str(disk))["msg"]


def test_a_wrong_checksum_registers_nothing(desk: Desk) -> None:
    disk = qcow2(desk.place / "disk")
    refused = desk.refuse(path=str(disk), checksum="sha256:" + "0" * 64)
    assert "checksum:" in refused["msg"]
    assert refused["error_code"] == "InvalidParameterValue"


def test_a_file_url_is_fetched_and_its_id_foretold(desk: Desk) -> None:
    disk = qcow2(desk.place / "disk")
    checksum = "sha256:" + hashlib.sha256(disk.read_bytes()).hexdigest()
    done = desk.call(url=disk.as_uri(), checksum=checksum)
    assert done["image_id"] == id_of(disk)
    assert done["image"]["disk_format"] == "qcow2"
    assert not desk.call(url=disk.as_uri(), checksum=checksum)["changed"]


@pytest.mark.parametrize("content", ["served", "missing", "not a disk"])
def test_a_failed_fetch_leaves_nothing(desk: Desk, content: str) -> None:
    disk = desk.place / "disk"
    checksum = "sha256:" + "0" * 64
    if content == "served":
        qcow2(disk)
    elif content == "not a disk":
        disk.write_text("hello " * 1000)
        checksum = "sha256:" + hashlib.sha256(disk.read_bytes()).hexdigest()
    refused = refusal(ImageTask, desk.params(url=disk.as_uri(), checksum=checksum))
    assert disk.as_uri() in refused["msg"]
    assert refused["changed"] is False
    assert list(desk.store.image_directory.iterdir()) == []
    assert desk.store.images() == []


def test_remains_of_a_killed_run_go_with_the_next(desk: Desk) -> None:
    disk = qcow2(desk.place / "disk")
    desk.call(path=str(disk))
    directory = desk.store.image_directory
    (directory / ".incoming-x1").write_bytes(b"half")
    (directory / f"ami-{'0' * 17}.raw").write_bytes(b"never entered")
    (directory / f"ami-{'1' * 17}.raw").write_bytes(b"somebody's")
    (directory / "notes.txt").write_bytes(b"the operator's")
    desk.instance(f"/elsewhere/ami-{'1' * 17}.raw")
    done = desk.call(path=str(disk))
    assert done["changed"]
    assert "leftover file .incoming-x1" in done["diff"]["before"]
    names = sorted(path.name for path in directory.iterdir())
    assert names == sorted([f"{id_of(disk)}.qcow2", f"ami-{'1' * 17}.raw", "notes.txt"])
    assert not desk.call(path=str(disk))["changed"]


def test_a_file_that_was_published_but_not_entered_is_taken_over(desk: Desk) -> None:
    disk = qcow2(desk.place / "disk")
    desk.call(path=str(disk))
    desk.store.forget("web")
    done = desk.call(path=str(disk))
    assert done["changed"]
    assert "leftover" not in done["diff"]["before"]


def test_a_failure_after_a_write_says_so(desk: Desk) -> None:
    desk.store.image_directory.mkdir(parents=True)
    (desk.store.image_directory / ".incoming-x1").write_bytes(b"half")
    params = desk.params(url="file:///nowhere", checksum="sha256:" + "0" * 64)
    assert refusal(ImageTask, params)["changed"] is True


@pytest.mark.parametrize(
    ("stated", "code", "words"),
    [
        ({}, "MissingParameter", "exactly one"),
        ({"path": "/a", "url": "http://b/c"}, "InvalidParameterCombination", "exactly one"),
        ({"path": "disk.qcow2"}, "InvalidParameterValue", "absolute"),
        ({"url": "http://b/c"}, "MissingParameter", "checksum"),
        ({"url": "ftp://b/c", "checksum": "sha256:" + "0" * 64}, "InvalidParameterValue", "ftp://b/c"),
        ({"url": "disk.qcow2", "checksum": "sha256:" + "0" * 64}, "InvalidParameterValue", "disk.qcow2"),
        ({"url": "http://[b/c", "checksum": "sha256:" + "0" * 64}, "InvalidParameterValue", "url"),
        ({"url": "http://b/ä", "checksum": "sha256:" + "0" * 64}, "InvalidParameterValue", "percent"),
        ({"url": "http://a..b/x", "checksum": "sha256:" + "0" * 64}, "InvalidParameterValue", "a..b"),
        ({"url": "http://a:b/x", "checksum": "sha256:" + "0" * 64}, "InvalidParameterValue", "a:b"),
        ({"url": "file:///a%00b", "checksum": "sha256:" + "0" * 64}, "InvalidParameterValue", "url"),
        ({"path": "/a\0b"}, "InvalidParameterValue", "path"),
        ({"path": "/\ud800"}, "InvalidParameterValue", "path"),
        ({"path": "/a", "description": "\ud800"}, "InvalidParameterValue", "description"),
        ({"path": "/a", "checksum": "md5:0"}, "InvalidParameterValue", "sha256:"),
        ({"path": "/a", "checksum": "0" * 64}, "InvalidParameterValue", "sha256:"),
        ({"path": "/a", "name": "x"}, "InvalidAMIName.Malformed", "'x'"),
        ({"path": "/a", "name": "x" * 129}, "InvalidAMIName.Malformed", "128"),
        ({"path": "/a", "name": "what?"}, "InvalidAMIName.Malformed", "what?"),
        ({"path": "/a", "name": "two\nlines"}, "InvalidAMIName.Malformed", "name"),
        ({"path": "/a", "name": "ami-of-mine"}, "InvalidAMIName.Malformed", "ami-"),
        ({"path": "/a", "description": "x" * 256}, "InvalidParameterValue", "256"),
        ({"path": "/nowhere/disk"}, "InvalidParameterValue", "/nowhere/disk"),
        ({"path": "/"}, "InvalidParameterValue", "regular file"),
        ({"path": "/proc/self/mem"}, "InvalidParameterValue", "Input/output error"),
    ],
)
def test_bad_input_is_refused_by_name(desk: Desk, stated: dict[str, Any], code: str | None, words: str) -> None:
    refused = desk.refuse(**stated)
    assert refused.get("error_code") == code
    assert words in refused["msg"]


def test_the_users_secret_in_a_url_is_not_repeated(desk: Desk) -> None:
    refused = desk.refuse(url="https://me:hunter2@b/c", checksum="sha256:" + "0" * 64)
    assert "hunter2" not in refused["msg"]


def test_a_stated_format_must_be_that_of_the_image(desk: Desk) -> None:
    disk = str(qcow2(desk.place / "disk"))
    assert "disk_format" in desk.refuse(path=disk, disk_format="raw")["msg"]
    desk.call(path=disk, disk_format="qcow2")
    assert "disk_format" in desk.refuse(path=disk, disk_format="raw")["msg"]
    # Of a URL nothing is known but the checksum, which is that of a disk that is here.
    again = {
        "name": "other",
        "url": Path(disk).as_uri(),
        "checksum": f"sha256:{hashlib.sha256(Path(disk).read_bytes()).hexdigest()}",
    }
    assert "the image 'web' is qcow2, not raw" in desk.refuse(**again, disk_format="raw")["msg"]
    assert desk.call(**again, disk_format="qcow2")["changed"]
