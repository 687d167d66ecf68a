# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Debian in instances: cloud-init, sshd and the guest agent as its packages have them.

A boot takes the better part of a minute where the processor is emulated, so each of the few here tries much.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, clean_cloud
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import PYTHON, Host

ODD = "<b>&amp; 'ü' \"€\" 🐧 ]]>  two  spaces"
CONFIG = """\
#cloud-config
hostname: web-1
final_message: "ready for $version"
write_files:
  - path: /run/odd
    content: "<b>&amp; 'ü' \\"€\\" 🐧 ]]>  two  spaces"
runcmd:
  - [sh, -c, "echo $(cat /run/script) then runcmd > /run/order"]
"""
SCRIPT = f"""\
#!/bin/sh
printf %s {shlex.quote(ODD)} > /run/odd-script
"""
EACH_BOOT = "#!/bin/sh\r\necho per boot > /run/script\r\n"
PARTS = [
    {"content": CONFIG, "content_type": "cloud-config"},
    {"content": SCRIPT, "content_type": "x-shellscript", "filename": "odd.sh"},
    {"content": EACH_BOOT.replace("\r", ""), "content_type": "x-shellscript-per-boot"},
]
SIZE = {"vcpus": 2, "memory_mib": 512}


@pytest.fixture
def cloud(host: Host, store: str, debian_image: Path) -> Iterator[Cloud]:
    yield from clean_cloud(host, store, debian_image)


class Shell:
    """The guest's shell, by the ssh client of the private host."""

    def __init__(self, cloud: Cloud, key: str, address: str) -> None:
        self.host = cloud.host
        self.address = address
        self.key = f"{cloud.store}/admin.pem"
        path = cloud.host.path(self.key)
        path.touch(0o600)
        path.chmod(0o600)
        path.write_text(key)

    def __call__(self, command: str) -> str:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"]
        words = [word for option in options for word in ("-o", option)]
        return self.host.run(["ssh", *words, "-i", self.key, f"debian@{self.address}", command]).stdout


def asked_of_agent(cloud: Cloud, instance: dict[str, Any], path: str) -> str:
    """What the collection learns of a file in the guest, by its agent."""
    code = "import sys; from ansible_collections.pocket.cloud.plugins.module_utils._ec2.hypervisor import Hypervisor; "
    code += "print(Hypervisor('qemu:///system').guest_file(*sys.argv[1:]))"
    return cloud.host.run([PYTHON, "-c", code, instance["instance_id"], path]).stdout.strip()


def test_it_is_set_up_by_its_seed_and_waited_for(cloud: Cloud) -> None:
    key = cloud.host.ok("ec2like_key", store=cloud.store, name="admin", key_type="ed25519")["key"]["private_key"]
    asked: dict[str, Any] = {"name": ODD, "key_name": "admin", "user_data_parts": PARTS, **SIZE}
    early = cloud.host.module(
        "ec2like_instance", **cloud.params(**asked, wait=True, wait_for="cloud-init", wait_timeout=1)
    )
    assert early["changed"] is True
    assert f"({ODD}) did not finish cloud-init within 1 s" in early["msg"]
    (instance,) = early["instances"]
    address = instance["private_ip_address"]

    cloud.run(**asked, wait=True, wait_for="ssh")
    shell = Shell(cloud, key, address)
    assert shell("id -un").strip() == "debian"
    late = cloud.refused(**asked, wait=True, wait_for="ssh", wait_port=23, wait_timeout=1)
    assert f"did not greet as an SSH server on TCP port 23 at {address} within 1 s" in late["msg"]
    assert len(late["msg"].split("its console's last lines:\n")[1].splitlines()) > 10

    ready = cloud.run(**asked, wait=True, wait_for="cloud-init")
    assert ready["changed"] is False
    assert ready["instances"][0]["tags"]["Name"] == ODD
    assert shell("cat /run/odd") == ODD
    assert shell("cat /run/odd-script") == ODD
    assert shell("hostname").strip() == "web-1"
    assert shell("cat /run/script").strip() == "per boot"
    assert shell("cloud-init status").strip() == "status: done"
    assert f"inet {address}/" in shell("ip -4 -o address show scope global")
    # cloud-init says it in words of the user's, so systemd's or the agent's told.
    assert "Cloud-init v. 22.4.2 finished" not in cloud.host.path(
        f"{cloud.store}/instances/{instance['instance_id']}/console.log"
    ).read_text(errors="replace")
    assert json.loads(asked_of_agent(cloud, instance, "/run/cloud-init/result.json"))["v1"]["errors"] == []
    assert asked_of_agent(cloud, instance, "/run/not-there") == "None"


def test_it_boots_by_uefi_with_secure_boot_and_a_tpm_and_says_what_failed(cloud: Cloud) -> None:
    key = cloud.host.ok("ec2like_key", store=cloud.store, name="admin", key_type="ed25519")["key"]["private_key"]
    # Nobody gives addresses here: the seed's network configuration does.
    cloud.host.ok("ec2like_network", store=cloud.store, dhcp=False, ipv6_cidr="fd00:80::/64")
    script = cloud.host.path(cloud.store) / "user-data"
    script.write_text("#!/bin/sh\nrm /run/not-there\n")
    asked: dict[str, Any] = {
        "name": "a",
        "key_name": "admin",
        "user_data_file": f"{cloud.store}/user-data",
        "firmware": "uefi",
        "secure_boot": True,
        "tpm": True,
        **SIZE,
    }
    failed = cloud.host.module("ec2like_instance", **cloud.params(**asked, wait=True, wait_for="cloud-init"))
    assert failed["changed"] is True
    assert "(a) finished cloud-init, which failed: " in failed["msg"]
    assert "scripts-user" in failed["msg"].split("console's last lines")[0]
    (instance,) = failed["instances"]
    told = instance["machine"]
    assert (told["firmware"], told["secure_boot"], told["tpm"], told["cpu_model"]) == ("uefi", True, True, "maximum")
    assert cloud.run(**asked)["changed"] is False

    shell = Shell(cloud, key, instance["private_ip_address"])
    address = shell("ip -4 -o address show scope global")
    assert f"inet {instance['private_ip_address']}/24" in address
    assert "dynamic" not in address
    assert "default via 10.80.0.1 dev eth0 proto static" in shell("ip route")
    assert "nameserver 10.80.0.1" in shell("cat /run/systemd/resolve/resolv.conf")
    assert Shell(cloud, key, instance["ipv6_address"])("hostname").strip() == instance["instance_id"]
    variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    assert shell(f"od -An -tu1 -j4 {variable}").strip() == "1"
    assert "[integrity]" in shell("cat /sys/kernel/security/lockdown")
    assert shell("cat /sys/class/tpm/tpm0/tpm_version_major").strip() == "2"

    cloud.both(name="a", state="terminated")
    cloud.host.ok("ec2like_network", store=cloud.store, dhcp=True, ipv6_cidr="")
