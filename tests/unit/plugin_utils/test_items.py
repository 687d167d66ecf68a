# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible refuses by its type or its choices is told with the item that it is about."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.plugin_utils._items import refused_item

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
GOOD = {"address": "192.0.2.10", "port": "80", "sched_name": "rr", "dests": [{"addr": "10.0.0.1", "weight": 2}]}


def lists(module: str) -> Any:
    return importlib.import_module(f"ansible_collections.pocket.cloud.plugins.action.{module}").ActionModule.LISTS


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"port": "many"}, "services[2]: argument 'port' is of type str"),
        ({"protocol": "gre"}, "services[2]: value of protocol must be one of: tcp, udp, sctp, got: gre"),
        ({"schedulre": "rr"}, "services[2]: schedulre is no option of it; it has address, dests"),
        ({"scheduler_flags": ["sh-prot"]}, "services[2]: value of scheduler_flags must be one or more of"),
        ({"dests": ["10.0.0.1"]}, "services[2]: dests[0]: it is '10.0.0.1'; give a dict"),
        (
            {"dests": [{"address": "10.0.0.1"}, {"port": 1}]},
            "services[2]: dests[1]: missing required arguments: address",
        ),
        (
            {"dests": [{"address": "10.0.0.1", "forwarding": "pigeon"}]},
            "services[2]: dests[0]: value of forwarding must be one of: masquerade, direct, tunnel, got: pigeon",
        ),
        ({"dests": [{"address": "10.0.0.1", "weigth": 1}]}, "services[2]: dests[0]: weigth is no option of it"),
        ({"dests": "10.0.0.1"}, "services[2]: "),
    ],
)
def test_the_item_is_named(bad: dict[str, Any], said: str):
    for module in ("ipvs_table", "ipvs_restore"):
        found = refused_item(lists(module), {"services": [GOOD, GOOD, {**GOOD, **bad}, GOOD]})
        assert found is not None
        assert found.startswith(said)


def test_what_is_good_has_no_such_item():
    assert refused_item(lists("ipvs_table"), {"services": [GOOD] * 3}) is None
    assert refused_item(lists("ipvs_table"), {"services": "none", "purge": True}) is None
    assert refused_item(lists("ipvs_service"), {"dests": GOOD["dests"]}) is None
    assert refused_item(lists("ipvs_zero"), {"services": [{"fwmark": 7}]}) is None
    daemon = {"daemon": "master", "interface": "eth0"}
    assert refused_item(lists("ipvs_restore"), {"services": [GOOD], "sync_daemons": [daemon]}) is None


def test_other_modules_name_theirs():
    assert "dests[1]: argument 'weight'" in str(
        refused_item(lists("ipvs_service"), {"dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.2", "weight": ""}]})
    )
    assert "services[0]: scheduler is no option" in str(
        refused_item(lists("ipvs_zero"), {"services": [{"fwmark": 7, "scheduler": "rr"}]})
    )
    assert "sync_daemons[0]: missing required arguments: daemon" in str(
        refused_item(lists("ipvs_restore"), {"sync_daemons": [{"interface": "eth0"}]})
    )


def test_a_play_tells_which_of_a_thousand_it_is(tmp_path: Path):
    services: list[Any] = [
        {"address": f"192.0.{number // 250}.{number % 250 + 1}", "port": 80} for number in range(1000)
    ]
    services[742] = {
        **services[742],
        "dests": [{"address": "10.0.0.1"}, {"address": "10.0.0.2", "forwarding": "pigeon"}],
    }
    play = [
        {"hosts": "localhost", "gather_facts": False, "tasks": [{"pocket.cloud.ipvs_table": {"services": services}}]}
    ]
    (tmp_path / "play.json").write_text(json.dumps(play))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.json"],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"services\[742\]: dests\[1\]: value of forwarding must be one of", done.stdout), done.stdout
    assert done.returncode == 2
