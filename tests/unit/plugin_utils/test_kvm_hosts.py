# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KVM hosts of an inventory, the names of their instances, and the program that a host is sent."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.plugin_utils._ask import program
from ansible_collections.pocket.cloud.plugins.plugin_utils._carried import MARK
from ansible_collections.pocket.cloud.plugins.plugin_utils._inventory_names import inventory_names
from ansible_collections.pocket.cloud.plugins.plugin_utils._kvm_hosts import KvmHost, kvm_hosts


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kvm1", "names no KVM host"),
        (["kvm1"], "has no name"),
        ([{"host": "kvm1"}], "has no name"),
        ([{"name": "a b"}], "name is 'a b'"),
        ([{"name": "a"}, {"name": "a"}], "'a' is given twice"),
        ([{"name": "a", "host": "-oProxyCommand=x"}], "host is '-oProxyCommand=x', which ssh cannot take for one"),
        ([{"name": "a", "host": "h", "user": "-x"}], "user is '-x'"),
        ([{"name": "a", "host": "h;x"}], "host is 'h;x'"),
        ([{"name": "a", "host": "h", "port": 0}], "port is 0; it is 1 to 65535"),
        ([{"name": "a", "host": "h", "port": "22"}], "port is '22'; it is a whole number"),
        ([{"name": "a", "become": "maybe"}], "become is 'maybe'; it is true or false"),
        ([{"name": "a", "user": "root"}], "user is for a host that is reached by ssh"),
        ([{"name": "a", "host": "h", "ssh_args": "'"}], "ssh_args cannot be split"),
    ],
)
def test_what_is_no_kvm_host(given: Any, said: str) -> None:
    with pytest.raises(PocketError, match=r"^hosts: ") as caught:
        kvm_hosts(given)
    assert said in caught.value.message


def test_how_a_host_is_asked() -> None:
    (local, remote) = kvm_hosts([{"name": "a", "become": True}, {"name": "b", "host": "h", "ssh_args": "-F /x -o A=b"}])
    assert local.command(5) == ["sudo", "-n", "/usr/bin/python3", "-I", "-"]
    assert local.common_args() is None
    assert remote.command(0.5)[:7] == ["ssh", "-o", "BatchMode=yes", "-F", "/x", "-o", "A=b"]
    assert remote.command(0.5)[7:] == ["-o", "ConnectTimeout=1", "-T", "--", "h", "/usr/bin/python3 -I -"]


def test_the_way_through_a_host_survives_two_shells() -> None:
    host = KvmHost("a", host="h", user="u", port=7, private_key_file="/a 'key' %d", ssh_args="-o 'X=a b'")
    option, value = shlex.split(str(host.common_args()))
    assert option == "-o"
    proxy = shlex.split(value.removeprefix("ProxyCommand=").replace("%%", "%"))
    assert proxy[3:] == ["-p", "7", "-i", "/a 'key' %d", "-o", "X=a b", "-W", "[%h]:%p", "--", "u@h"]


def named(number: int, name: str | None, address: str = "", **tags: str) -> dict[str, Any]:
    tags = {**({"Name": name} if name else {}), **tags}
    return {"instance_id": f"i-{number}", "private_ip_address": address or None, "tags": tags}


def test_names_by_preference_and_each_once() -> None:
    preferred = ["tag:Name", "private-ip-address"]
    twins = [named(1, "web", "10.0.0.1"), named(2, "web", "10.0.0.2"), named(3, "db", "10.0.0.3"), named(4, None)]
    assert inventory_names(twins, preferred) == ["10.0.0.1", "10.0.0.2", "db", "i-4"]
    # Not even another's name of another kind, or its id.
    assert inventory_names([named(1, "10.0.0.2"), named(2, None, "10.0.0.2")], preferred) == ["i-1", "i-2"]
    assert inventory_names([named(1, "i-2"), named(2, None)], preferred) == ["i-1", "i-2"]
    assert inventory_names([named(1, "a", host="b")], ["tag:none", "tag:host"]) == ["b"]


@pytest.mark.parametrize("name", ["two words", "a/b", "../x", "-a", "a,b", "a:b", "all", "localhost", "[1:9]", "a\n"])
def test_tags_that_are_no_names(name: str) -> None:
    assert inventory_names([named(1, name)], ["tag:Name"]) == ["i-1"]


def test_the_program_brings_all_that_it_imports() -> None:
    # An isolated Python in another place sees nothing of the collection.
    text = program({"uri": "nonsense:///", "store": "/nowhere", "filters": {"tag:a": ("b",)}})
    done = subprocess.run([sys.executable, "-I", "-"], input=text, capture_output=True, text=True, check=True, cwd="/")
    answer = json.loads(done.stdout.strip().removeprefix(MARK))
    assert "nonsense:///" in answer["error"] or "The Python library libvirt" in answer["error"]
    assert done.stderr == ""


def test_the_program_refuses_filters_as_the_module_does() -> None:
    text = program({"uri": "test:///default", "store": "/nowhere", "filters": {"colour": ("red",)}})
    done = subprocess.run([sys.executable, "-I", "-"], input=text, capture_output=True, text=True, check=True)
    assert "'colour' is unknown" in done.stdout


def test_the_program_writes_nothing(tmp_path: Path) -> None:
    text = program({"uri": "test:///default", "store": str(tmp_path / "store"), "filters": None})
    subprocess.run([sys.executable, "-I", "-"], input=text, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
