# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin by way of ansible-inventory itself; only what a KVM host answers is made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.plugin_utils._carried import MARK
from ansible_collections.pocket.cloud.tests.unit.many_instances import many

ROOT = Path(__file__).resolve().parents[3]
INSTANCES = [one.ec2() for one in many(3)]
# Python on a KVM host, as far as the plugin can tell: notes that it was called, and answers. A host's shell greets.
PYTHON = """#!/bin/sh
cat >/dev/null
echo "$@" >>{place}/calls
echo Welcome
cat {place}/answer
"""


class Bench:
    """Inventory files, and KVM hosts whose answers the test makes up."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def host(self, name: str = "here", instances: Any = INSTANCES, **stated: Any) -> dict[str, Any]:
        """A local KVM host; an answer that is a text is what it prints instead."""
        place = self.place / name
        place.mkdir(exist_ok=True)
        python = place / "python3"
        python.write_text(PYTHON.format(place=place))
        python.chmod(0o755)
        answer = instances if isinstance(instances, str) else MARK + json.dumps({"instances": instances})
        (place / "answer").write_text(answer)
        return {"name": name, "python": str(python), **stated}

    def calls(self, name: str = "here") -> list[str]:
        path = self.place / name / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def run(
        self, hosts: list[dict[str, Any]], *options: str, name: str = "x.ec2like.yml", **stated: Any
    ) -> tuple[dict[str, Any], str]:
        """What ansible-inventory lists, and what it says on standard error."""
        config = {"plugin": "pocket.cloud.ec2like", "hosts": hosts, **stated}
        (self.place / name).write_text(json.dumps(config))
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
            "ANSIBLE_HOME": str(self.place),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
            "PATH": f"{self.place}:{os.environ['PATH']}",
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        command = [sys.executable, str(Path(sys.executable).with_name("ansible-inventory"))]
        command += ["-i", str(self.place / name), "--list", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**kept, **settings})
        assert "Traceback" not in done.stderr
        return (json.loads(done.stdout) if done.returncode == 0 else {}), done.stderr

    def listed(self, *arguments: Any, **stated: Any) -> dict[str, Any]:
        """The inventory of a file that Ansible takes without a word."""
        found, said = self.run(*arguments, **stated)
        assert said == ""
        return found

    def refused(self, *arguments: Any, **stated: Any) -> str:
        found, said = self.run(*arguments, **stated)
        assert found == {}
        return " ".join(said.split())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def variables(inventory: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: plain(value) for key, value in inventory["_meta"]["hostvars"][name].items()}


def plain(value: Any) -> Any:
    """`value` without Ansible's marks of texts that are never evaluated."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return value["__ansible_unsafe"] if "__ansible_unsafe" in value else {k: plain(v) for k, v in value.items()}
    return value


def test_instances_with_all_that_is_known_of_them(bench: Bench) -> None:
    found = bench.listed([bench.host()])
    assert list(found["_meta"]["hostvars"]) == ["web-0", "web-1", "web-2"]
    known = variables(found, "web-1")
    assert known.pop("ansible_host") == "10.80.0.3"
    assert known.pop("ec2_kvm_host") == "here"
    assert known == {f"ec2_{name}": value for name, value in INSTANCES[1].items()}
    assert bench.calls() == ["-I -"]


def test_groups_and_variables_of_ones_own(bench: Bench) -> None:
    found, said = bench.run(
        [bench.host()],
        hostvars_prefix="",
        compose={"ansible_host": "private_ip_address ~ '.example.org'", "half": "memory_mib // 2"},
        groups={"odd": "ami_launch_index is odd", "halved": "half == 256"},
        keyed_groups=[{"key": "tags.pool", "prefix": "p"}, {"key": "kvm_host", "separator": ""}],
        kvm_host_groups=True,
    )
    assert "reserved name 'tags'" in said  # which is why there is a prefix
    assert variables(found, "web-0")["ansible_host"] == "10.80.0.2.example.org"
    assert variables(found, "web-0")["half"] == 256
    assert variables(found, "web-0")["tags"] == {"Name": "web-0", "pool": "pool0"}
    assert found["odd"]["hosts"] == ["web-1"]
    assert len(found["halved"]["hosts"]) == 3
    assert found["p_pool2"]["hosts"] == ["web-2"]
    assert found["here"]["hosts"] == found["kvm_host_here"]["hosts"] == ["web-0", "web-1", "web-2"]


def test_strict(bench: Bench) -> None:
    wrong = {"compose": {"a": "no_such_variable + 1"}}
    assert "a" not in variables(bench.listed([bench.host()], **wrong), "web-0")
    assert "Could not set a for host web-0" in bench.refused([bench.host()], strict=True, **wrong)


