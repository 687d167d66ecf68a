# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances listed on a real libvirtd, and a play that launches them, by ansible-playbook as an operator runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import (
    COLLECTIONS,
    PYTHON,
    ROOT,
    Host,
    arguments,
)
from ansible_collections.pocket.cloud.tests.unit.many_instances import many, write_host

PLAY = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/pocket.cloud.ec2like:
      store: {store}
  tasks:
    - name: Two instances
      pocket.cloud.ec2like_instance:
        image_id: guest
        exact_count: 2
        tags: {{pool: web}}
        vcpus: 1
        memory_mib: 128
        accel: tcg
        user_data: "#!/bin/sh\\n# s3cr3t\\n"
        wait_for: running
      register: launched
    - name: What there is
      pocket.cloud.ec2like_instance_info:
        filters:
          tag:pool: web
      register: found
    - name: Compare
      ansible.builtin.assert:
        that:
          - ansible_check_mode or found.instance_ids | sort == launched.instance_ids | sort
"""


@pytest.fixture
def cloud(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(host, store, idle_image(tmp_path))
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")


def test_filters_on_real_domains(cloud: Cloud) -> None:
    # A domain of somebody else is neither listed nor in the way.
    cloud.host.path("/tmp/own.xml").write_text(
        "<domain type='qemu'><name>i-am-somebody-else</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    cloud.host.virsh("define", "/tmp/own.xml")
    web = cloud.run(exact_count=2, tags={"pool": "web"})["instance_ids"]
    (database,) = cloud.run(name="db", private_ip_address="10.80.0.99")["instance_ids"]
    cloud.run(instance_ids=web[:1], state="stopped", stop_timeout=0)

    def found(**filters: Any) -> list[str]:
        listed = cloud.host.ok("ec2like_instance_info", store=cloud.store, filters=filters)
        assert listed["changed"] is False
        return list(listed["instance_ids"])

    assert found() == [*web, database]
    assert found(**{"instance-state-name": "stopped"}) == web[:1]
    assert found(**{"instance-state-name": ["running", "stopped"], "tag:pool": "w*"}) == web
    assert found(**{"private-ip-address": "10.80.0.9?"}) == [database]
    assert found(**{"network": "pocket", "tag-key": "Name"}) == [database]
    assert found(**{"image-id": "ami-*", "launch-index": 1}) == web[1:]
    failed = cloud.host.refused("ec2like_instance_info", store=cloud.store, filters={"colour": "red"})
    assert failed["error_code"] == "InvalidParameterValue"
    cloud.host.virsh("undefine", "i-am-somebody-else")


def test_reading_takes_one_call_an_instance_and_some_more(host: Host, tmp_path: Path) -> None:
    others = []
    for count in (20, 200):
        uri = write_host(tmp_path / f"{count}.xml", many(count))
        program = str(ROOT / "tests" / "bench" / "altered.py")
        command = [PYTHON, program, "ec2like_instance_info", f"calls={tmp_path}/calls"]
        done = host.run(command, text=arguments({"uri": uri, "store": "/nowhere"}))
        assert len(json.loads(done.stdout)["instances"]) == count
        calls = {name: told[0] for name, told in json.loads((tmp_path / "calls").read_text()).items()}
        assert calls.pop("virDomainGetXMLDesc") == count
        for name in ("virDomainGetName", "virDomainFree"):  # these ask nobody
            del calls[name]
        others.append(sum(calls.values()))
    assert others[0] == others[1] < 20


def test_a_play_in_check_mode_then_for_real_then_again(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY.format(store=cloud.store))
    shown = play(cloud, tmp_path, "--check", "--diff")
    assert "changed=1" in shown
    assert "+new instance 2:" in shown
    cloud.assert_nothing_left()
    shown = play(cloud, tmp_path, "-vvv", "--diff")
    assert "changed=1" in shown
    assert "s3cr3t" not in shown
    cloud.assert_whole(2)
    assert "changed=0" in play(cloud, tmp_path)


def play(cloud: Cloud, directory: Path, *options: str) -> str:
    settings = [f"ANSIBLE_COLLECTIONS_PATH={COLLECTIONS}", f"ANSIBLE_HOME={directory}", "ANSIBLE_NOCOLOR=1"]
    variables = json.dumps({"ansible_python_interpreter": PYTHON})
    command = ["-i", "localhost,", "-c", "local", "-e", variables, *options, str(directory / "play.yml")]
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return cloud.host.run(["env", *settings, sys.executable, program, *command]).stdout
