# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of real disks by the real module, as on a target."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import (
    MODULES,
    PYTHON,
    Host,
    arguments,
    wait_until,
)

DISKS = "/var/lib/disks"
PACKAGE = "ansible_collections.pocket.cloud.plugins.module_utils._ec2"
CLONE = f"""
import sys
from {PACKAGE} import images, store
images.create_overlay(store.Store(sys.argv[1]).image(sys.argv[2]), sys.argv[3], size_gib=4)
"""
REGISTERED = f"""
import sys
from {PACKAGE} import store
print(*(image.name for image in store.Store(sys.argv[1]).images()), sep=chr(10))
"""
# Serves the directory it is started in on port 8000, and over TLS with the certificate of its own making on 8443.
SERVER = """
import http.server, ssl, threading
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/to-a-file":
            return super().do_GET()
        self.send_response(302)
        self.send_header("Location", "file:///var/lib/disks/guest.qcow2")
        self.end_headers()
plain = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
secure = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/run/certificate.pem")
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
plain.serve_forever()
"""
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
    "-keyout /run/key.pem -out /run/cert.pem && cat /run/key.pem /run/cert.pem > /run/certificate.pem"
)


class Images:
    """The module with one store; each call is made in check mode first, which must tell the same and write nothing."""

    def __init__(self, host: Host, store: str) -> None:
        self.host = host
        self.store = store
        self.root = host.path(store)

    def ok(self, **parameters: Any) -> dict[str, Any]:
        foretold, done = self._both(self.host.ok, parameters)
        for key in ("changed", "diff", "image_id"):
            assert foretold[key] == done[key]
        return done

    def refused(self, **parameters: Any) -> dict[str, Any]:
        foretold, done = self._both(self.host.refused, parameters)
        assert foretold == done
        return done

    def _both(self, call: Any, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        parameters = {"name": "web", "store": self.store, **parameters}
        before = self.files()
        foretold = call("ec2like_image", check=True, **parameters)
        assert self.files() == before
        return foretold, call("ec2like_image", **parameters)

    def files(self) -> dict[str, tuple[int, int, int]]:
        return {
            str(path.relative_to(self.root)): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(self.root.rglob("*"))
        }

    def registered(self) -> list[str]:
        return self.host.run([PYTHON, "-c", REGISTERED, self.store]).stdout.split()

    def in_store(self) -> list[str]:
        return sorted(path.name for path in (self.root / "images").glob("*"))


@pytest.fixture
def store_images(bare_host: Host, store: str) -> Images:
    return Images(bare_host, store)


@pytest.fixture
def disks(bare_host: Host) -> Iterator[Path]:
    """The way from outside to DISKS, an empty directory on the host."""
    directory = bare_host.path(DISKS)
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def guest_disk(disks: Path, guest_image: Path) -> Path:
    return Path(shutil.copy(guest_image, disks / "guest.qcow2"))


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def qemu_img(host: Host, *arguments: str) -> None:
    host.run(["qemu-img", *arguments], timeout=60)


@pytest.mark.parametrize("disk_format", ["qcow2", "raw"])
def test_a_guest_disk_is_registered_again_changed_and_removed(
    store_images: Images, guest_disk: Path, disk_format: str
) -> None:
    host, name = store_images.host, f"guest.{disk_format}"
    if disk_format == "raw":
        qemu_img(host, "convert", "-O", "raw", f"{DISKS}/guest.qcow2", f"{DISKS}/{name}")
    source = guest_disk.with_name(name)
    first = store_images.ok(path=f"{DISKS}/{name}")
    assert first["changed"]
    assert first["image_id"] == f"ami-{sha256(source)[7:24]}"
    assert first["image"]["disk_format"] == disk_format
    kept = host.path(first["image"]["path"])
    assert sha256(kept) == sha256(source)
    assert kept.stat().st_mode & 0o777 == 0o400
    assert kept.stat().st_blocks <= source.stat().st_blocks * 1.1 + 64  # holes stay holes
    assert (store_images.root / "state.sqlite").stat().st_mode & 0o777 == 0o600

    assert not store_images.ok(path=f"{DISKS}/{name}")["changed"]
    assert store_images.ok(path=f"{DISKS}/{name}", description="tiny")["changed"]
    again = store_images.ok(path=f"{DISKS}/{name}")
    assert not again["changed"]
    assert again["image"]["description"] == "tiny"

    assert store_images.ok(state="absent")["changed"]
    assert store_images.in_store() == []
    assert not store_images.ok(state="absent")["changed"]


def test_another_content_needs_another_name(store_images: Images, guest_disk: Path) -> None:
    first = store_images.ok(path=f"{DISKS}/guest.qcow2")
    qemu_img(store_images.host, "resize", "-q", f"{DISKS}/guest.qcow2", "3G")
    refused = store_images.refused(path=f"{DISKS}/guest.qcow2")
    assert refused["error_code"] == "InvalidAMIName.Duplicate"
    second = store_images.ok(path=f"{DISKS}/guest.qcow2", name="web-2")
    assert second["image_id"] != first["image_id"]
    assert second["image"]["size_gib"] == 3


def bad_disks(host: Host, disks: Path) -> dict[str, tuple[str, str]]:
    """File -> what the message must say of it."""
    qemu_img(host, "create", "-q", "-f", "qcow2", "-b", f"{DISKS}/guest.qcow2", "-F", "qcow2", f"{DISKS}/overlay")
    qemu_img(host, "create", "-q", "-f", "qcow2", "-o", f"data_file={DISKS}/data", f"{DISKS}/external", "1M")
    qemu_img(host, "create", "-q", "-f", "vmdk", f"{DISKS}/foreign", "1M")
    (disks / "text").write_text("#!/bin/sh\n" + "echo not a disk\n" * 1000)
    (disks / "empty").touch()
    (disks / "zeros").write_bytes(bytes(1 << 20))
    (disks / "link").symlink_to("guest.qcow2")
    (disks / "cut").write_bytes((disks / "guest.qcow2").read_bytes()[:70])
    (disks / "torn").write_bytes((disks / "guest.qcow2").read_bytes()[:5000])
    (disks / "short").write_bytes((disks / "guest.qcow2").read_bytes()[:-100_000])
    (disks / "packed").write_bytes(b"\x1f\x8b" + bytes(5000))
    (disks / "nothing").write_bytes((disks / "guest.qcow2").read_bytes()[:24] + bytes(8) + bytes(1 << 16))
    version = bytearray((disks / "guest.qcow2").read_bytes())
    version[7] = 9
    (disks / "newer").write_bytes(version)
    qemu_img(
        host, "convert", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", f"{DISKS}/guest.qcow2", f"{DISKS}/split"
    )
    encrypted = bytearray((disks / "guest.qcow2").read_bytes())
    encrypted[35] = 2  # LUKS; qemu-img itself takes its time to make one, and on a busy machine fails
    (disks / "encrypted").write_bytes(encrypted)
    (disks / "luks").write_bytes(b"LUKS\xba\xbe\0\1" + bytes(1 << 16))
    os.mkfifo(disks / "pipe")
    return {
        "overlay": ("backing file", "qemu-img convert"),
        "external": ("external data file", "qemu-img convert"),
        "foreign": ("VMDK", "convert"),
        "text": ("not a disk", "qcow2 or raw"),
        "empty": ("not a disk", "qcow2 or raw"),
        "zeros": ("not a disk", "qcow2 or raw"),
        "link": ("symbolic link", "the file itself"),
        "cut": ("cut off", "again"),
        "torn": ("cut off", "again"),
        "short": ("cut off", "again"),
        "packed": ("gzip", "unpack"),
        "nothing": ("no size", "bootable"),
        "newer": ("Unsupported qcow2 version 9", "Cannot use"),
        "split": ("the descriptor of a VMDK disk", "convert"),
        "luks": ("not a disk", "qcow2 or raw"),
        "encrypted": ("encrypted", "decrypt"),
        "pipe": ("not a regular file", "path"),
        ".": ("not a regular file", "path"),
        "missing": ("No such file", "path"),
        "missing/below": ("No such file", "path"),
    }


def test_what_is_no_disk_is_refused_before_the_first_write(store_images: Images, guest_disk: Path) -> None:
    for name, (problem, way_out) in bad_disks(store_images.host, guest_disk.parent).items():
        refused = store_images.refused(path=f"{DISKS}/{name}")
        message = refused["msg"]
        assert refused["error_code"] == "InvalidParameterValue"
        assert f"{DISKS}/{name}" in message
        assert problem in message
        assert way_out in message
    refused = store_images.refused(path="/proc/self/mem")
    assert "Input/output error" in refused["msg"]
    assert store_images.in_store() == []


def test_an_image_that_a_running_disk_is_a_clone_of_stays(store_images: Images, guest_disk: Path) -> None:
    host = store_images.host
    image = store_images.ok(path=f"{DISKS}/guest.qcow2")["image"]
    instance = "i-0123456789abcdef0"
    directory = store_images.root / "instances" / instance
    directory.mkdir()
    disk = f"{store_images.store}/instances/{instance}/disk.qcow2"
    qemu_img(host, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image["path"], disk)
    # QEMU holds its locks on the disk, as under a guest.
    command = ["qemu-system-x86_64", "-S", "-accel", "tcg", "-nodefaults", "-display", "none", "-drive", f"file={disk}"]
    machine = host.popen(command)
    try:
        wait_until("QEMU to open the disk", lambda: "disk.qcow2" in open_files(host))
        refused = store_images.refused(state="absent")
    finally:
        host.kill(machine)
    assert refused["error_code"] == "DependencyViolation"
    assert instance in refused["msg"]
    shutil.rmtree(directory)
    assert store_images.ok(state="absent")["changed"]


def open_files(host: Host) -> str:
    return host.run(["sh", "-c", "ls -l /proc/[0-9]*/fd 2>/dev/null"], check=False).stdout


def test_a_linked_clone_of_a_registered_image_is_sound(store_images: Images, guest_disk: Path) -> None:
    host = store_images.host
    image = store_images.ok(path=f"{DISKS}/guest.qcow2")["image"]
    host.run([PYTHON, "-c", CLONE, store_images.store, "web", f"{DISKS}/clone.qcow2"])
    about = json.loads(host.run(["qemu-img", "info", "--output=json", f"{DISKS}/clone.qcow2"]).stdout)
    assert about["full-backing-filename"] == image["path"]
    assert about["backing-filename-format"] == "qcow2"
    assert about["virtual-size"] == 4 << 30
    host.run(["qemu-img", "compare", f"{DISKS}/clone.qcow2", f"{DISKS}/guest.qcow2"])  # the longer one ends in zeros


def test_killed_in_the_middle_of_the_copy(store_images: Images, guest_disk: Path) -> None:
    host = store_images.host
    # Large and of incompressible blocks, so that there is a middle of the copy.
    with (guest_disk.parent / "large").open("wb") as stream:
        stream.write(bytes(510) + b"\x55\xaa")
        for _mebibyte in range(200):
            stream.write(os.urandom(1 << 20))
    parameters = {"name": "large", "path": f"{DISKS}/large", "store": store_images.store}
    for delay in (0, 0.02, 0.05, 0.1):
        run = host.popen([PYTHON, MODULES / "ec2like_image.py"], stdin=-1, stdout=-3, stderr=-3)
        assert run.stdin is not None
        run.stdin.write(arguments(parameters))
        run.stdin.close()
        wait_until("the copy", lambda: any((store_images.root / "images").glob(".incoming-*")), interval=0.005)
        time.sleep(delay)
        host.kill(run)
        assert store_images.registered() == []
    done = store_images.ok(**parameters)
    assert done["changed"]
    assert store_images.in_store() == [f"{done['image_id']}.raw"]
    assert sha256(host.path(done["image"]["path"])) == done["image"]["checksum"] == sha256(guest_disk.parent / "large")
    assert store_images.registered() == ["large"]
    assert not store_images.ok(**parameters)["changed"]


@pytest.fixture
def url(bare_host: Host, disks: Path) -> Iterator[str]:
    """Where a web server on the host's loopback serves DISKS."""
    bare_host.run(["sh", "-c", CERTIFICATE])
    server = bare_host.popen(["env", "-C", DISKS, PYTHON, "-c", SERVER], stdout=-3, stderr=-3)
    wait_until("the web server", lambda: bare_host.http("127.0.0.1", 8000) is not None)
    yield "http://127.0.0.1:8000"
    bare_host.kill(server)


def test_a_url_is_fetched_once_and_checked(store_images: Images, guest_disk: Path, url: str) -> None:
    checksum = sha256(guest_disk)
    wrong = {"url": f"{url}/guest.qcow2", "checksum": "sha256:" + "1" * 64}
    message = store_images.host.refused("ec2like_image", name="web", store=store_images.store, **wrong)["msg"]
    assert f"{url}/guest.qcow2" in message
    assert checksum in message
    assert store_images.in_store() == []

    first = store_images.ok(url=f"{url}/guest.qcow2", checksum=checksum)
    assert first["changed"]
    assert first["image_id"] == f"ami-{checksum[7:24]}"
    assert first["image"]["disk_format"] == "qcow2"
    guest_disk.unlink()
    assert not store_images.ok(url=f"{url}/guest.qcow2", checksum=checksum)["changed"]


def test_a_url_that_answers_otherwise_is_named(store_images: Images, guest_disk: Path, url: str) -> None:
    for address, problem in (
        (f"{url}/missing", "404"),
        ("http://127.0.0.1:1/disk", "refused"),
        (f"{url}/to-a-file", "not allowed"),
        ("https://127.0.0.1:8443/guest.qcow2", "certificate verify failed"),
    ):
        stated = {"name": "web", "store": store_images.store, "url": address, "checksum": sha256(guest_disk)}
        message = store_images.host.refused("ec2like_image", **stated)["msg"]
        assert address in message
        assert problem in message
    assert store_images.in_store() == []


def test_a_certificate_that_the_host_trusts_will_do(store_images: Images, guest_disk: Path, url: str) -> None:
    host = store_images.host
    stated = {
        "name": "web",
        "store": store_images.store,
        "url": "https://127.0.0.1:8443/guest.qcow2",
        "checksum": sha256(guest_disk),
    }
    command = ["env", "SSL_CERT_FILE=/run/cert.pem", PYTHON, str(MODULES / "ec2like_image.py")]
    done = json.loads(host.run(command, text=arguments(stated)).stdout)
    assert done["changed"]
    assert store_images.registered() == ["web"]


def test_libvirtd_need_not_run_to_register_an_image(store_images: Images, guest_disk: Path) -> None:
    store_images.host.stop_libvirtd()
    assert store_images.ok(path=f"{DISKS}/guest.qcow2")["changed"]


def test_a_full_disk_leaves_no_half_image(store_images: Images, guest_disk: Path) -> None:
    host = store_images.host
    store_images.root.mkdir()
    host.run(["mount", "-t", "tmpfs", "-o", "size=5m,mode=711", "tmpfs", store_images.store])
    try:
        message = host.refused("ec2like_image", name="web", path=f"{DISKS}/guest.qcow2", store=store_images.store)[
            "msg"
        ]
        assert "No space left on device" in message
        assert store_images.in_store() == []
    finally:
        host.run(["umount", store_images.store])
