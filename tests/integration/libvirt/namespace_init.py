# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Process 1 of the tests' private host: mounts what makes it private, then waits for its standard input to end.

Its end ends all that runs in its process namespace, and everything written there is on file systems in memory that
go with it. Usage: namespace_init.py [--with-kvm]
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

# The machine's own files can be read below; what is written goes to memory.
COPY_ON_WRITE = ("/etc", "/var")
# Definitions of the machine's own libvirt, which must not come up here.
NOT_OURS = (
    "/etc/libvirt/hooks",
    "/etc/libvirt/qemu",
    "/var/cache/libvirt",
    "/var/lib/libvirt",
    "/var/lib/pocket-cloud",
    "/var/log/libvirt",
)
DEVICES = {
    "full": (1, 7),
    "null": (1, 3),
    "random": (1, 8),
    "tty": (5, 0),
    "urandom": (1, 9),
    "zero": (1, 5),
}
KVM = {"kvm": (10, 232)}
WORK = Path("/run/namespace")
GUEST_USER = "libvirt-qemu"  # built into Debian's and Ubuntu's libvirt

LIBVIRTD = """\
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
# No security driver: AppArmor's would load profiles into the machine's kernel, which is not private.
QEMU = """\
security_driver = "none"
"""


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def unmount(directory: str) -> None:
    """Take a tree of mounts away: libvirtd reads the list of mounts and trips over those that another one hides."""
    subprocess.run(["umount", "--recursive", "--lazy", directory], check=False)


def mount_devices(devices: dict[str, tuple[int, int]]) -> None:
    new = WORK / "dev"
    new.mkdir()
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(new))
    for name, number in devices.items():
        os.mknod(new / name, 0o666 | stat.S_IFCHR, os.makedev(*number))
        (new / name).chmod(0o666)
    for name in ("net", "pts", "shm"):
        (new / name).mkdir()
    os.mknod(new / "net" / "tun", 0o666 | stat.S_IFCHR, os.makedev(10, 200))
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", str(new / "pts"))
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(new / "shm"))
    for link, target in {"fd": "/proc/self/fd", "ptmx": "pts/ptmx", "stdin": "fd/0", "stdout": "fd/1"}.items():
        (new / link).symlink_to(target)
    unmount("/dev")
    mount("--move", str(new), "/dev")


def make_user() -> None:
    """The user whose processes guests are; the package that makes it also starts services, so it is not needed."""
    try:
        pwd.getpwnam(GUEST_USER)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        subprocess.run([*command, GUEST_USER], check=True, env={**os.environ, "PATH": path})


def main() -> None:
    for directory in ("/run", "/sys"):
        unmount(directory)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    mount("-t", "sysfs", "sysfs", "/sys")  # shows this network namespace's interfaces
    WORK.mkdir()
    mount_devices({**DEVICES, **(KVM if "--with-kvm" in sys.argv else {})})
    for directory in COPY_ON_WRITE:
        place = WORK / directory.strip("/")
        (place / "upper").mkdir(parents=True)
        (place / "work").mkdir()
        options = f"lowerdir={directory},upperdir={place}/upper,workdir={place}/work"
        mount("-t", "overlay", "-o", options, "overlay", directory)
    make_user()
    for path in NOT_OURS:
        shutil.rmtree(path, ignore_errors=True)
    Path("/etc/libvirt").mkdir(exist_ok=True)
    Path("/etc/libvirt/libvirtd.conf").write_text(LIBVIRTD)
    Path("/etc/libvirt/qemu.conf").write_text(QEMU)
    for directory in ("/var/cache/libvirt", "/var/lib/libvirt", "/var/log/libvirt"):
        Path(directory).mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps what is left to us
    print("ready", flush=True)
    sys.stdin.read()


main()
