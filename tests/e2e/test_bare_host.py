# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role kvm_host does its own installing: on a host that has nothing but ssh, Python and apt."""

from __future__ import annotations

from ansible_collections.pocket.cloud.tests.e2e.conftest import Host

POOLS = ("-e", '{"load_balanced_pools": []}')


def test_kvm_host_installs_what_it_needs(bare_host: Host) -> None:
    assert "libvirt" not in bare_host.ssh("dpkg-query --show --showformat='${Package} '")
    assert bare_host.play("site.yml", "--check", *POOLS) > 0
    assert "libvirt" not in bare_host.ssh("dpkg-query --show --showformat='${Package} '")

    assert bare_host.play("site.yml", *POOLS) > 0
    assert "pocket" in bare_host.ssh("virsh net-list --name").split()
    assert "10.80.0.1/24" in bare_host.ssh("ip -brief address show pocket0")
    assert bare_host.ssh("ls /var/lib/pocket-cloud/images").strip().endswith(".qcow2")
    assert bare_host.ssh("systemctl is-active libvirtd.socket").strip() == "active"

    assert bare_host.play("site.yml", *POOLS) == 0
