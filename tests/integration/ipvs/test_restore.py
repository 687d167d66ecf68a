# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_restore on a real kernel, and the program that it installs, run as a boot runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, saved

WEB = {
    "protocol": "tcp",
    "address": "192.0.2.10",
    "port": 80,
    "scheduler": "wrr",
    "persistence_timeout": 60,
    "dests": [
        {"address": "10.0.0.1", "forwarding": "masquerade", "weight": 3, "upper_threshold": 50, "lower_threshold": 40},
        {"address": "10.0.0.2", "forwarding": "tunnel", "tunnel_type": "gue", "tunnel_port": 6080},
    ],
}
SIX = {"fwmark": 7, "family": "ipv6", "scheduler": "mh", "scheduler_flags": ["mh-port"]}
ADDRESSES = [{"address": "192.0.2.10/32", "interface": "lo"}, {"address": "2001:db8::10/128", "interface": "lo"}]
SAVED = [
    "-A -f 7 -6 -s mh -b mh-port",
    "-A -t 192.0.2.10:80 -s wrr -p 60",
    "-a -t 192.0.2.10:80 -r 10.0.0.1:80 -m -w 3",
    "-a -t 192.0.2.10:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
]


def virtual() -> list[str]:
    """The virtual addresses that the interface has."""
    listed = subprocess.run(["ip", "-brief", "address", "show", "lo"], capture_output=True, text=True, check=True)
    return sorted(text for text in listed.stdout.split() if text.startswith(("192.0.2", "2001:db8")))


def forget() -> None:
    """Lose what a reboot loses."""
    subprocess.run(["ipvsadm", "-C"], check=True)
    for address in virtual():
        subprocess.run(["ip", "address", "delete", address, "dev", "lo"], check=True)
    shutil.rmtree("/run/pocket-cloud", ignore_errors=True)


@pytest.fixture
def restorable(director: Director) -> Iterator[Director]:
    """A director that has no declaration and no virtual address, before and after."""
    places = [Path("/etc/pocket-cloud"), Path("/usr/local/lib/pocket-cloud")]
    for place in places:  # what the machine itself has is only hidden in here
        shutil.rmtree(place, ignore_errors=True)
    yield director
    forget()
    for place in places:
        shutil.rmtree(place, ignore_errors=True)


def boot(director: Director) -> list[str]:
    """What the installed program says that it did. It has nothing but itself and the distribution's Python."""
    done = subprocess.run(
        [director.interpreter.executable, "-m", "pocket_cloud._ipvs.restore"],
        env={"PYTHONPATH": "/usr/local/lib/pocket-cloud", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def test_a_director_comes_back_as_declared(restorable: Director):
    restorable.run("ipvs_restore", name="web", services=[WEB, SIX], addresses=ADDRESSES)
    assert saved() == SAVED
    assert virtual() == ["192.0.2.10/32", "2001:db8::10/128"]
    before = restorable.info()["services"]
    forget()
    assert len(boot(restorable)) == 6
    assert saved() == SAVED
    assert virtual() == ["192.0.2.10/32", "2001:db8::10/128"]
    assert restorable.info()["services"] == before
    assert boot(restorable) == []


def test_only_what_differs_is_restored_and_foreign_services_stay(restorable: Director):
    restorable.run("ipvs_restore", name="web", services=[WEB, SIX])
    subprocess.run(["ipvsadm", "-A", "-u", "192.0.2.99:53", "-s", "lc"], check=True)
    subprocess.run(["ipvsadm", "-a", "-f", "7", "-6", "-r", "[fd00::9]:0", "-m"], check=True)
    subprocess.run(["ipvsadm", "-d", "-t", "192.0.2.10:80", "-r", "10.0.0.2:80"], check=True)
    assert boot(restorable) == ["create tcp 192.0.2.10:80 -> 10.0.0.2:80"]
    foreign = ["-A -u 192.0.2.99:53 -s lc", "-a -f 7 -6 -r [fd00::9]:0 -m -w 1"]
    assert saved() == sorted([*SAVED, *foreign])


def test_what_is_taken_off_a_declaration_goes(restorable: Director):
    restorable.run("ipvs_restore", name="web", services=[WEB, SIX], addresses=ADDRESSES)
    fewer: dict[str, Any] = {**WEB, "dests": WEB["dests"][:1]}  # type: ignore[index]
    restorable.run("ipvs_restore", name="web", services=[fewer], addresses=ADDRESSES[:1])
    assert saved() == SAVED[1:3]
    assert virtual() == ["192.0.2.10/32"]
    restorable.run("ipvs_restore", name="web", state="absent")
    assert (saved(), virtual()) == ([], [])


def test_what_info_returns_can_be_declared(restorable: Director):
    restorable.service(**WEB)
    services = restorable.info()["services"]
    restorable.run("ipvs_restore", name="copy", services=services)
    forget()
    boot(restorable)
    assert saved() == SAVED[1:]


def test_a_declared_service_that_moves_leaves_its_former_place(restorable: Director):
    # What the role load_balanced_pool does: the service first, then its declaration.
    moved = {**WEB, "address": "192.0.2.11"}
    for service in (WEB, moved):
        restorable.service(**service, purge_dests=True)
        restorable.run("ipvs_restore", name="pool-web", services=[service])
        again = restorable.interpreter.run("ipvs_restore", {"name": "pool-web", "services": [service]})
        assert not again["changed"]
    assert saved() == [line.replace("192.0.2.10", "192.0.2.11") for line in SAVED[1:]]


def test_an_interface_that_is_missing_fails_before_the_first_write(restorable: Director):
    params = {"name": "web", "services": [WEB], "addresses": [{"address": "192.0.2.10/32", "interface": "eth9"}]}
    failed = restorable.interpreter.run("ipvs_restore", params)
    assert "interface is 'eth9', which this host does not have; give one of lo" in failed["msg"]
    assert saved() == []
    assert not Path("/etc/pocket-cloud/director.d").exists()
