# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role kvm_host does its own installing: on a host that has nothing but ssh, Python and apt."""

from __future__ import annotations

import json

import pytest

from ansible_collections.pocket.cloud.tests.e2e.conftest import Host

SETTINGS = {
    "load_balanced_pools": [],
    "kvm_host_uefi": True,
    "kvm_host_tpm": True,
    "kvm_host_network_ipv6_cidr": "fd00:80::/64",
}
OPTIONS = ("-e", json.dumps(SETTINGS))


@pytest.fixture(scope="module")
def kvm_host(bare_host: Host) -> Host:
    """The host once the role has made it one."""
    assert bare_host.play("site.yml", *OPTIONS) > 0
    return bare_host


def test_check_mode_installs_nothing(bare_host: Host) -> None:
    assert "libvirt" not in bare_host.ssh("dpkg-query --show --showformat='${Package} '")
    assert bare_host.play("site.yml", "--check", *OPTIONS) > 0
    assert "libvirt" not in bare_host.ssh("dpkg-query --show --showformat='${Package} '")


def test_kvm_host_installs_what_it_needs(kvm_host: Host) -> None:
    assert "pocket" in kvm_host.ssh("virsh net-list --name").split()
    assert "10.80.0.1/24" in kvm_host.ssh("ip -brief address show pocket0")
    assert kvm_host.ssh("ls /var/lib/pocket-cloud/images").strip().endswith(".qcow2")
    assert kvm_host.ssh("systemctl is-active libvirtd.socket").strip() == "active"
    assert kvm_host.task("ec2like_host_info")["host"]["security_model"] == "apparmor"

    assert kvm_host.play("site.yml", *OPTIONS) == 0


def test_the_hosts_own_ipv6_routes_outlive_its_becoming_a_router(kvm_host: Host) -> None:
    assert kvm_host.ssh("cat /proc/sys/net/ipv6/conf/all/forwarding").strip() == "1"
    assert "proto ra" in kvm_host.ssh("ip -6 route show default dev eth0")
    assert kvm_host.ssh("cat /etc/sysctl.d/60-pocket-cloud-kvm-host.conf") == "net/ipv6/conf/eth0/accept_ra = 2\n"
