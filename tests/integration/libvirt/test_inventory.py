# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories of real KVM hosts: of the host itself, of one by ssh, of a thousand instances; and a play in guests.

The controller is a network namespace of the private host that reaches its ssh server, and none of its guests.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import (
    COLLECTIONS,
    PYTHON,
    Host,
    Run,
    wait_until,
)
from ansible_collections.pocket.cloud.tests.unit.many_instances import many, write_host

WEB = {"pool": "web"}
# A host and a guest of the test's have host keys that nobody knows.
STRANGERS = "-F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Ask the guest who it is
      ansible.builtin.raw: cat /run/instance-id
      changed_when: false
      register: told
    - name: Compare
      ansible.builtin.assert:
        that: told.stdout | trim == ec2_instance_id
"""


class Controller:
    """Where Ansible runs, with the ssh key that lets it in everywhere."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.key = directory / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.public_key = self.key.with_suffix(".pub").read_text()
        self._namespace()
        self._ssh_server()

    def _namespace(self) -> None:
        for command in (
            "ip netns add controller",
            "ip link add controller0 type veth peer name eth0 netns controller",
            "ip address add 192.0.2.1/30 dev controller0",
            "ip link set controller0 up",
            "ip -n controller address add 192.0.2.2/30 dev eth0",
            "ip -n controller link set eth0 up",
        ):
            self.host.run(command.split())

    def _ssh_server(self) -> None:
        """A server that lets root in under a name whose home is not the machine's own root's."""
        home = self.host.path("/run/operator")
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        (home / ".ssh" / "authorized_keys").write_text(self.public_key)
        with self.host.path("/etc/passwd").open("a") as users:
            users.write("operator:x:0:0::/run/operator:/bin/sh\n")
        self.host.path("/etc/dropbear").mkdir(exist_ok=True)
        pid_file = "/run/operator/dropbear.pid"
        self.host.run(["dropbear", "-R", "-s", "-P", pid_file, "-p", "192.0.2.1:2222"])
        self._server = wait_until("dropbear", lambda: self._pid(self.host.path(pid_file)))

    @staticmethod
    def _pid(path: Path) -> str:
        return path.read_text().strip() if path.exists() else ""

    def close(self) -> None:
        self.host.run(["kill", self._server])
        self.host.run(["ip", "link", "delete", "controller0"])
        self.host.run(["ip", "netns", "delete", "controller"])
        users = self.host.path("/etc/passwd")
        others = [line for line in users.read_text().splitlines(True) if not line.startswith("operator:")]
        users.write_text("".join(others))
        shutil.rmtree(self.host.path("/run/operator"))

    @property
    def kvm_host(self) -> dict[str, Any]:
        """The private host as an inventory names it."""
        reached = {"host": "192.0.2.1", "port": 2222, "user": "operator"}
        return {"name": "kvm1", **reached, "private_key_file": str(self.key), "ssh_args": STRANGERS}

    def run(self, program: str, hosts: list[dict[str, Any]], *options: str, **stated: Any) -> Run[str]:
        config = {"plugin": "pocket.cloud.ec2like", "hosts": hosts, **stated}
        (self.directory / "test.ec2like.yml").write_text(json.dumps(config))
        settings = [f"ANSIBLE_COLLECTIONS_PATH={COLLECTIONS}", f"ANSIBLE_HOME={self.directory}", "ANSIBLE_NOCOLOR=1"]
        settings.append("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=true")
        command = ["ip", "netns", "exec", "controller", "env", *settings, sys.executable]
        command += [str(Path(sys.executable).with_name(program)), "-i", str(self.directory / "test.ec2like.yml")]
        return self.host.run([*command, *options], check=False)

    def listed(self, hosts: list[dict[str, Any]], **stated: Any) -> dict[str, Any]:
        """The variables of each host."""
        done = self.run("ansible-inventory", hosts, "--list", **stated)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["_meta"]["hostvars"]  # type: ignore[no-any-return]


@pytest.fixture
def controller(host: Host, tmp_path: Path) -> Iterator[Controller]:
    made = Controller(host, tmp_path)
    yield made
    made.close()


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, guest_image)


def clean_cloud(host: Host, store: str, image: Path) -> Iterator[Cloud]:
    made = Cloud(host, store, image)
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")


def test_what_a_host_has_is_listed_here_and_by_ssh(idle: Cloud, controller: Controller) -> None:
    web = idle.run(exact_count=2, tags=WEB)["instances"]
    (stopped,) = idle.run(name="off")["instance_ids"]
    idle.run(name="off", state="stopped", stop_timeout=0)
    here = {"name": "here", "store": idle.store, "python": PYTHON}
    there = {**controller.kvm_host, "store": idle.store}
    for kvm_host in (here, there):
        found = controller.listed([kvm_host], hostnames=["instance-id"])
        assert set(found) == {one["instance_id"] for one in web}
        for one in web:
            known = found[one["instance_id"]]
            assert known["ansible_host"] == {"__ansible_unsafe": one["private_ip_address"]}
            assert known["ec2_tags"] == {"pool": {"__ansible_unsafe": "web"}}
            assert ("ansible_ssh_common_args" in known) == (kvm_host is there)
        assert set(controller.listed([kvm_host], filters={"instance-state-name": "stopped"})) == {"off"}
        assert controller.listed([kvm_host], filters={"tag:pool": "none"}) == {}
    assert stopped not in found


def test_hosts_that_do_not_answer(idle: Cloud, controller: Controller) -> None:
    idle.run(name="a")
    there = {**controller.kvm_host, "store": idle.store}
    down = {**there, "name": "down", "port": 1}
    done = controller.run("ansible-inventory", [there, down], "--list", unreachable="warn")
    assert set(json.loads(done.stdout)["_meta"]["hostvars"]) == {"a"}
    assert "Cannot ask the KVM host down (ssh operator@192.0.2.1)" in " ".join(done.stderr.split())
    assert "Connection refused" in " ".join(done.stderr.split())
    done = controller.run("ansible-inventory", [there, down], "--list")
    assert done.returncode != 0
    idle.host.stop_libvirtd()
    try:
        done = controller.run("ansible-inventory", [there], "--list")
        assert done.returncode != 0
        assert "libvirtd isn't running on this host" in " ".join(done.stderr.split())
    finally:
        idle.host.start_libvirt()


def test_a_play_in_guests_behind_their_host(cloud: Cloud, controller: Controller) -> None:
    cloud.host.ok("ec2like_key", store=cloud.store, name="test", key_material=controller.public_key)
    ids = cloud.run(exact_count=2, tags=WEB, key_name="test", wait=True, wait_port=22)["instance_ids"]
    (controller.directory / "play.yml").write_text(PLAY)
    done = controller.run(
        "ansible-playbook",
        [{**controller.kvm_host, "store": cloud.store}],
        *("-u", "root", "--private-key", str(controller.key), "--ssh-extra-args", STRANGERS),
        str(controller.directory / "play.yml"),
        hostnames=["instance-id"],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for instance_id in ids:
        assert re.search(f"^{instance_id} +: ok=2 +changed=0 +unreachable=0 +failed=0", done.stdout, re.MULTILINE)
    cloud.host.ok("ec2like_key", store=cloud.store, name="test", state="absent")


def test_a_thousand_instances(controller: Controller, tmp_path: Path) -> None:
    uri = write_host(tmp_path / "host.xml", many(1000))
    found = controller.listed([{"name": "many", "uri": uri, "store": "/nowhere", "python": PYTHON}])
    assert len(found) == 900  # every tenth is stopped
    assert found["web-998"]["ansible_host"] == {"__ansible_unsafe": "10.80.3.250"}
