# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.addresses import Address
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.declarations import DECLARATIONS, Files, load_text
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.netlink import UnavailableError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.reconcile import REMEMBERED, Host
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.restore import restore
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.restore_task import PROGRAM, RestoreTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import ServiceTask
from ansible_collections.pocket.cloud.tests.unit.ipvs_kernel import Bench, MemoryKernel, WrittenInCheckModeError
from ansible_collections.pocket.cloud.tests.unit.ipvs_tables import survives
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

WEB = {"protocol": "tcp", "address": "192.0.2.10", "port": 80, "dests": [{"address": "10.0.0.1", "weight": 2}]}
MAIL = {"protocol": "tcp", "address": "192.0.2.10", "port": 25}
VIRTUAL = {"address": "192.0.2.10/32", "interface": "eth0"}


class MemoryAddresses:
    """The addresses of a host with two interfaces."""

    def __init__(self, kernel: MemoryKernel) -> None:
        self._kernel = kernel
        self.present = {Address("127.0.0.1/8", "lo"), Address("10.0.0.254/24", "eth0")}

    def __call__(self, namespace: str | None) -> MemoryAddresses:
        return self

    def read(self) -> frozenset[Address]:
        return frozenset(self.present)

    def require_interfaces(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in ("lo", "eth0"):
                raise PocketError(f"interface is {name!r}; give one of lo, eth0")

    def add(self, address: Address) -> None:
        self._write()
        assert address not in self.present
        self.present.add(address)

    def remove(self, address: Address) -> None:
        self._write()
        self.present.remove(address)

    def _write(self) -> None:
        if self._kernel.read_only:
            raise WrittenInCheckModeError


class RootedFiles(Files):
    """Files under a directory of the test's."""

    def __init__(self, root: Path, kernel: MemoryKernel) -> None:
        self._root = str(root)
        self._kernel = kernel

    def read(self, path: str) -> str | None:
        return super().read(self._root + path)

    def names(self) -> list[str]:
        directory = Path(self._root + DECLARATIONS)
        return sorted(path.stem for path in directory.glob("*.json")) if directory.is_dir() else []

    def write(self, path: str, text: str) -> None:
        if self._kernel.read_only:
            raise WrittenInCheckModeError(path)
        super().write(self._root + path, text)

    def remove(self, path: str) -> None:
        if self._kernel.read_only:
            raise WrittenInCheckModeError(path)
        super().remove(self._root + path)


class World:
    """A director in memory, and the ways to change it."""

    def __init__(self, root: Path, bench: Bench) -> None:
        self.bench = bench
        self.kernel = bench.kernel
        self.addresses = MemoryAddresses(bench.kernel)
        self.files = RootedFiles(root, bench.kernel)
        self.root = root

    def host(self, namespace: str | None = None) -> Host:
        return Host(namespace, self.kernel.connect, self.addresses, self.files)

    def task(self, params: dict[str, Any]) -> RestoreTask:
        return RestoreTask(
            {"state": "present", "apply": True, "name": "web", **params}, self.host(params.get("namespace"))
        )

    def run(self, **params: Any) -> dict[str, Any]:
        return self.bench.run(self.task, params)

    def refusal(self, **params: Any) -> str:
        return self.bench.refusal(self.task, params)

    def boot(self) -> tuple[list[str], list[str]]:
        """The kernel and the interfaces come up empty; what the program did and what it could not do."""
        self.kernel.table.clear()
        self.addresses.present = {Address("127.0.0.1/8", "lo")}
        self.files.remove(REMEMBERED)
        return self.restore()

    def restore(self) -> tuple[list[str], list[str]]:
        said: list[str] = []
        problems = restore(self.host, self.files, said.append)
        return said, problems

    def services(self) -> list[str]:
        return sorted(map(str, self.kernel.table))


@pytest.fixture
def world(tmp_path: Path, bench: Bench) -> World:
    return World(tmp_path, bench)


def test_a_declaration_is_kept_and_applied(world: World):
    results = world.run(services=[WEB], addresses=[VIRTUAL])
    assert results["file"] == f"{DECLARATIONS}/web.json"
    assert world.services() == ["tcp 192.0.2.10:80"]
    assert Address("192.0.2.10/32", "eth0") in world.addresses.present
    stored = json.loads(world.files.read(results["file"]) or "")
    assert {"name": "web", **stored} == results["declaration"]
    # Only what was stated is declared.
    assert "scheduler" not in stored["services"][0]
    assert stored["services"][0]["dests"] == [{"address": "10.0.0.1", "port": 80, "weight": 2}]


def test_the_program_is_a_copy_of_what_runs_here_and_works_without_ansible(world: World):
    world.run(services=[WEB])
    directory = Path(f"{world.root}{PROGRAM}/pocket_cloud")
    names = {str(path.relative_to(directory)) for path in directory.rglob("*.py")}
    assert {"__init__.py", "_errors.py", "_plan.py", "_ipvs/restore.py"} <= names
    # -S leaves out what pip and the distribution installed, so Ansible is not there.
    command = [sys.executable, "-S", "-m", "pocket_cloud._ipvs.restore", "--help"]
    environment = {"PYTHONPATH": f"{world.root}{PROGRAM}"}
    helped = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "--check" in helped.stdout, helped.stderr
    (directory / "_ipvs" / "plan.py").write_text("old")
    again = world.run(services=[WEB])
    assert again["changed"] is True
    assert f"{PROGRAM}/pocket_cloud" in again["diff"]["after"]


def test_settings_and_dests_are_changed_in_place(world: World):
    world.run(services=[WEB])
    world.kernel.writes.clear()
    world.run(services=[{**WEB, "scheduler": "rr", "dests": [{"address": "10.0.0.1", "weight": 5}]}])
    assert [write.kind for write in world.kernel.writes] == ["edit", "edit"]


def test_what_is_no_more_declared_goes_and_nothing_else(world: World):
    make = partial(ServiceTask, connect=world.kernel.connect)
    execute(make, {"state": "present", "address": "192.0.2.99", "port": 99})
    world.run(
        services=[{**WEB, "dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]}, MAIL], addresses=[VIRTUAL]
    )
    execute(make, {"state": "present", **WEB, "dests": [{"address": "10.0.0.3"}]})
    world.run(services=[WEB])
    assert world.services() == ["tcp 192.0.2.10:80", "tcp 192.0.2.99:99"]
    (web,) = [one for key, one in world.kernel.table.items() if key.port == 80]
    assert sorted(map(str, web.dests)) == ["10.0.0.1:80", "10.0.0.3:80"]
    assert Address("192.0.2.10/32", "eth0") not in world.addresses.present


def test_absent_removes_the_declaration_and_what_it_held(world: World):
    world.run(services=[WEB], addresses=[VIRTUAL])
    removed = world.run(state="absent")
    assert removed["declaration"] is None
    assert world.services() == []
    assert world.files.names() == []
    assert world.files.read(REMEMBERED) is None
    assert world.run(state="absent")["changed"] is False


def test_an_address_that_was_there_before_stays(world: World):
    here = {"address": "10.0.0.254/24", "interface": "eth0"}
    world.run(services=[WEB], addresses=[here])
    world.run(services=[WEB], addresses=[])
    assert Address("10.0.0.254/24", "eth0") in world.addresses.present


def test_two_declarations_may_share_an_address_but_no_service(world: World):
    world.run(name="web", services=[WEB], addresses=[VIRTUAL])
    world.run(name="mail", services=[MAIL], addresses=[VIRTUAL])
    world.run(name="mail", state="absent")
    assert Address("192.0.2.10/32", "eth0") in world.addresses.present
    message = world.refusal(name="copy", services=[WEB])
    assert "tcp 192.0.2.10:80 is declared twice, by web and by copy" in message


def test_without_apply_only_the_files_are_kept(world: World):
    world.run(services=[WEB], addresses=[VIRTUAL], apply=False)
    assert world.kernel.opened == []
    assert world.files.names() == ["web"]
    said, problems = world.boot()
    assert problems == []
    assert said == [
        "create tcp 192.0.2.10:80",
        "create tcp 192.0.2.10:80 -> 10.0.0.1:80",
        "create address 192.0.2.10/32 on eth0",
    ]


def test_boot_restores_all_and_a_second_run_writes_nothing(world: World):
    world.run(name="web", services=[WEB], addresses=[VIRTUAL])
    world.run(name="mail", services=[MAIL])
    before = dict(world.kernel.table)
    said, problems = world.boot()
    assert (len(said), problems) == (4, [])
    assert world.kernel.table == before
    with world.kernel.sealed():
        assert world.restore() == ([], [])


def test_boot_leaves_foreign_services_alone(world: World):
    world.run(services=[WEB])
    world.boot()
    make = partial(ServiceTask, connect=world.kernel.connect)
    execute(make, {"state": "present", "address": "192.0.2.99", "port": 99})
    world.kernel.writes.clear()
    world.restore()
    assert world.kernel.writes == []
    assert "tcp 192.0.2.99:99" in world.services()


def test_one_bad_declaration_does_not_keep_the_others_from_boot(world: World):
    world.run(name="web", services=[WEB])
    world.files.write(f"{DECLARATIONS}/broken.json", "{")
    world.files.write(f"{DECLARATIONS}/wrong.json", json.dumps({"services": [{"address": "192.0.2", "port": 1}]}))
    world.files.write(
        f"{DECLARATIONS}/zz.json", json.dumps({"addresses": [{"address": "192.0.2.1/32", "interface": "eth9"}]})
    )
    said, problems = world.boot()
    assert "create tcp 192.0.2.10:80" in said
    assert len(problems) == 3
    assert "broken.json is no declaration" in problems[0]
    assert "wrong.json: services[0]: address is '192.0.2'" in problems[1]
    assert "interface is 'eth9'" in problems[2]


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["address", "port", "tcp"]), inner, max_size=2)
    ),
    max_leaves=4,
)
PARTS = ["namespace", "services", "addresses", "timeouts", "sysctls", "sync_daemons"]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(PARTS), st.one_of(ANYTHING, st.lists(ANYTHING, max_size=2))),
    st.dictionaries(st.sampled_from(["protocol", "scheduler_flags", "one_packet", "dests"]), ANYTHING, max_size=1),
)
def test_whatever_a_file_holds_is_read_or_refused_in_a_sentence(content, service):
    survives(partial(load_text, "web"), json.dumps(content))
    survives(partial(load_text, "web"), json.dumps({"services": [{**WEB, **service}]}))


