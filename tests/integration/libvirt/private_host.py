# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private host with a real libvirtd, in namespaces of its own, and what tests do on it.

Nothing of the machine's is touched: the host has its own network, processes, /run and /dev, and /etc and /var are
copied on write into memory. All of it ends with the process that started it, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = ROOT / ".cache" / "collections"
MODULES = ROOT / "plugins" / "modules"
PYTHON = "/usr/bin/python3"  # a target's: the one that has the distribution's python3-libvirt
PROGRAMS = ("unshare", "nsenter", "ip", "mount", "virtlogd", "libvirtd", "virsh", "qemu-system-x86_64", "qemu-img")
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())"

_TABLES = ("filter", "nat", "mangle")
Run = subprocess.CompletedProcess  # of text


class HarnessError(AssertionError):
    """The private host did not do what it must; no verdict on the collection."""


def why_not() -> str | None:
    """Why no private host can be made on this machine; none when it can."""
    if os.geteuid() != 0:
        return "needs root, to make namespaces and to run libvirtd"
    missing = [program for program in PROGRAMS if _which(program) is None]
    if missing:
        return f"these programs are missing: {', '.join(missing)}; script/bootstrap installs them"
    if subprocess.run([PYTHON, "-c", "import libvirt"], capture_output=True, check=False).returncode:
        return f"{PYTHON} has no libvirt; script/bootstrap installs python3-libvirt"
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
    probe = subprocess.run(command, capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"this machine lets us make no namespaces: {probe.stderr.strip()}"
    return None


def _which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def wait_until(what: str, condition: Callable[[], Any], timeout: float = 300.0, interval: float = 0.1) -> Any:
    """The first true value of `condition`; HarnessError when none came in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise HarnessError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)


class Host:
    """The private host. `directory` is the caller's, for logs and for what its modules import."""

    def __init__(self, directory: Path, with_kvm: bool = False) -> None:
        self.directory = directory
        self._environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": f"{self._importable_ansible()}:{COLLECTIONS}",
        }
        with (directory / "namespace.log").open("w") as log:
            self._process = self._start(with_kvm, log)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self.close()
            raise HarnessError(f"the namespaces did not come up: {(directory / 'namespace.log').read_text()}")
        self.pid = self._child(self._process.pid)

    @staticmethod
    def _start(with_kvm: bool, log: IO[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-I", str(Path(__file__).with_name("namespace_init.py"))),
                *(["--with-kvm"] if with_kvm else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def _importable_ansible(self) -> Path:
        """A directory that holds ansible-core alone, so that nothing else of the tests' environment leaks in."""
        import ansible

        directory = self.directory / "python"
        directory.mkdir()
        (directory / "ansible").symlink_to(Path(ansible.__file__).parent)
        return directory

    @staticmethod
    def _child(pid: int) -> int:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0])

    def close(self) -> None:
        """End everything that runs on the host."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    # Commands and files

    def popen(self, command: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[str]:
        """Start a command on the host."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--ipc", "--uts", "--"]
        return subprocess.Popen(
            [*enter, *(os.fspath(word) for word in command)], text=True, env=self._environment, **options
        )

    def run(
        self, command: Sequence[str | os.PathLike[str]], *, text: str = "", check: bool = True, timeout: float = 120
    ) -> Run[str]:
        """Run a command on the host; HarnessError when it fails and `check` is true."""
        pipe = subprocess.PIPE
        process = self.popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            out, err = process.communicate(text, timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise HarnessError(f"{command} took more than {timeout:g} s") from error
        done = Run(command, process.returncode, out, err)
        if check and done.returncode:
            raise HarnessError(f"{command} ended with {done.returncode}: {out}{err}")
        return done

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill at once (SIGKILL) what popen() started, and wait until it is gone."""
        try:
            os.kill(self._child(process.pid), signal.SIGKILL)
        except (OSError, IndexError):  # ended, or has not come as far as to start the command
            process.kill()
        process.wait()

    def hold(self, process: subprocess.Popen[str]) -> None:
        """Hold what popen() started, alone: its own processes go on."""
        os.kill(self._child(process.pid), signal.SIGSTOP)

    def go_on(self, process: subprocess.Popen[str]) -> None:
        """Let what is held go on, and nsenter, which then holds itself, too."""
        for pid in (self._child(process.pid), process.pid):
            os.kill(pid, signal.SIGCONT)

    def path(self, path: str | os.PathLike[str]) -> Path:
        """The way from outside to a file on the host."""
        return Path(f"/proc/{self.pid}/root") / os.fspath(path).lstrip("/")

    # libvirt

    def start_libvirt(self) -> None:
        """Start virtlogd and libvirtd, where they are not running."""
        for daemon, socket in (("virtlogd", "virtlogd-sock"), ("libvirtd", "libvirt-sock")):
            if not self._daemon_pid(daemon):
                self.run([daemon, "-d"])
                wait_until(daemon, self.path(f"/run/libvirt/{socket}").is_socket)
        self.virsh("version")

    def stop_libvirtd(self) -> None:
        """Stop libvirtd; its guests and networks go on."""
        pid = self._daemon_pid("libvirtd")
        if pid:
            self.run(["kill", str(pid)])
            wait_until("the end of libvirtd", lambda: not self._daemon_pid("libvirtd"))

    def reboot(self) -> None:
        """As far as libvirt can tell: its processes and its guests end at once, and /run and the bridges are new."""
        wait_until("the end of libvirt's processes", self._libvirt_is_killed)
        self.run(["sh", "-c", "rm -r /run/libvirt /run/libvirtd.pid /run/virtlogd.pid"])
        for link in json.loads(self.run(["ip", "-json", "link", "show", "type", "bridge"]).stdout):
            self.run(["ip", "link", "delete", link["ifname"]])
        for program, tables in (("iptables", _TABLES), ("ip6tables", _TABLES), ("ebtables", ("nat",))):
            for table in tables:
                for action in ("--flush", "--delete-chain"):
                    self.run([program, "--table", table, action])
        self.start_libvirt()

    def _libvirt_is_killed(self) -> bool:
        """Kill what runs of libvirt; whether nothing did. What libvirtd just forks is found at a later look."""
        pids = []
        for entry in self.path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (entry / "comm").read_text().strip() in ("libvirtd", "virtlogd", "dnsmasq", "qemu-system-x86"):
                    pids.append(entry.name)
        if pids:
            self.run(["kill", "-KILL", *pids], check=False)  # one may have ended by itself since
        return not pids

    def _daemon_pid(self, name: str) -> int | None:
        try:
            pid = int(self.path(f"/run/{name}.pid").read_text())
            command = self.path(f"/proc/{pid}/comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if command == name else None

    def virsh(self, *arguments: str) -> str:
        return self.run(["virsh", "--quiet", "-c", "qemu:///system", *arguments]).stdout.strip()

    # Modules and guests

    def module(self, name: str, /, *, check: bool = False, timeout: float = 900, **parameters: Any) -> dict[str, Any]:
        """What the module returns, run as on a target; a failure is a result with C(failed), too."""
        done = self.run(
            [PYTHON, MODULES / f"{name}.py"], text=arguments(parameters, check), check=False, timeout=timeout
        )
        try:
            result: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise HarnessError(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}") from error
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        result.pop("invocation", None)
        return result

    def ok(self, name: str, /, **options: Any) -> dict[str, Any]:
        """The result of a module that must not fail."""
        result = self.module(name, **options)
        assert not result.get("failed"), result
        return result

    def refused(self, name: str, /, **options: Any) -> dict[str, Any]:
        """The result of a module that must fail, with a sentence and without a change."""
        result = self.module(name, **options)
        assert result.get("failed"), result
        assert not result.get("changed"), result
        return result

    def http(self, address: str, port: int = 80, path: str = "/", timeout: float = 5) -> str | None:
        """What a web server answers on the host's networks; none when it does not answer."""
        url = f"http://{address}:{port}{urllib.parse.quote(path)}"
        fetch = (
            "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())"
        )
        done = self.run([PYTHON, "-I", "-c", fetch, url, str(timeout)], check=False)
        return done.stdout.strip() if done.returncode == 0 else None


def arguments(parameters: Mapping[str, Any], check: bool = False) -> str:
    """What a module reads on its standard input."""
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**parameters, "_ansible_check_mode": check, "_ansible_diff": True}})
