# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a running network learns of addresses: without its firewall rules being taken away meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host

WEB = {"pool": "web"}


@pytest.fixture
def cloud(host: Host, store: str, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(host, store, idle_image(tmp_path))
    yield made
    made.run(state="terminated", filters={"tag-key": "*"})
    made.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")
    assert list(host.path("/var/lib/libvirt/dnsmasq").glob("*.pocket")) == []


def test_a_launch_leaves_the_firewall_alone(cloud: Cloud) -> None:
    # libvirt puts rules that it renews before this one.
    cloud.host.run(["iptables", "-w", "-I", "LIBVIRT_FWO", "-s", "203.0.113.1", "-j", "ACCEPT"])
    cloud.run(exact_count=3, tags=WEB)
    cloud.assert_whole(3)
    # What the DHCP server does not know, for its file is gone, it is told again.
    (told,) = cloud.host.path("/var/lib/libvirt/dnsmasq").glob("*.pocket")
    one = next(path for path in told.iterdir())
    text = one.read_text()
    one.unlink()
    assert cloud.run(exact_count=3, tags=WEB)["changed"] is True
    assert one.read_text() == text
    assert cloud.run(exact_count=3, tags=WEB)["changed"] is False
    cloud.run(state="terminated", tags=WEB)
    cloud.assert_nothing_left()
    first = cloud.host.run(["iptables", "-w", "-S", "LIBVIRT_FWO"]).stdout.splitlines()[1]
    assert "203.0.113.1" in first
    cloud.host.run(["iptables", "-w", "-D", "LIBVIRT_FWO", "-s", "203.0.113.1", "-j", "ACCEPT"])


def test_reservations_outlive_the_networks_restart(cloud: Cloud) -> None:
    ids = cloud.run(exact_count=2, tags=WEB)["instance_ids"]
    cloud.run(state="stopped", stop_timeout=0, tags=WEB)
    cloud.host.virsh("net-destroy", "pocket")
    cloud.host.ok("ec2like_network", store=cloud.store)
    cloud.assert_whole(2)
    # One that libvirt itself told its DHCP server of at the start, and one that came later, both go.
    (newest,) = cloud.run(name="later")["instance_ids"]
    cloud.run(state="terminated", instance_ids=[ids[0], newest])
    cloud.assert_whole(1)
    cloud.host.stop_libvirtd()
    cloud.host.start_libvirt()
    cloud.assert_whole(1)


def test_a_network_that_does_not_watch_is_changed_by_libvirt(cloud: Cloud) -> None:
    xml = cloud.host.virsh("net-dumpxml", "pocket")
    cloud.host.virsh("net-destroy", "pocket")
    plain = re.sub(r"<dnsmasq:options>.*</dnsmasq:options>", "", xml, flags=re.DOTALL)
    cloud.host.path("/run/plain.xml").write_text(plain)
    cloud.host.virsh("net-define", "/run/plain.xml")
    (watched,) = cloud.host.path("/var/lib/libvirt/dnsmasq").glob("*.pocket")
    watched.rmdir()
    cloud.host.virsh("net-start", "pocket")
    cloud.run(exact_count=2, tags=WEB)
    cloud.assert_whole(2)
    assert len(re.findall("<host ", cloud.host.virsh("net-dumpxml", "pocket"))) == 2
    cloud.run(exact_count=1, tags=WEB)
    cloud.assert_whole(1)
