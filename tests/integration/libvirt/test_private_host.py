# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private host is private: what the other tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host, wait_until

STARTER = """
import sys, time
from pathlib import Path
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host
host = Host(Path(sys.argv[1]))
host.start_libvirt()
print(host.pid, flush=True)
time.sleep(100)
"""


def test_libvirtd_has_none_of_the_machines_domains_and_networks(host: Host) -> None:
    assert host.virsh("list", "--all", "--name") == ""
    assert host.virsh("net-list", "--all", "--name") == ""


def test_what_is_written_there_does_not_reach_the_machine(bare_host: Host) -> None:
    for name in ("/etc/libvirt/of-the-tests", "/var/lib/of-the-tests", "/run/of-the-tests"):
        bare_host.path(name).write_text("")
        assert not os.path.lexists(name)


def test_all_of_it_ends_when_its_maker_is_killed(bare_host: Host, tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert starter.stdout is not None
    with starter.stdout:
        pid = int(starter.stdout.readline())
    namespace = os.readlink(f"/proc/{pid}/ns/pid")
    assert len(processes_in(namespace)) >= 3  # process 1, virtlogd, libvirtd
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    wait_until("the end of the host's processes", lambda: not processes_in(namespace))


def processes_in(namespace: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "ns/pid") == namespace:
                found.append(entry.name)
        except OSError:  # ended meanwhile
            continue
    return found
