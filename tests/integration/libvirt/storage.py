# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that run commands on request, and the storage modules on the host of a Cloud."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import (
    MODULES,
    PYTHON,
    arguments,
    wait_until,
)

# User data that lets the guest's web server carry out what it is asked for, and answer with what was printed.
OBEDIENT = """#!/bin/sh
mkdir -p /var/www/cgi-bin
cat >/var/www/cgi-bin/run <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
httpd -d "$QUERY_STRING" >/tmp/command.$$
sh /tmp/command.$$ 2>&1
END
chmod 755 /var/www/cgi-bin/run
"""


class Guest:
    """A guest that boots and obeys."""

    def __init__(self, cloud: Cloud, **stated: Any) -> None:
        self.cloud = cloud
        launched = cloud.run(count=1, user_data=OBEDIENT, tags={"test": "storage"}, **stated)
        self.instance_id: str = launched["instance_ids"][0]
        self.address: str = launched["instances"][0]["private_ip_address"]

    def wait(self) -> None:
        wait_until(f"an answer of {self.instance_id}", lambda: self.cloud.host.http(self.address))

    def sh(self, command: str) -> str:
        """What the command prints in the guest."""
        fetch = "import sys, urllib.parse as p, urllib.request as r; print(r.urlopen(sys.argv[1] + '?' + p.quote(sys.argv[2]), timeout=60).read().decode())"  # noqa: E501
        url = f"http://{self.address}/cgi-bin/run"
        return self.cloud.host.run(["/usr/bin/python3", "-I", "-c", fetch, url, command]).stdout.strip()

    def disks(self) -> dict[str, str]:
        """Serial number -> name in the guest, of the disks that have one."""
        lines = self.sh("for d in /sys/block/vd*; do echo $(cat $d/serial) ${d##*/}; done").splitlines()
        return {words[0]: words[1] for words in (line.split() for line in lines) if len(words) == 2}

    def disk(self, serial: str) -> str:
        """The name in the guest of the disk with that serial number, once the guest has seen it."""
        found: str = wait_until(f"a disk {serial} in the guest", lambda: self.disks().get(serial))
        return found

    def sectors(self, name: str) -> int:
        return int(self.sh(f"cat /sys/block/{name}/size"))

    def sees(self, name: str, sectors: int) -> None:
        """Wait until the guest sees a disk of that many sectors."""
        wait_until(f"{sectors} sectors of {name} in the guest", lambda: self.sectors(name) == sectors)


class Storage:
    """The modules of volumes, snapshots and images; each is called in check mode first, which must foretell."""

    def __init__(self, cloud: Cloud) -> None:
        self.host = cloud.host
        self.store = cloud.store
        self.root = cloud.host.path(cloud.store)

    def call(self, module: str, /, **stated: Any) -> dict[str, Any]:
        foretold = self.host.ok(module, check=True, store=self.store, **stated)
        done = self.host.ok(module, store=self.store, **stated)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        return done

    def again(self, module: str, /, **stated: Any) -> dict[str, Any]:
        done = self.call(module, **stated)
        assert done["changed"] is True
        assert self.call(module, **stated)["changed"] is False
        return done

    def volume(self, **stated: Any) -> dict[str, Any]:
        return self.again("ec2like_volume", **stated)["volume"]  # type: ignore[no-any-return]

    def refused(self, module: str, /, **stated: Any) -> dict[str, Any]:
        foretold = self.host.refused(module, check=True, store=self.store, **stated)
        done = self.host.refused(module, store=self.store, **stated)
        assert foretold == done
        return done

    def killed_when(self, begun: Callable[[], bool], module: str, /, **stated: Any) -> None:
        """Run the module, and kill it as soon as `begun` is true; fails where it ends before that."""
        process = self._come_to(begun, module, stated)
        self.host.kill(process)
        process.communicate()

    @contextmanager
    def held_when(self, begun: Callable[[], bool], module: str, /, **stated: Any) -> Iterator[dict[str, Any]]:
        """Run the module, and hold it as soon as `begun` is true; the result is there after the end."""
        process = self._come_to(begun, module, stated)
        self.host.hold(process)
        result: dict[str, Any] = {}
        try:
            assert begun()
            yield result
        finally:
            self.host.go_on(process)
            result.update(json.loads(process.communicate(timeout=60)[0]))

    def _come_to(self, begun: Callable[[], bool], module: str, stated: Mapping[str, Any]) -> subprocess.Popen[str]:
        process = self._start(module, stated)
        while not begun():
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        return process

    def killed_after(self, seconds: float, module: str, /, **stated: Any) -> bool:
        """Run the module and kill it after so many seconds; whether it still ran then."""
        process = self._start(module, stated)
        time.sleep(seconds)
        killed = process.poll() is None
        self.host.kill(process)
        process.communicate()
        return killed

    def _start(self, module: str, stated: Mapping[str, Any]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = self.host.popen([PYTHON, MODULES / f"{module}.py"], stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        process.stdin.write(arguments({"store": self.store, **stated}))
        process.stdin.close()
        process.stdin = None
        return process

    def incoming(self, kind: str) -> bool:
        """Whether a file is being written there; an empty one may be there for its name's sake alone."""
        for path in (self.root / kind).glob(".incoming-*"):
            with suppress(FileNotFoundError):
                if path.stat().st_size:
                    return True
        return False

    def known(self) -> tuple[list[str], list[str], list[str]]:
        """What the modules list: the ids of volumes, snapshots and images."""
        kinds = ("volume", "snapshot", "image")
        volumes, snapshots, images = (
            self.host.ok(f"ec2like_{kind}_info", store=self.store)[f"{kind}_ids"] for kind in kinds
        )
        return volumes, snapshots, images

    def assert_whole(self) -> None:
        """Each that is listed has its file, and nothing else is there."""
        for kind, ids in zip(("volumes", "snapshots", "images"), self.known()):
            assert sorted(name.partition(".")[0] for name in self.files(kind)) == sorted(ids)

    def files(self, kind: str) -> set[str]:
        directory = self.root / kind
        return {path.name for path in directory.iterdir()} if directory.exists() else set()