def test_tags_are_data(bench: Bench) -> None:
    evil = "{{ lookup('ansible.builtin.pipe', 'echo evaluated') }}"
    instance = {**INSTANCES[0], "tags": {"Name": evil, "x": evil}}
    found = bench.listed([bench.host(instances=[instance])], compose={"copied": "tags.x"})
    (name,) = found["_meta"]["hostvars"]
    assert name == instance["instance_id"]
    assert variables(found, name)["ec2_tags"]["x"] == variables(found, name)["copied"] == evil


def test_a_name_that_a_group_has_is_passed_over(bench: Bench) -> None:
    """Ansible would take the host for the group, and put that and all of its hosts where the host belongs."""
    names = ("kvm_host_here", "mine", "pool_web")
    instances = [{**one, "tags": {"Name": name, "pool": "web"}} for one, name in zip(INSTANCES, names)]
    found, said = bench.run(
        [bench.host(instances=instances)],
        kvm_host_groups=True,
        groups={"mine": "true"},
        keyed_groups=[{"key": "tags.pool", "prefix": "pool"}],
    )
    ids = [one["instance_id"] for one in INSTANCES]
    expected = [ids[0], ids[1], "pool_web"]
    assert list(found["_meta"]["hostvars"]) == expected
    for group in ("kvm_host_here", "mine", "pool_web"):
        assert sorted(found[group]["hosts"]) == sorted(expected)
        assert "children" not in found[group]
    assert "Found both group and host with same name: pool_web" in " ".join(said.split())


@pytest.mark.parametrize("answer", ["[]", "{}", "null", '{"instances": {}}'])
def test_an_answer_that_is_none(bench: Bench, answer: str) -> None:
    said = bench.refused([bench.host("b", MARK + answer)])
    assert "Cannot ask the KVM host b (this machine): its answer is none that could be understood" in said


def test_several_hosts_of_which_one_is_down(bench: Bench) -> None:
    hosts = [bench.host("a", INSTANCES[:1]), bench.host("b", "Segmentation fault"), bench.host("c", INSTANCES[1:])]
    found, said = bench.run(hosts, unreachable="warn")
    assert list(found["_meta"]["hostvars"]) == ["web-0", "web-1", "web-2"]
    said = " ".join(said.split())
    assert "[WARNING]: Cannot ask the KVM host b (this machine): " in said
    assert "the inventory goes on without them" in said
    assert "Cannot ask the KVM host b" in bench.refused(hosts)
    told = MARK + json.dumps({"error": "libvirtd isn't running on this host"})
    said = bench.refused([bench.host("b", told)])
    assert "Cannot list the instances of the KVM host b (this machine): libvirtd isn't running on this host" in said


def test_what_a_host_says_beside_its_answer(bench: Bench) -> None:
    tagged = [{**INSTANCES[0], "tags": {"Name": f"{MARK}x"}}]
    answer = MARK + json.dumps({"instances": tagged})
    listed, _said = bench.run([bench.host(instances=answer + "\nBye")])
    (variables,) = listed["_meta"]["hostvars"].values()
    assert f"{MARK}x" in json.dumps(variables["ec2_tags"])
    here = bench.host()
    (bench.place / "here" / "answer").write_bytes(b"caf\xe9\n" + answer.encode())
    broken = bench.host("broken", instances=answer[:-9])
    listed, said = bench.run([here, broken], unreachable="warn")
    assert len(listed["_meta"]["hostvars"]) == 1
    assert "its answer broke off" in " ".join(said.split())


def test_a_host_that_hangs(bench: Bench) -> None:
    slow = bench.host()
    Path(slow["python"]).write_text("#!/bin/sh\nsleep 60\n")
    assert "it did not answer within 0.2 s" in bench.refused([slow], timeout=0.2)
    missing = bench.host(python="/nowhere/python3")
    assert "No such file or directory: /nowhere/python3" in bench.refused([missing])


