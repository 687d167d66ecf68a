# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the IPVS modules take beside ipvsadm: packs each call as Ansible sends it, and runs them in one test kernel.

What is compared are whole processes on the target: Debian's Python with the module as Ansible packs it, and ipvsadm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".cache" / "collections"
sys.path.insert(0, str(COLLECTIONS))

import ansible

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.ipvsadm_text import write_ipvsadm
from ansible_collections.pocket.cloud.tests.integration.ipvs import uml

SIZES = (1000, 10_000, 50_000)  # dests
TIME_LIMIT = 900
SCOPE = {"addresses": ["10.0.0.0/8"]}


def services(count: int, first_weight: int = 1, changed: int = 0) -> list[dict[str, Any]]:
    """So many services with five dests each; the first dest of the first `changed` has another weight."""
    return [
        {
            "address": f"10.{number >> 8 & 255}.{number & 255}.1",
            "port": 80 + (number >> 16),
            "scheduler": "wrr",
            "dests": [
                {
                    "address": f"172.16.{number & 255}.{dest + 1}",
                    "port": 8080,
                    "forwarding": "masquerade",
                    "weight": first_weight if dest == 0 and number < changed else dest + 1,
                }
                for dest in range(5)
            ],
        }
        for number in range(count)
    ]


def table(count: int, **changes: int) -> dict[str, Any]:
    return {"services": services(count, **changes), "purge": True, "scope": SCOPE}


def pack(directory: Path, name: str, module: str, args: dict[str, Any]) -> None:
    """Keep what Ansible would send to a target for this call. There is no IPVS here, so the call itself may fail."""
    (directory / f"{name}.json").write_text(json.dumps(args))
    task = {"name": "Pack", module: f"{{{{ lookup('file', '{directory}/{name}.json') | from_json }}}}"}
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{**task, "ignore_errors": True}]}]
    (directory / f"{name}.yml").write_text(json.dumps(play))
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_LIBRARY": str(Path(__file__).with_name("library")),
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_REMOTE_TMP": str(directory / name),
        "ANSIBLE_HOME": str(directory / "home"),
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
    command += ["-e", "ansible_python_interpreter=/usr/bin/python3", str(directory / f"{name}.yml")]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    packed = list(directory.glob(f"{name}/*/AnsiballZ_*.py"))
    if not packed:
        sys.exit(f"bench: ansible packed nothing for {name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    packed[0].rename(directory / f"{name}.py")


def main() -> None:
    if reason := uml.obstacle():
        sys.exit(f"bench: {reason}")
    with tempfile.TemporaryDirectory(prefix="pocket-cloud-bench.") as name:
        directory = Path(name)
        print("packing the calls as Ansible sends them ...", flush=True)
        pack(directory, "table", "pocket.cloud.ipvs_table", table(1000))
        declared = {"name": "table", "services": services(1000), "apply": False}
        pack(directory, "declare", "pocket.cloud.ipvs_restore", declared)
        pack(directory, "weights", "pocket.cloud.ipvs_table", table(1000, first_weight=9, changed=10))
        for dests in SIZES:
            pack(directory, f"size-{dests}", "pocket.cloud.ipvs_table", table(dests // 5))
        one = services(1)[0]
        pack(directory, "service", "pocket.cloud.ipvs_service", one)
        pack(directory, "floor", "imports_pyroute2", {})
        pack(directory, "nothing", "ansible.builtin.ping", {})
        (directory / "table.ipvsadm").write_text(write_ipvsadm(services(1000)))
        print("running them in the test kernel ...", flush=True)
        inside = str(Path(__file__).with_name("ipvs_inside.py"))
        (directory / "table.args").write_text(json.dumps({"ANSIBLE_MODULE_ARGS": table(1000)}))
        (directory / "ansible").symlink_to(Path(ansible.__file__).parent)
        paths = f"PYTHONPATH={COLLECTIONS}:{directory}"
        command = ["env", paths, "PYTHONPYCACHEPREFIX=/tmp/compiled", "/usr/bin/python3", inside, str(directory)]
        machine = uml.Machine(command, memory="1536M")
        try:
            print(machine.wait(TIME_LIMIT), end="")
        except subprocess.TimeoutExpired:
            sys.exit(f"bench: it did not end within {TIME_LIMIT} s\n{machine.account()}")
        finally:
            machine.close()


if __name__ == "__main__":
    main()