def test_a_bare_host_can_be_checked_but_not_changed(world: World, monkeypatch: pytest.MonkeyPatch):
    def bare(namespace: str | None) -> MemoryKernel:
        raise UnavailableError("The kernel of this host has no IPVS at present; modprobe ip_vs")

    def task(params: dict[str, Any]) -> RestoreTask:
        host = Host(None, bare, world.addresses, world.files)
        return RestoreTask({"state": "present", "apply": True, "name": "web", **params}, host)

    with world.kernel.sealed():
        predicted = execute(task, {"services": [WEB]}, check=True)
    assert predicted["changed"] is True
    failed = refusal(task, {"services": [WEB]})
    assert "modprobe ip_vs" in failed["msg"]
    assert failed["changed"] is False
    assert world.files.names() == []


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"name": "../etc"}, ["name is '../etc'"]),
        (
            {"addresses": [{"address": "192.0.2.10/33", "interface": "eth0"}]},
            ["addresses[0]: address is '192.0.2.10/33'"],
        ),
        ({"addresses": [{"address": "192.0.2.10", "interface": "eth 0"}]}, ["interface is 'eth 0'"]),
        ({"addresses": [{"address": "224.0.0.1/32", "interface": "eth0"}]}, ["no interface can have"]),
        ({"addresses": [VIRTUAL, {**VIRTUAL, "address": "192.0.2.10"}]}, ["addresses[1] is", "second time"]),
        ({"services": [WEB, {**MAIL, "port": 99999}]}, ["services[1]: port is 99999"]),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(world: World, params, names):
    message = world.refusal(**params)
    assert all(name in message for name in names), message