def test_the_cache(bench: Bench) -> None:
    cache: dict[str, Any] = {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(bench.place / "cache"),
    }
    hosts = [bench.host("a", INSTANCES[:1]), bench.host("b", "down")]
    fresh = bench.run(hosts, unreachable="warn", **cache)[0]
    assert len(bench.calls("a")) == len(bench.calls("b")) == 1
    # What did not answer is asked again, what did is not.
    hosts[1] = bench.host("b", INSTANCES[1:])
    both = bench.listed(hosts, unreachable="warn", **cache)
    assert (len(fresh["_meta"]["hostvars"]), len(both["_meta"]["hostvars"])) == (1, 3)
    bench.host("a", [])
    assert bench.listed(hosts, unreachable="warn", **cache) == both
    assert (len(bench.calls("a")), len(bench.calls("b"))) == (1, 2)
    # Another question is another answer, and so is one that is to be fresh.
    assert len(bench.listed(hosts, filters={"tag:a": "b"}, **cache)["_meta"]["hostvars"]) == 2
    assert len(bench.calls("a")) == 2
    bench.listed(hosts, "--flush-cache", filters={"tag:a": "b"}, **cache)
    assert len(bench.calls("a")) == 3
    # Without a cache each run asks.
    bench.listed(hosts)
    bench.listed(hosts)
    assert len(bench.calls("a")) == 5


def test_what_is_sent_to_a_host(bench: Bench) -> None:
    (bench.place / "ssh").write_text(f'#!/bin/sh\necho "$@" >{bench.place}/args\ncat >{bench.place}/sent\nexit 255\n')
    (bench.place / "ssh").chmod(0o755)
    remote = {"name": "r", "host": "192.0.2.1", "user": "root", "port": 2222, "become": True}
    said = bench.refused([remote], filters={"tag:a": ["b", 1]}, timeout=7)
    assert "Cannot ask the KVM host r (ssh root@192.0.2.1): ssh ended with status 255: it said nothing" in said
    arguments = (bench.place / "args").read_text()
    assert arguments == (
        "-o BatchMode=yes -p 2222 -o ConnectTimeout=7 -T -- root@192.0.2.1 sudo -n /usr/bin/python3 -I -\n"
    )
    request = (bench.place / "sent").read_text().splitlines()[-1]
    assert "'filters': {'tag:a': ('b', '1'), 'instance-state-name': ('running',)}" in request
    bench.refused([remote], filters={"instance-state-code": 80})
    assert "'filters': {'instance-state-code': ('80',)}" in (bench.place / "sent").read_text().splitlines()[-1]


def test_instances_of_a_remote_host_are_reached_through_it(bench: Bench) -> None:
    (bench.place / "ssh").write_text(f"#!/bin/sh\ncat >/dev/null\ncat {bench.place}/r/answer\n")
    (bench.place / "ssh").chmod(0o755)
    remote = {**bench.host("r"), "host": "192.0.2.1", "private_key_file": "/k e%y"}
    known = variables(bench.listed([remote]), "web-0")
    assert known["ansible_host"] == "10.80.0.2"
    assert known["ansible_ssh_common_args"] == (
        """-o 'ProxyCommand=ssh -o BatchMode=yes -i '"'"'/k e%%y'"'"' -W '"'"'[%h]:%p'"'"' -- 192.0.2.1'"""
    )
    assert "ansible_ssh_common_args" not in variables(bench.listed([{**remote, "jump": False}]), "web-0")


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"hosts": []}, "hosts: names no KVM host"),
        (
            {"hosts": [{"name": "a", "prot": 1}]},
            "the 1. host has 'prot', which is unknown; did you mean 'port'?",
        ),
        ({"filters": {"colour": "red"}}, "filters: 'colour' is unknown"),
        ({"hostnames": ["name"]}, "hostnames: 'name' is unknown; known are instance-id"),
        ({"timeout": 0}, "timeout: 0"),
        ({"timeout": "nan"}, "timeout: nan is no time"),
        ({"timeout": "inf"}, "timeout: inf is no time"),
        ({"hosts": [{"name": "a", "python": "/usr/bin/python3\0"}]}, "python is '/usr/bin/python3\\x00'; it has a NUL"),
        ({"hosts": [{"name": "a", "host": "b", "ssh_args": "-o a\0"}]}, "it has a NUL"),
        ({"unreachable": "ignore"}, "fail, warn"),
        ({"hosts": "TWICE"}, "hosts: a and b are the same KVM host, for both have the instance i-00000000000000000"),
    ],
)
def test_bad_input(bench: Bench, stated: dict[str, Any], said: str) -> None:
    hosts: Any = stated.get("hosts", [bench.host("a")])
    if hosts == "TWICE":
        hosts = [bench.host("a"), bench.host("b")]
    options = {name: value for name, value in stated.items() if name != "hosts"}
    assert said in bench.refused(hosts, **options)


def test_which_files_are_its_own(bench: Bench) -> None:
    assert "web-0" in bench.listed([bench.host()], name="ec2like.yaml")["_meta"]["hostvars"]
    assert "web-0" not in bench.refused([bench.host()], name="other.yml")
