# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends and answers of the kernel's table, with a scripted kernel at the other end of the socket."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs import modules, namespaces, wire
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.config_task import ConfigTask, DaemonTask, ZeroTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.daemon import Daemon, DaemonWrite
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.declaration import parse_wanted
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.info import TableInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.model import ServiceKey
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.netlink import Kernel, UnavailableError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.plan import make_plan, outcome
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.restore_task import RestoreTask
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import BulkTask, DestTask, ServiceTask

WEB = {"address": "192.0.2.10", "port": 80}
KEY = ServiceKey(address="192.0.2.10", port=80)


class ScriptedSocket:
    """Answers each message of a send with the errno that `answer` gives for its command."""

    def __init__(self, answer: Callable[[int], int]) -> None:
        self._answer = answer
        self.sends: list[list[int]] = []
        self._pending = b""

    def sendto(self, data: bytes, address: tuple[int, int]) -> None:
        commands = []
        while data:
            length, _type, _flags, sequence, _port = struct.unpack_from("=IHHII", data)
            commands.append(data[16])
            code = self._answer(data[16])
            if code != errno.EINTR:  # the only one that the kernel does not send
                self._pending += struct.pack("=IHHIIi", 36, wire.NLMSG_ERROR, 0, sequence, 0, -code) + bytes(16)
            data = data[(length + 3) & ~3 :]
        self.sends.append(commands)

    def recv(self, size: int) -> bytes:
        data, self._pending = self._pending, b""
        if not data:
            raise BlockingIOError
        return data


def kernel(answer: Callable[[int], int] = lambda command: 0) -> Any:
    made: Any = object.__new__(Kernel)
    made._socket = ScriptedSocket(answer)
    made._sequence = 0
    made._family = 30
    return made


def test_64_messages_go_in_one_send_and_kinds_never_share_one():
    many = [{"address": f"10.0.0.{number}"} for number in range(1, 101)]
    current = outcome({}, make_plan({}, [parse_wanted({**WEB, "dests": many[:2]})]))
    wanted = {**WEB, "scheduler": "rr", "dests": many[1:], "purge_dests": True}
    driven = kernel()
    driven.apply(make_plan(current, [parse_wanted(wanted)]))
    assert [len(send) for send in driven._socket.sends] == [64, 34, 1, 1]
    assert [set(send) for send in driven._socket.sends] == [{5}, {5}, {2}, {7}]


def test_the_first_refusal_ends_it_and_tells_whether_anything_was_written():
    plan = make_plan({}, [parse_wanted({**WEB, "dests": [{"address": "10.0.0.1"}]})])
    with pytest.raises(PocketError) as caught:
        kernel(lambda command: errno.EINVAL if command == 5 else 0).apply(plan)
    assert caught.value.changed is True
    assert caught.value.message.startswith("Could not create the dest tcp 192.0.2.10:80 -> 10.0.0.1:80: ")
    with pytest.raises(PocketError) as caught:
        kernel(lambda command: errno.EPERM).apply(plan)
    assert caught.value.changed is False


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (errno.EPERM, ["CAP_NET_ADMIN", "become: true"]),
        (errno.ENOENT, ["does not have scheduler wlc", "modprobe ip_vs_wlc"]),
        (errno.EEXIST, ["another program", "run the task again"]),
        (errno.ENOMEM, ["ENOMEM"]),
    ],
)
def test_refusals_of_a_service_name_the_way_out(code: int, names: list[str]):
    with pytest.raises(PocketError) as caught:
        kernel(lambda command: code).apply(make_plan({}, [parse_wanted(WEB)]))
    assert all(name in caught.value.message for name in names), caught.value.message


def test_a_missing_persistence_engine_is_named_with_its_module():
    sip = {**WEB, "protocol": "udp", "persistence_timeout": 9, "persistence_engine": "sip"}
    with pytest.raises(PocketError, match="modprobe ip_vs_wlc ip_vs_pe_sip"):
        kernel(lambda command: errno.ENOENT).apply(make_plan({}, [parse_wanted(sip)]))


def test_a_service_that_is_not_there_is_no_error():
    assert kernel(lambda command: errno.ESRCH).read([KEY]) == {}


