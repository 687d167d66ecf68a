# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import multiprocessing
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.images import Image, ImageSource
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.store import Store
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
IMAGE_ID = "ami-0123456789abcdef0"
INSTANCE_ID = "i-0123456789abcdef0"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def image_of(store: Store, name: str = "web", image_id: str = IMAGE_ID, created: str = "2026-01-31T12:00:00Z") -> Image:
    source = ImageSource("/disks/web", 4, 123, "sha256:" + "0" * 64)
    path = store.image_path(image_id, "qcow2")
    return Image(image_id, name, path, "qcow2", (1 << 30) + 1, 2, created, source, "a text")


def with_file(image: Image) -> Image:
    image.path.parent.mkdir(parents=True, exist_ok=True)
    image.path.write_bytes(b"disk")
    return image


def test_reading_a_store_that_is_not_there_finds_nothing_and_makes_nothing(store: Store) -> None:
    assert store.images() == []
    assert store.tombstones() == []
    assert store.instance_types() == {}
    assert store.instance_directories() == []
    with pytest.raises(PocketError, match="no image is registered there") as caught:
        store.image("web")
    assert caught.value.code == "InvalidAMIID.NotFound"
    assert not store.root.exists()


def test_an_empty_database_of_a_killed_maker_is_empty(store: Store) -> None:
    store.root.mkdir()
    (store.root / "state.sqlite").touch()
    assert store.images() == []
    store.register(image_of(store))
    assert store.images() == [image_of(store)]


def test_an_image_comes_back_as_it_was_registered(store: Store) -> None:
    image = with_file(image_of(store))
    store.register(image)
    assert store.images() == [image]
    assert store.image("web") == image
    assert store.image(IMAGE_ID) == image


def test_by_id_the_name_registered_first_is_meant(store: Store) -> None:
    store.register(with_file(image_of(store, "second", created="2026-02-01T00:00:00Z")))
    store.register(image_of(store, "third", created="2026-02-02T00:00:00Z"))
    store.register(image_of(store, "web"))
    assert store.image(IMAGE_ID).name == "web"
    store.forget("web")
    assert store.image(IMAGE_ID).name == "second"
    assert [image.name for image in store.images()] == ["second", "third"]


def test_an_unknown_image_is_refused_with_those_that_are_known(store: Store) -> None:
    store.register(with_file(image_of(store)))
    with pytest.raises(PocketError, match=f"'wbe' does not exist.*web \\({IMAGE_ID}\\)") as caught:
        store.image("wbe")
    assert caught.value.code == "InvalidAMIID.NotFound"
    with pytest.raises(PocketError, match=r"'ami-42'.*17 hexadecimal digits") as caught:
        store.image("ami-42")
    assert caught.value.code == "InvalidAMIID.Malformed"


@pytest.mark.parametrize("content", [None, b"d"], ids=["missing", "cut off"])
def test_an_image_whose_file_is_damaged_cannot_be_used(store: Store, content: bytes | None) -> None:
    image = with_file(image_of(store))
    store.register(image)
    image.path.unlink()
    if content:
        image.path.write_bytes(content)
    with pytest.raises(PocketError, match="damaged") as caught:
        store.image("web")
    assert caught.value.code == "InvalidAMIID.Unavailable"


def test_a_tombstone_is_kept_for_thirty_days(store: Store) -> None:
    store.bury({"instance_id": INSTANCE_ID, "tags": {"Name": "ä"}}, NOW)
    other = INSTANCE_ID[:-1] + "1"
    store.bury({"instance_id": other}, NOW + timedelta(days=29))
    assert [record["instance_id"] for record in store.tombstones()] == [INSTANCE_ID, other]
    assert store.tombstones()[0]["tags"] == {"Name": "ä"}
    store.bury({"instance_id": other}, NOW + timedelta(days=31))
    assert [record["instance_id"] for record in store.tombstones()] == [other]


@pytest.mark.parametrize("instance_id", ["", "i-1", "../i-0123456789abcdef0", INSTANCE_ID + "/..", INSTANCE_ID + "\n"])
def test_no_id_leads_out_of_the_store(store: Store, instance_id: str) -> None:
    with pytest.raises(PocketError) as caught:
        store.instance_directory(instance_id)
    assert caught.value.code == "InvalidInstanceID.Malformed"