def test_an_interface_that_is_not_there_fails_before_the_first_write(world: World):
    params = {"services": [WEB], "addresses": [{"address": "192.0.2.10/32", "interface": "eth9"}]}
    failed = refusal(world.task, params)
    assert "interface is 'eth9'" in failed["msg"]
    assert world.kernel.writes == []
    assert world.files.names() == []


def test_an_address_that_cannot_be_added_leaves_word_of_what_was_changed(world: World, monkeypatch: pytest.MonkeyPatch):
    def refuse(address: Address) -> None:
        raise PocketError(f"Could not add {address}: it needs root")

    monkeypatch.setattr(world.addresses, "add", refuse)
    assert refusal(world.task, {"addresses": [VIRTUAL]})["changed"] is False
    failed = refusal(world.task, {"addresses": [VIRTUAL], "services": [WEB]})
    assert (failed["changed"], world.services()) == (True, ["tcp 192.0.2.10:80"])


def test_a_declaration_does_not_move_between_namespaces(world: World):
    world.run(services=[WEB], namespace="blue")
    assert "remove it there first" in world.refusal(services=[WEB])


def test_files_are_replaced_as_a_whole_and_readable(tmp_path: Path):
    path = tmp_path / "new" / "file"
    Files().write(str(path), "one")
    Files().write(str(path), "two")
    assert path.read_text() == "two"
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]
    Files().remove(str(path))
    Files().remove(str(path))
    assert Files().read(str(path)) is None
