# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.console_task import ConsoleTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.pictures import as_png, size_of
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

RED = b"P6\n# a screen\n2 1\n255\n" + b"\xff\x00\x00" * 2
SAID = b"\x1b[2JBooting\r\n\r\n\x1b[32mlogin:\x1b[0m \xff\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KvmHost:
    return KvmHost(tmp_path, monkeypatch)


def launch(host: KvmHost, said: bytes | None = SAID, **stated: Any) -> str:
    (instance_id,) = execute(host.task, {**PARAMS, "name": "a", **stated})["instance_ids"]
    if said is not None:
        console_log(host, instance_id).write_bytes(said)
        os.utime(console_log(host, instance_id), (0, 0))
    return str(instance_id)


def console_log(host: KvmHost, instance_id: str) -> Path:
    return host.store.instance_directory(instance_id) / "console.log"


def make(host: KvmHost) -> Any:
    return lambda asked: ConsoleTask(asked, host.hypervisor, host.store)


def params(instance_id: str, **stated: Any) -> dict[str, Any]:
    usual = {"lines": None, "raw": False, "screenshot": None, "uri": "fake:///", "store": "/x"}
    return {"instance_id": instance_id, **usual, **stated}


def both(make_task: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Run in check mode, which must foretell what the real run then does."""
    foretold = execute(make_task, asked, check=True)
    done = execute(make_task, asked)
    assert done == foretold
    return done


def test_the_log_as_text_and_as_it_is(host: KvmHost) -> None:
    instance_id = launch(host)
    result = both(make(host), params(instance_id))
    assert result["output"] == "Booting\n\nlogin: \ufffd\n"
    assert result["timestamp"] == "1970-01-01T00:00:00Z"
    assert result["changed"] is False
    assert result["screenshot"] is None
    assert both(make(host), params(instance_id, raw=True))["output"] == SAID.decode(errors="replace")


def test_the_last_lines(host: KvmHost) -> None:
    instance_id = launch(host)
    assert both(make(host), params(instance_id, lines=1))["output"] == "login: \ufffd"
    assert both(make(host), params(instance_id, lines=2))["output"] == "\nlogin: \ufffd"
    assert both(make(host), params(instance_id, lines=99))["output"] == "Booting\n\nlogin: \ufffd"


def test_full_logs_that_the_daemon_put_aside_come_first(host: KvmHost) -> None:
    instance_id = launch(host, b"newest\n")
    for number in (0, 1, 2, 3):
        console_log(host, instance_id).with_name(f"console.log.{number}").write_text(f"old {number}\n")
    assert both(make(host), params(instance_id))["output"] == "old 2\nold 1\nold 0\nnewest\n"


def test_one_that_never_ran_said_nothing(host: KvmHost) -> None:
    result = both(make(host), params(launch(host, None)))
    assert (result["output"], result["timestamp"]) == ("", None)


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_what_is_not_the_guests_own_log_is_not_read(host: KvmHost, tmp_path: Path, kind: str) -> None:
    instance_id = launch(host, None)
    if kind == "link":
        (tmp_path / "secret").write_text("secret")
        console_log(host, instance_id).symlink_to(tmp_path / "secret")
    else:
        console_log(host, instance_id).mkdir()
    assert "Cannot read the console's log" in refusal(make(host), params(instance_id))["msg"]


def test_a_screenshot_is_written_once_and_only_for_its_owner(host: KvmHost, tmp_path: Path) -> None:
    instance_id = launch(host, video="vga")
    host.hypervisor.pictures[instance_id] = RED
    path = tmp_path / "screen.png"
    asked = params(instance_id, screenshot=str(path))
    assert execute(make(host), asked, check=True)["changed"] is True
    assert not path.exists()
    result = both(make(host), asked)
    assert path.read_bytes() == as_png(RED)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (result["screenshot"]["width"], result["screenshot"]["height"]) == (2, 1)
    assert result["diff"]["before"] == ""
    assert result["screenshot"]["sha256"] in result["diff"]["after"]
    assert both(make(host), asked)["changed"] is False
    host.hypervisor.pictures[instance_id] = RED.replace(b"\xff\x00", b"\x00\xff")
    assert result["screenshot"]["sha256"] in both(make(host), asked)["diff"]["before"]
    assert [one.name for one in tmp_path.glob(".screenshot*")] == []


def test_what_has_no_picture_is_refused(host: KvmHost, tmp_path: Path) -> None:
    plain = launch(host)
    asked = {"screenshot": str(tmp_path / "a.png")}
    failed = refusal(make(host), params(plain, **asked))
    assert failed["error_code"] == "UnsupportedOperation"
    assert "has no screen, only its serial console" in failed["msg"]
    execute(host.task, {**PARAMS, "instance_ids": [plain], "state": "stopped"})
    failed = refusal(make(host), params(plain, **asked))
    assert failed["error_code"] == "IncorrectInstanceState"
    assert "does not run" in failed["msg"]


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"lines": 0}, "lines: 0"),
        ({"screenshot": "a.png"}, "not an absolute path"),
        ({"screenshot": "/tmp/../a.png"}, "without '..'"),
        ({"screenshot": "/tmp/a.jpg"}, "does not end in .png"),
        ({"screenshot": "/nowhere/a.png"}, "the directory /nowhere does not exist"),
        ({"screenshot": "LINK/a.png"}, "not a regular file"),
        ({"screenshot": "/tmp/a\0.png"}, "has a NUL"),
        ({"screenshot": f"/tmp/{'a' * 300}.png"}, "File name too long"),
    ],
)
def test_bad_input(host: KvmHost, tmp_path: Path, stated: dict[str, Any], said: str) -> None:
    instance_id = launch(host, video="vga")
    (tmp_path / "a.png").symlink_to("/etc/passwd")
    stated = {name: str(tmp_path / "a.png") if value == "LINK/a.png" else value for name, value in stated.items()}
    failed = refusal(make(host), params(instance_id, **stated))
    assert said in failed["msg"]
    assert failed["error_code"] == "InvalidParameterValue"


def test_which_instance(host: KvmHost) -> None:
    failed = refusal(make(host), params("i-1"))
    assert failed["msg"].startswith("instance_id: 'i-1'")
    assert failed["error_code"] == "InvalidInstanceID.Malformed"
    assert refusal(make(host), params("i-" + "0" * 17))["error_code"] == "InvalidInstanceID.NotFound"
    instance_id = launch(host)
    execute(host.task, {**PARAMS, "instance_ids": [instance_id], "state": "terminated"})
    failed = refusal(make(host), params(instance_id))
    assert failed["error_code"] == "IncorrectInstanceState"
    assert "is terminated" in failed["msg"]


def test_pictures() -> None:
    png = as_png(RED)
    assert size_of(png) == (2, 1)
    assert as_png(png) == png
    for broken, said in ((b"GIF89a", "neither PNG nor PPM"), (RED[:-1], "5 bytes")):
        with pytest.raises(PocketError, match=said):
            as_png(broken)
