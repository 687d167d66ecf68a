# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tasks of the role kvm_host by ansible-playbook, on this machine, where they have to do with a store alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.images import Image, ImageSource
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.store import Store

ROOT = Path(__file__).resolve().parents[3]
IMAGE_ID = "ami-0123456789abcdef0"
TASK = {"ansible.builtin.include_role": {"name": "pocket.cloud.kvm_host", "tasks_from": "absent"}}
PLAY = [{"hosts": "localhost", "gather_facts": False, "tasks": [TASK]}]


def register(store: Store, *names: str) -> None:
    with store.lock():
        path = store.image_path(IMAGE_ID, "raw")
        path.write_bytes(b"disk")
        for name in names:
            source = ImageSource("/guest.raw", 4, None, "sha256:0")
            store.register(Image(IMAGE_ID, name, path, "raw", 4, 1, "2026-01-01T00:00:00Z", source))


def changed(directory: Path, *arguments: str) -> list[str]:
    """Take the host's setup away, as far as it is in `directory`; the names of the tasks that changed something."""
    (directory / "play.json").write_text(json.dumps(PLAY))
    stated = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "kvm_host_images": [{"name": "guest", "path": "/guest.raw"}],
        "kvm_host_store": str(directory / "store"),
        # Nothing of this machine: neither its libvirt nor its settings.
        "__kvm_host_libvirtd": {"stat": {"exists": False}},
        "__kvm_host_sysctl_file": str(directory / "sysctl"),
        "__kvm_host_udev_rule": str(directory / "udev"),
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "--inventory", "localhost,", "--extra-vars", json.dumps(stated), *arguments, "play.json"],
        env={
            **environment,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
            "ANSIBLE_HOME": str(directory / "home"),
            "ANSIBLE_NOCOLOR": "1",
        },
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"^TASK \[(?:pocket\.cloud\.kvm_host : )?([^]]+)\] \*+\nchanged:", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("others", [(), ("theirs",)], ids=["alone", "with another's"])
def test_check_mode_foretells_whether_the_store_goes(tmp_path: Path, others: tuple[str, ...]) -> None:
    register(Store(tmp_path / "store"), "guest", *others)
    foretold = changed(tmp_path, "--check")
    assert (tmp_path / "store" / "images" / f"{IMAGE_ID}.raw").exists()
    assert foretold == changed(tmp_path)
    assert foretold == ["Forget the images", *([] if others else ["Remove the store that holds nothing any more"])]
    assert (tmp_path / "store").exists() == bool(others)