def test_only_directories_of_instances_are_listed(store: Store) -> None:
    for name in (INSTANCE_ID, "lost+found"):
        (store.root / "instances" / name).mkdir(parents=True)
    assert store.instance_directories() == [store.instance_directory(INSTANCE_ID)]


@pytest.mark.parametrize("root", ["store", "/var/../store", "", "/a\0b"])
def test_the_root_is_absolute_and_plain(root: str) -> None:
    with pytest.raises(PocketError, match=r"absolute|NUL"):
        Store(root)


def test_permissions_let_qemu_pass_and_nobody_list(store: Store) -> None:
    with store.lock():
        store.register(image_of(store))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (store.root, *store.root.iterdir())}
    assert modes == {"store": 0o711, "images": 0o711, "instances": 0o711, "lock": 0o600, "state.sqlite": 0o600}


def test_a_directory_that_is_there_keeps_its_mode_but_for_the_passage(tmp_path: Path) -> None:
    for before, after in ((0o755, 0o755), (0o700, 0o711), (0o2750, 0o2751)):
        root = tmp_path / f"{before:o}"
        root.mkdir()
        root.chmod(before)
        with Store(root).lock():
            assert root.stat().st_mode & 0o7777 == after


def test_nobodys_directory_is_no_store(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    for enter in (Store(tmp_path).lock, Store(tmp_path).undisturbed):
        with pytest.raises(PocketError, match=f"store: {tmp_path} can be written to by anybody .mode 1777."), enter():
            pass
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["images", "instances", "snapshots", "volumes"])
def test_what_is_in_a_store_is_not_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "store").mkdir(mode=0o711)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for root in (tmp_path / "store", tmp_path / "link"):
        for enter in (Store(root).lock, Store(root).undisturbed):
            with pytest.raises(PocketError, match=f"store: {root}/{name} is a symbolic link") as caught, enter():
                pass
            assert caught.value.code == "InvalidParameterValue"
    assert [one.name for one in (tmp_path / "store").iterdir()] == [name]
    (tmp_path / "store" / name).unlink()
    with Store(tmp_path / "link").lock():  # the whole of it may be
        pass


def hold(root: Path, ready: Any, done: Any) -> None:
    with Store(root).lock():
        ready.set()
        done.wait(30)


def test_the_lock_keeps_others_out_and_names_its_holder(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(store.root, ready, done))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(PocketError, match=f"in use by process {holder.pid} .*0.1 seconds"), store.lock(timeout=0.1):
        pass
    with store.images_lock(timeout=0.1):  # another lock
        pass
    holder.kill()
    holder.join()
    with store.lock(timeout=5):  # a killed holder holds nothing
        pass


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    store.register(image_of(store))

    def fail_halfway() -> None:
        with store._database.transaction() as connection:
            connection.execute("DELETE FROM images")
            connection.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(PocketError, match=r"state\.sqlite"):
        fail_halfway()
    assert len(store.images()) == 1


def test_a_newer_schema_is_refused(store: Store) -> None:
    store.register(image_of(store))
    connection = sqlite3.connect(store.root / "state.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for act in (store.images, lambda: store.register(image_of(store))):
        with pytest.raises(PocketError, match="newer release"):
            act()


def test_a_database_that_is_none_is_named(store: Store) -> None:
    store.root.mkdir()
    (store.root / "state.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(PocketError, match=r"Cannot read .*state\.sqlite.*not a database"):
        store.images()


def test_the_operators_types_are_read(store: Store) -> None:
    store.root.mkdir()
    types = {"big": {"vcpus": 4, "memory_mib": 8192}, "a": {"vcpus": 1, "memory_mib": 1}}
    (store.root / "instance-types.json").write_text(json.dumps(types))
    assert store.instance_types() == types
    assert list(store.instance_types()) == ["a", "big"]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"a": 1}',
        '{"a": {"vcpus": 1}}',
        '{"a": {"vcpus": true, "memory_mib": 1}}',
        '{"a": {"vcpus": "1", "memory_mib": 1}}',
        '{"a": {"vcpus": 1, "memory_mib": 0}}',
    ],
)
def test_types_that_are_none_are_refused(store: Store, content: str) -> None:
    store.root.mkdir()
    (store.root / "instance-types.json").write_text(content)
    with pytest.raises(PocketError, match=r"instance-types\.json"):
        store.instance_types()
