# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the role load_balanced_pool by ansible-playbook, on this machine, with modules that act on a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_SERVICE

ROOT = Path(__file__).resolve().parents[3]
SERVICE = {"address": "192.0.2.1", "port": 80, "scheduler": "rr"}
KEY = "tcp 192.0.2.1:80"
MEMBER = {"weight": 1, "forwarding": "masquerade"}
PLAY = [
    {
        "hosts": "directors",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_role": {"name": "pocket.cloud.load_balanced_pool", "tasks_from": "pools"}},
        ],
    }
]


class Cloud:
    """A director and a KVM host that are a file."""

    def __init__(self, directory: Path) -> None:
        self._state = directory / "state.json"
        self._collections = directory / "collections"
        self._directory = directory
        self._copy_collection()
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        store = {"kvm_host_store": str(directory / "store")}
        hosts = {"kvm_hosts": {"hosts": {"box": store}}, "directors": {"hosts": {"director": {}}}}
        (directory / "hosts.json").write_text(json.dumps({"all": {"vars": local, "children": hosts}}))
        (directory / "play.json").write_text(json.dumps(PLAY))
        (directory / "store").mkdir()
        (directory / "store" / "state.sqlite").touch()
        empty: dict[str, Any] = {"instances": [], "services": {}, "declarations": {}, "connections": {}}
        self.write({**empty, "launched": 0, "ipv6_cidr": None, "calls": []})

    def _copy_collection(self) -> None:
        copy = self._collections / "ansible_collections" / "pocket" / "cloud"
        for part in ("meta", "plugins", "roles"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "galaxy.yml", copy)
        runner = copy / "plugins" / "module_utils" / "_runner.py"
        stand_in = Path(__file__).with_name("stand_in_runner.py").read_text(encoding="utf-8")
        future = "from __future__ import annotations\n"
        runner.write_text(runner.read_text(encoding="utf-8") + stand_in.replace(future, ""), encoding="utf-8")

    def read(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        return state

    def write(self, state: Mapping[str, Any]) -> None:
        self._state.write_text(json.dumps(state), encoding="utf-8")

    def calls(self) -> list[dict[str, Any]]:
        """What the modules were asked since this was last looked at."""
        state = self.read()
        calls: list[dict[str, Any]] = state["calls"]
        self.write({**state, "calls": []})
        return calls

    def run(self, *arguments: str, ends: int = 0, **pool: Any) -> str:
        """Run the play over one pool; what ansible-playbook printed."""
        stated = {"name": "web", "image_id": "guest", "service": SERVICE, **pool}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "--inventory",
                str(self._directory / "hosts.json"),
                "--extra-vars",
                json.dumps({"load_balanced_pools": [stated], "__load_balanced_pool_kernel_table": str(self._state)}),
                *arguments,
                str(self._directory / "play.json"),
            ],
            env={
                **environment,
                "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
                "ANSIBLE_HOME": str(self._directory / "home"),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_NOCOLOR": "1",
                "POCKET_CLOUD_STATE": str(self._state),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == ends, done.stdout + done.stderr
        return done.stdout + done.stderr

    def holds(self, *pools: str, **more: Any) -> None:
        """Start with instances that are members of these pools: the first has the address 10.80.0.2, and so on."""
        numbers = range(1, len(pools) + 1)
        instances = [
            {
                "instance_id": f"i-{number:017x}",
                "private_ip_address": f"10.80.0.{number + 1}",
                "ipv6_address": None,
                "tags": {"pool": pool},
            }
            for number, pool in zip(numbers, pools)
        ]
        addresses = [one["private_ip_address"] for one in instances if one["tags"] == {"pool": "web"}]
        services = {KEY: {f"{address}:80": MEMBER for address in addresses}, **more.pop("services", {})}
        declarations: dict[str, Any] = {f"pool-{pool}": {} for pool in pools}
        state = {"instances": instances, "services": services, "declarations": declarations, "launched": len(pools)}
        self.write({**self.read(), **state, **more})


def changes(printed: str) -> int:
    found = re.search(r"director +: ok=\d+ +changed=(\d+)", printed)
    assert found, printed
    return int(found[1])


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_a_number_makes_the_pool_and_a_second_run_changes_nothing(cloud: Cloud) -> None:
    foreseen = cloud.run("--check", count=3)
    before = cloud.read()
    assert before["instances"] == []
    assert before["services"] == before["declarations"] == {}
    assert changes(foreseen) > 0

    cloud.run(count=3)
    state = cloud.read()
    assert [one["tags"] for one in state["instances"]] == [{"pool": "web"}] * 3
    assert state["services"] == {KEY: {f"10.80.0.{last}:80": MEMBER for last in (2, 3, 4)}}
    assert state["declarations"] == {"pool-web": {KEY: ["10.80.0.2", "10.80.0.3", "10.80.0.4"]}}

    cloud.calls()
    assert changes(cloud.run(count=3)) == 0
    asked = [call["module"] for call in cloud.calls()]
    assert asked == ["ec2like_instance", "ec2like_instance", "ipvs_service", "ipvs_restore"]


def test_who_leaves_is_drained_then_taken_off_then_terminated(cloud: Cloud) -> None:
    # A dest that nobody of the pool is has to go, too; of the connections one ends with each look at them.
    stranger = {"10.9.9.9:80": {"weight": 7, "forwarding": "direct"}}
    cloud.holds("web", "web", "web", connections={"10.80.0.2": 50, "10.80.0.3": 2, "10.80.0.4": 1})
    state = cloud.read()
    state["services"][KEY].update(stranger)
    cloud.write(state)

    assert changes(cloud.run("--check", count=1)) > 0
    assert cloud.read()["services"] == state["services"]
    assert cloud.read()["instances"] == state["instances"]
    cloud.calls()

    cloud.run(count=1)
    after = cloud.read()
    assert [one["private_ip_address"] for one in after["instances"]] == ["10.80.0.2"]
    assert after["services"] == {KEY: {"10.80.0.2:80": MEMBER}}
    assert after["declarations"] == {"pool-web": {KEY: ["10.80.0.2"]}}

    asked = [call for call in cloud.calls() if not call["check"]]
    leaving = [f"i-{number:017x}" for number in (2, 3)]
    weights = [{d["address"]: d["weight"] for d in one["params"].get("dests", [])} for one in asked]
    drained = weights.index({"10.80.0.3": 0, "10.80.0.4": 0})
    looks = [number for number, one in enumerate(asked) if one["module"] == "ipvs_info"]
    removed = weights.index({"10.80.0.2": 1, "10.9.9.9": 7})
    assert asked[removed]["params"]["purge_dests"]
    terminated = next(n for n, one in enumerate(asked) if one["params"].get("state") == "terminated")
    assert asked[terminated]["params"]["instance_ids"] == leaving
    assert looks[0] < drained < looks[1] <= looks[-1] < removed < terminated
    assert len(looks) == 3


def test_a_connection_that_does_not_end_is_waited_for_only_so_long(cloud: Cloud) -> None:
    cloud.holds("web", "web", connections={"10.80.0.3": 1000})
    cloud.run(count=1, drain_timeout=1)
    state = cloud.read()
    assert len(state["instances"]) == 1
    assert list(state["services"][KEY]) == ["10.80.0.2:80"]
    assert 0 < state["connections"]["10.80.0.3"] < 999


def test_absent_leaves_nothing_and_touches_no_other_pool(cloud: Cloud) -> None:
    mail = {"ipv4 mark 7": {"10.80.0.3:25": MEMBER}}
    cloud.holds("web", "mail", services=mail)
    cloud.run(state="absent")
    left = cloud.read()
    assert [one["tags"]["pool"] for one in left["instances"]] == ["mail"]
    assert left["services"] == mail
    assert list(left["declarations"]) == ["pool-mail"]
    assert changes(cloud.run(state="absent")) == 0


def test_a_pool_by_firewall_mark_asks_its_instances_on_a_port_of_their_own(cloud: Cloud) -> None:
    cloud.run(count=1, name="mail", service={"fwmark": 7}, port=25)
    assert cloud.read()["services"] == {"ipv4 mark 7": {"10.80.0.2:25": MEMBER}}
    launch = cloud.calls()[0]["params"]
    assert launch["wait_port"] == 25
    assert "source_dest_check" not in launch


def test_instances_that_answer_clients_themselves_may_do_so_from_the_services_address(cloud: Cloud) -> None:
    cloud.run(count=1, forwarding="direct")
    launches = [one["params"] for one in cloud.calls() if one["module"] == "ec2like_instance"]
    assert {one["source_dest_check"] for one in launches} == {False}


@pytest.mark.parametrize("stated", [None, ["web", "operators"], []])
def test_instances_are_in_the_security_groups_that_are_stated(cloud: Cloud, stated: list[str] | None) -> None:
    pool: dict[str, Any] = {} if stated is None else {"security_groups": stated}
    cloud.run(count=1, **pool)
    launches = [one["params"] for one in cloud.calls() if one["module"] == "ec2like_instance"]
    assert [one.get("security_groups") for one in launches] == [stated] * 2


def test_a_service_may_have_every_setting_that_ipvs_service_has() -> None:
    specs = yaml.safe_load((ROOT / "roles/load_balanced_pool/meta/argument_specs.yml").read_text(encoding="utf-8"))
    stated = specs["argument_specs"]["main"]["options"]["load_balanced_pool_service"]["options"]
    members = ("type", "elements", "choices")
    assert {name: {key: one[key] for key in members if key in one} for name, one in stated.items()} == {
        name: {key: one[key] for key in members if key in one}
        for name, one in IPVS_SERVICE.items()
        if name not in ("dests", "stats")
    }


def test_all_settings_of_a_service_come_to_the_kernel_and_to_the_declaration(cloud: Cloud) -> None:
    settings = {
        "scheduler": "mh",
        "scheduler_flags": ["mh-port"],
        "persistence_timeout": 300,
        "persistence_netmask": "24",
        "persistence_engine": "sip",
        "one_packet": True,
    }
    cloud.run(count=1, service={"protocol": "udp", "address": "192.0.2.1", "port": 5060, **settings})
    calls = [one for one in cloud.calls() if one["module"].startswith("ipvs_")]
    services = [one["params"] if one["module"] == "ipvs_service" else one["params"]["services"][0] for one in calls]
    assert len(services) > 1
    for service in services:
        assert settings.items() <= service.items()


@pytest.mark.parametrize("service", [{"address": "192.0.2.7", "port": 80}, {"address": "192.0.2.1", "port": 81}])
def test_a_service_that_moves_leaves_nothing_behind(cloud: Cloud, service: dict[str, Any]) -> None:
    cloud.run(count=2)
    others = {"tcp 192.0.2.9:25": {"10.9.9.9:25": MEMBER}}
    cloud.write({**cloud.read(), "services": {**cloud.read()["services"], **others}})
    cloud.run(count=2, service=service, port=80)
    state = cloud.read()
    moved = f"tcp {service['address']}:{service['port']}"
    assert state["services"] == {moved: {f"10.80.0.{last}:80": MEMBER for last in (2, 3)}, **others}
    assert state["declarations"] == {"pool-web": {moved: ["10.80.0.2", "10.80.0.3"]}}
    assert changes(cloud.run(count=2, service=service, port=80)) == 0


@pytest.mark.parametrize(
    ("service", "key"),
    [
        ({"address": "2001:db8::1", "port": 80}, "tcp 2001:db8::1:80"),
        ({"fwmark": 7, "family": "ipv6"}, "ipv6 mark 7"),
    ],
)
def test_instances_join_an_ipv6_service_by_their_ipv6_addresses(
    cloud: Cloud, service: dict[str, Any], key: str
) -> None:
    cloud.write({**cloud.read(), "ipv6_cidr": "fd00:80::/64"})
    assert changes(cloud.run("--check", count=2, service=service, port=80)) > 0
    cloud.run(count=2, service=service, port=80)
    assert cloud.read()["services"] == {key: {"fd00:80::2:80": MEMBER, "fd00:80::3:80": MEMBER}}
    assert changes(cloud.run(count=2, service=service, port=80)) == 0

    cloud.write({**cloud.read(), "connections": {"fd00:80::3": 1}})
    cloud.calls()
    cloud.run(count=1, service=service, port=80)
    assert cloud.read()["services"] == {key: {"fd00:80::2:80": MEMBER}}
    dests = [one["params"]["dests"] for one in cloud.calls() if one["module"] == "ipvs_service"]
    assert [one["weight"] for many in dests for one in many if one["address"] == "fd00:80::3"] == [0]


def test_a_tunnel_leads_from_an_ipv6_service_to_ipv4_addresses(cloud: Cloud) -> None:
    cloud.run(count=1, service={"address": "2001:db8::1", "port": 80}, forwarding="tunnel")
    assert list(cloud.read()["services"]["tcp 2001:db8::1:80"]) == ["10.80.0.2:80"]


def test_an_ipv6_service_without_ipv6_instances_is_refused_before_anything_changes(cloud: Cloud) -> None:
    service = {"address": "2001:db8::1", "port": 80}
    said = " ".join(cloud.run(ends=2, service=service).split())
    assert "the network pocket has no IPv6 subnet" in said
    assert cloud.read()["instances"] == []
    assert cloud.read()["services"] == {}

    cloud.holds("web")
    cloud.write({**cloud.read(), "ipv6_cidr": "fd00:80::/64"})
    before = cloud.read()["services"]
    said = " ".join(cloud.run(ends=2, count=2, service=service).split())
    assert "have no IPv6 address: i-00000000000000001;" in said
    assert len(cloud.read()["instances"]) == 1
    assert cloud.read()["services"] == before


@pytest.mark.parametrize(
    ("pool", "sentence"),
    [
        ({"name": "no/path"}, 'the name "no/path" cannot be used'),
        ({"count": -1}, "the count -1 of the pool web is out of range"),
        ({"count": "many"}, "count"),
        ({"scheduller": "rr"}, "scheduller"),
        ({"service": {"address": "192.0.2.1"}}, "state its address and port, or its fwmark"),
        ({"service": {"fwmark": 7}}, "state 1 to 65535"),
        ({"port": 8080, "forwarding": "direct"}, "forwarding direct cannot change it"),
        ({"service": {**SERVICE, "scheduler_flags": ["sh-prot"]}}, "sh-prot"),
        ({"image_id": ""}, "has no image_id"),
        ({"kvm_host": "nowhere"}, 'the kvm_host "nowhere" of the pool web is not in the inventory'),
    ],
)
def test_what_is_wrong_with_a_pool_is_said_before_anything_is_asked(
    cloud: Cloud, pool: dict[str, Any], sentence: str
) -> None:
    assert sentence in " ".join(cloud.run(ends=2, **pool).split())
    assert cloud.calls() == []
