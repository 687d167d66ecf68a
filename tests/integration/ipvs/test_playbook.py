# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules by ansible-playbook, packed and sent as to any target."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import COLLECTIONS, saved

PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_connection: local
    ansible_python_interpreter: /usr/bin/python3
  tasks:
    - name: Declare a service with a dest
      pocket.cloud.ipvs_restore:
        name: web
        services:
          - address: 192.0.2.10
            port: 80
            scheduler: wrr
            persistence_timeout: 300
            persistence_netmask: 24
            dests:
              - address: 10.0.0.1
                forwarding: masquerade
                weight: 3
"""

SAVED = [
    "-A -t 192.0.2.10:80 -s wrr -p 300 -M 255.255.255.0",
    "-a -t 192.0.2.10:80 -r 10.0.0.1:80 -m -w 3",
]


@pytest.fixture
def clean(_ipvs: None) -> Iterator[None]:
    yield
    subprocess.run(["ipvsadm", "-C"], check=True)
    for place in ("/etc/pocket-cloud", "/usr/local/lib/pocket-cloud"):
        shutil.rmtree(place, ignore_errors=True)


def play(path: Path, *options: str) -> tuple[str, str]:
    """The whole output, and what the recap says of changes."""
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1", "HOME": str(path.parent)}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", *options, str(path)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    recap = re.search(r"changed=\d+", done.stdout)
    assert recap
    return done.stdout, recap.group()


def test_a_play_changes_once(clean: None, tmp_path: Path):
    path = tmp_path / "play.yml"
    path.write_text(PLAY)
    output, recap = play(path, "--diff")
    assert recap == "changed=1"
    assert "+  persistence_timeout: 300" in output
    assert saved() == SAVED
    assert play(path)[1] == "changed=0"
    # The program came along in the module's package.
    command = ["/usr/bin/python3", "-m", "pocket_cloud._ipvs.restore"]
    environment = {"PYTHONPATH": "/usr/local/lib/pocket-cloud", "PATH": os.environ["PATH"]}
    subprocess.run(["ipvsadm", "-C"], check=True)
    subprocess.run(command, env=environment, check=True)
    assert saved() == SAVED
