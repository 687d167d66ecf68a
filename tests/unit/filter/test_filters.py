# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters as plays use them: found by name, documented, and their refusals are Ansible's, in a sentence."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

ROOT = Path(__file__).resolve().parents[3]
FILTERS = sorted(path.stem for path in (ROOT / "plugins" / "filter").glob("*.py"))
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_LOCALHOST_WARNING": "0",
}

SAVED = """\
-A -t 192.0.2.10:80 -s wrr
-a -t 192.0.2.10:80 -r 10.0.0.1:8080 -m -w 3 -x 0 -y 0
"""
LDIRECTORD = """\
virtual=192.0.2.10:80
    protocol=tcp
    real=10.0.0.1:8080 masq 3
    checktype=ping
"""
PLAY = [
    {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "saved": SAVED,
            "ldirectord": LDIRECTORD,
            "services": "{{ saved | pocket.cloud.from_ipvsadm }}",
            "kept": "{{ ldirectord | pocket.cloud.from_ldirectord }}",
        },
        "tasks": [
            {
                "name": "All filters say the same",
                "ansible.builtin.assert": {
                    "that": [
                        "services[0].dests[0].weight == 3",
                        "services | pocket.cloud.to_ipvsadm == saved",
                        "(services | pocket.cloud.to_keepalived | pocket.cloud.from_keepalived).services == services",
                        "kept.services == services",
                        "kept.aside == [{'line': 4, 'path': ['virtual=192.0.2.10:80'], 'text': 'checktype=ping'}]",
                    ]
                },
            },
            {
                "name": "A refusal",
                "ansible.builtin.debug": {"msg": "{{ '-A -t www:80' | pocket.cloud.from_ipvsadm }}"},
                "ignore_errors": True,
                "register": "refused",
            },
            {"name": "What it says", "ansible.builtin.debug": {"var": "refused.msg"}},
        ],
    }
]


def run(*command: Any) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_play_uses_each_filter(tmp_path: Path):
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump(PLAY), encoding="utf-8")
    assert all(f"pocket.cloud.{name}" in book.read_text(encoding="utf-8") for name in FILTERS)
    said = run("ansible-playbook", "-i", "localhost,", "-c", "local", book)
    assert "pocket.cloud.from_ipvsadm: line 1: 'www:80' is no address" in said
    assert "Traceback" not in said


def test_each_filter_is_documented():
    found = json.loads(run("ansible-doc", "-t", "filter", "--json", *(f"pocket.cloud.{name}" for name in FILTERS)))
    assert sorted(found) == [f"pocket.cloud.{name}" for name in FILTERS]
    for name in FILTERS:
        entry = found[f"pocket.cloud.{name}"]
        assert entry["doc"]["short_description"]
        assert f"pocket.cloud.{name}" in entry["examples"]
        assert entry["return"]["_value"]["description"]


@pytest.mark.parametrize("name", FILTERS)
def test_a_wrong_type_is_an_error_of_the_filter(name: str):
    module = importlib.import_module(f"ansible_collections.pocket.cloud.plugins.filter.{name}")
    convert = module.FilterModule().filters()[name]
    with pytest.raises(AnsibleFilterError, match=rf"pocket\.cloud\.{name}: The input is of type int; give "):
        convert(5)