def test_a_read_that_is_not_permitted_says_so():
    with pytest.raises(PocketError, match=r"Could not read the virtual service tcp .* CAP_NET_ADMIN"):
        kernel(lambda command: errno.EPERM).read([KEY])


def test_a_kernel_without_the_family():
    with pytest.raises(UnavailableError, match="modprobe ip_vs"):
        kernel(lambda command: errno.ENOENT)._find_family()


def test_an_unknown_namespace_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(namespaces, "NAMESPACES", str(tmp_path))
    with pytest.raises(PocketError, match=r"namespace is 'blue', but .*ip netns add blue"), namespaces.inside("blue"):
        pass


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that has rr loaded, wrr and wlc on disk, and nothing else."""
    release = tmp_path / "modules" / "6.1.0-test"
    (tmp_path / "loaded" / "ip_vs_rr").mkdir(parents=True)
    release.mkdir(parents=True)
    (release / "modules.dep").write_text("kernel/net/ip_vs_wrr.ko.xz: kernel/net/ip_vs.ko.xz\n")
    (release / "modules.builtin").write_text("kernel/net/ip_vs_wlc.ko\n")
    monkeypatch.setattr(modules, "_LOADED", str(tmp_path / "loaded"))
    monkeypatch.setattr(modules, "_LOADABLE", str(tmp_path / "modules"))

    class Uname:
        release = "6.1.0-test"

    monkeypatch.setattr(os, "uname", Uname)
    return release


def test_schedulers_that_are_loaded_loadable_or_built_in_pass(host: Path):
    modules.require(["rr", "wrr", "wlc"], [])


def test_a_scheduler_and_an_engine_that_cannot_be_loaded_are_named(host: Path):
    with pytest.raises(PocketError, match=r"scheduler is twos, but kernel 6\.1\.0-test .* module ip_vs_twos"):
        modules.require(["rr", "twos"], [])
    with pytest.raises(PocketError, match=r"persistence_engine is sip, .* ip_vs_pe_sip"):
        modules.require([], ["sip"])


def test_a_host_that_does_not_tell_refuses_nothing(host: Path):
    (host / "modules.dep").unlink()
    modules.require(["twos"], ["sip"])


TASKS: list[Callable[[dict[str, Any]], Any]] = [
    lambda params: ServiceTask({**WEB, "state": "present", **params}),
    lambda params: DestTask({"service": WEB, "address": "10.0.0.1", "state": "present", **params}),
    BulkTask,
    TableInfoTask,
    lambda params: ConfigTask({"persistent": True, **params}),
    lambda params: DaemonTask({"daemon": "master", "state": "present", **params}),
    ZeroTask,
    lambda params: RestoreTask({"name": "web", "state": "present", "apply": True, **params}),
]


@pytest.mark.parametrize("name", ["", ".", "..", "../net", "/proc/1/ns/net", "blue\0", "a" * 256])
def test_what_is_no_name_of_a_namespace_is_refused_before_anything_is_read(name: str):
    for make in TASKS:
        with pytest.raises(PocketError, match="namespace is ") as caught:
            make({"namespace": name})
        assert "ip netns list" in caught.value.message


def test_a_dest_of_another_family_beside_a_sync_daemon_is_told():
    dest = {"address": "fd00::1", "forwarding": "tunnel"}
    plan = make_plan({}, [parse_wanted({**WEB, "dests": [dest]})])
    with pytest.raises(PocketError, match="while a sync daemon runs"):
        kernel(lambda command: errno.EINVAL if command == 5 else 0).apply(plan)


def test_an_answer_that_does_not_come_is_not_waited_for():
    silent = kernel(lambda command: errno.EINTR if command in (2, 4, 10) else 0)
    running = Daemon("master", "lo", 1, 1400, "224.0.0.81", 8848, 1)
    silent.write_daemon(DaemonWrite(running, None))  # stopped before it had run, which is stopped
    with pytest.raises(PocketError, match="EINTR"):
        silent.read([KEY])
    current = outcome({}, make_plan({}, [parse_wanted(WEB)]))
    with pytest.raises(PocketError, match=r"Could not edit the virtual service .* the kernel answered EINTR"):
        silent.apply(make_plan(current, [parse_wanted({**WEB, "scheduler": "rr"})]))
