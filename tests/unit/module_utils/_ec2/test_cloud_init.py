# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.cloud_init import CloudInit, Progress, progress_of
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.domain_xml import Files
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute

# As cloud-init 22.4 of Debian 12 writes them; systemd colours its own.
BEGUN = "[   38.553309] cloud-init[265]: Cloud-init v. 22.4.2 running 'init-local' at Wed, 25 Nov 2026.\r\n"
STAGE = "[   54.815550] cloud-init[378]: Cloud-init v. 22.4.2 running 'modules:final' at Wed, 25 Nov 2026.\r\n"
FINISHED = "[   55.635382] cloud-init[378]: Cloud-init v. 22.4.2 finished at Wed, 25 Nov 2026. Datasource NoCloud.\r\n"
TARGET = "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mcloud-init.target\x1b[0m - Cloud-init target.\r\n"
NEARLY = (
    "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mcloud-config.target\x1b[0m - Cloud-config availability.\r\n"
)
MODULE = (
    "[   50.721939] cloud-init[348]: 2026-11-25 09:58:45,428 - util.py[WARNING]: Running module locale "
    "(<module 'cloudinit.config.cc_locale' from '/usr/lib/python3/cloudinit/config/cc_locale.py'>) failed\r\n"
)
DEPRECATED = "cloud-init[348]: 2026-11-25 - cc_apt.py[WARNING]: DEPRECATION apt: converted\r\n"
UNHANDLED = (
    "cloud-init[9]: x - __init__.py[WARNING]: Unhandled non-multipart (text/x-not-multipart) userdata: 'secret'\r\n"
)
YAML = "cloud-init[9]: x - util.py[WARNING]: Failed loading yaml blob. Invalid format at line 2\r\n"


@pytest.mark.parametrize(
    ("console", "finished"),
    [
        ("", False),
        (BEGUN + STAGE + NEARLY, False),
        (BEGUN + STAGE + FINISHED, True),
        (BEGUN + STAGE + TARGET, True),
        (FINISHED, True),
        (BEGUN + FINISHED + BEGUN, False),
        (BEGUN + MODULE + FINISHED + BEGUN + FINISHED, True),
    ],
)
def test_the_console_tells_of_the_last_boot(console: str, finished: bool) -> None:
    assert progress_of(console) == Progress(finished)


def test_what_failed_is_told_and_what_is_only_old_fashioned_is_not() -> None:
    told = progress_of(BEGUN + DEPRECATED + MODULE + MODULE + YAML + UNHANDLED + FINISHED)
    assert told.finished
    assert told.errors[:2] == ("its module locale failed", "Failed loading yaml blob. Invalid format at line 2")
    assert "does not understand the user data" in told.errors[2]
    assert "secret" not in told.text
    assert Progress(True, tuple("abcde")).text == "a; b; c; and 2 more"


class Guest:
    """An instance whose console and agent the test writes."""

    def __init__(self, host: KvmHost) -> None:
        self.host = host
        execute(host.task, {**PARAMS, "count": 1})
        (self.instance,) = host.hypervisor.instances()
        self.console = Files.of(host.store.instance_directory(self.instance.instance_id)).console

    def says(self, text: str) -> None:
        with self.console.open("a") as stream:
            stream.write(text)

    def records(self, *errors: str) -> None:
        text = json.dumps({"v1": {"datasource": "DataSourceNoCloud", "errors": errors}})
        self.host.hypervisor.guest_files[self.instance.instance_id, "/run/cloud-init/result.json"] = text


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    return Guest(KvmHost(tmp_path, monkeypatch))


def look(cloud_init: CloudInit, instance: Instance) -> Progress:
    (progress,) = cloud_init.progress([instance])
    return progress


def test_what_an_earlier_boot_said_does_not_count_after_a_start(guest: Guest) -> None:
    cloud_init = CloudInit(guest.host.hypervisor, guest.host.store)
    guest.says(BEGUN + FINISHED)
    assert look(cloud_init, guest.instance).finished
    cloud_init.mark([guest.instance.instance_id])
    assert not look(cloud_init, guest.instance).finished
    guest.says(BEGUN)
    assert not look(cloud_init, guest.instance).finished
    guest.says(FINISHED)
    assert look(cloud_init, guest.instance).finished


def test_a_log_that_was_begun_anew_is_read_from_its_beginning(guest: Guest) -> None:
    cloud_init = CloudInit(guest.host.hypervisor, guest.host.store)
    guest.says("x" * 5000)
    cloud_init.mark([guest.instance.instance_id])
    guest.console.unlink()
    guest.says(BEGUN + FINISHED)
    assert look(cloud_init, guest.instance).finished


def test_the_guests_own_record_is_read_where_the_console_tells_nothing(guest: Guest) -> None:
    cloud_init = CloudInit(guest.host.hypervisor, guest.host.store)
    guest.records()
    looks = 1
    while not look(cloud_init, guest.instance).finished:
        looks += 1
    assert looks == 7, "the agent is asked rarely: it shares the guest's processor with the boot"


def test_errors_of_both_are_told(guest: Guest) -> None:
    cloud_init = CloudInit(guest.host.hypervisor, guest.host.store)
    guest.records("('scripts-user', RuntimeError('Runparts: 1 failures'))")
    guest.says(BEGUN + YAML + FINISHED)
    errors = look(cloud_init, guest.instance).errors
    assert errors == (
        "('scripts-user', RuntimeError('Runparts: 1 failures'))",
        "Failed loading yaml blob. Invalid format at line 2",
    )
