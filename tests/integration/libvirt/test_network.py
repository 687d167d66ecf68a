# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks on a real libvirtd; virsh, ip and machines behind an uplink are the witnesses."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud
from ansible_collections.pocket.cloud.tests.integration.libvirt.machines import Machine
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import FETCH, PYTHON, Host, wait_until

HOOKS = "/etc/libvirt/hooks/network.d"
RESERVATIONS = "/var/lib/libvirt/dnsmasq"


class Networks:
    """The module; each call is made in check mode first, which must tell the same and change nothing."""

    def __init__(self, host: Host, store: str) -> None:
        self.host = host
        self.store = store

    def call(self, **stated: Any) -> dict[str, Any]:
        before = self.seen()
        foretold = self.host.ok("ec2like_network", check=True, store=self.store, **stated)
        assert self.seen() == before
        done = self.host.ok("ec2like_network", store=self.store, **stated)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        return done

    def again(self, **stated: Any) -> dict[str, Any]:
        first = self.call(**stated)
        assert first["changed"] is True
        second = self.call(**stated)
        assert second["changed"] is False
        assert second["network"] == first["network"]
        return first

    def refused(self, **stated: Any) -> str:
        before = self.seen()
        failed = self.host.refused("ec2like_network", store=self.store, **stated)
        assert self.seen() == before
        return str(failed["msg"])

    def seen(self) -> Any:
        names = sorted(self.host.virsh("net-list", "--all", "--name").split())
        listed = [self.host.virsh("net-dumpxml", *options, name) for name in names for options in ((), ("--inactive",))]
        hooks = self.host.run(["sh", "-c", f"cat {HOOKS}/* 2>/dev/null"], check=False).stdout
        return listed, self.host.virsh("net-list", "--all"), self.ports(), hooks

    def left_over(self) -> list[str]:
        """Files that only a network has, or a run that was killed."""
        found = [*self.host.path(HOOKS).parent.glob(".*"), *self.host.path(RESERVATIONS).glob("*.pocket")]
        return [path.name for path in found]

    def xml(self, name: str = "pocket") -> ET.Element:
        return ET.fromstring(self.host.virsh("net-dumpxml", name))

    def ranges(self) -> list[list[str]]:
        """What the running DHCP server gives addresses from, and what one that starts would."""
        texts = [self.host.virsh("net-dumpxml", *options, "pocket") for options in ((), ("--inactive",))]
        found = [ET.fromstring(text).iterfind("ip/dhcp/range") for text in texts]
        return [[f"{one.get('start')}-{one.get('end')}" for one in ranges] for ranges in found]

    def ports(self) -> str:
        """The interfaces of the host by name; their states change by themselves."""
        return self.host.run(["sh", "-c", "ip -br link | awk '{print $1, $3}' | sort"]).stdout

    def master(self, interface: str) -> str:
        words = self.host.run(["ip", "-o", "link", "show", "dev", interface]).stdout.split()
        return words[words.index("master") + 1] if "master" in words else ""


@pytest.fixture
def networks(host: Host, store: str) -> Iterator[Networks]:
    made = Networks(host, store)
    yield made
    host.ok("ec2like_network", store=store, state="absent")
    assert host.virsh("net-list", "--all", "--name") == ""
    assert "pocket0" not in made.ports()
    assert not host.path(f"{HOOKS}/pocket-cloud-pocket").exists()
    assert made.left_over() == []


@pytest.fixture
def uplink(host: Host) -> Iterator[str]:
    """An interface of the host; the other end is machine C(lan)'s."""
    host.run(["ip", "netns", "add", "lan"])
    host.run(["ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", "lan"])
    lan(host, "ip", "link", "set", "up1", "up")
    yield "up0"
    host.run(["ip", "link", "del", "up0"])
    host.run(["ip", "netns", "del", "lan"])


def lan(host: Host, *command: str, check: bool = True) -> str:
    return host.run(["ip", "netns", "exec", "lan", *command], check=check).stdout


def test_each_setting_is_set_kept_and_changed(networks: Networks) -> None:
    network = networks.again()["network"]
    assert (network["cidr"], network["bridge"], network["mode"]) == ("10.80.0.0/24", "pocket0", "nat")
    assert "pocket0" in networks.ports()
    assert "pocket" in networks.host.virsh("net-list", "--autostart", "--name")
    networks.again(dhcp_range="10.80.0.200-10.80.0.250")
    found = networks.xml().find("ip/dhcp/range")
    assert found is not None
    assert (found.get("start"), found.get("end")) == ("10.80.0.200", "10.80.0.250")
    networks.again(dhcp_range="10.80.0.210-10.80.0.220")
    networks.again(dhcp_range="")
    assert networks.xml().find("ip/dhcp/range") is None
    networks.again(autostart=False)
    assert "pocket" not in networks.host.virsh("net-list", "--all", "--autostart", "--name").split()
    networks.again(mode="open")
    forward = networks.xml().find("forward")
    assert forward is not None
    assert forward.get("mode") == "open"
    networks.again(bridge="br9", cidr="10.81.0.254/24", address_range="10.81.0.10-10.81.0.20")
    assert "br9" in networks.ports()
    assert "pocket0" not in networks.ports()
    address = networks.xml().find("ip")
    assert address is not None
    assert (address.get("address"), address.get("prefix")) == ("10.81.0.254", "24")
    networks.host.virsh("net-destroy", "pocket")
    networks.again()
    networks.again(state="absent")


def test_a_range_is_served_at_once_whatever_else_is_changed(
    networks: Networks, machine: Callable[..., Machine]
) -> None:
    one, two = "10.80.0.200-10.80.0.209", "10.80.0.220-10.80.0.229"
    networks.again(dhcp_range=one)
    networks.again(dhcp_range=two, address_range="10.80.0.10-10.80.0.20")
    assert networks.ranges() == [[two], [two]]
    assert machine("stranger", "pocket0").dhcp(tries=20)[0].startswith("10.80.0.22")
    networks.again(dhcp_range="", dhcp=False)
    assert networks.ranges() == [[], []]
    networks.again(dhcp_range=one, dhcp=True)
    assert networks.ranges() == [[one], [one]]
    # As a run leaves it that is killed on the way: the definition and the DHCP server differ.
    start, end = one.split("-")
    delete = ("net-update", "pocket", "delete", "ip-dhcp-range", f"<range start='{start}' end='{end}'/>")
    networks.host.virsh(*delete, "--live")
    assert f"none (defined is {one})" in networks.again()["diff"]["before"]
    assert networks.ranges() == [[one], [one]]
    networks.host.virsh(*delete, "--config")
    networks.again(dhcp_range=two)
    assert networks.ranges() == [[two], [two]]


def test_a_network_that_was_stopped_starts_with_its_range(networks: Networks) -> None:
    one, two = "10.80.0.200-10.80.0.209", "10.80.0.220-10.80.0.229"
    networks.again()
    for asked in (one, two, ""):
        networks.host.virsh("net-destroy", "pocket")
        networks.again(dhcp_range=asked)
        assert networks.ranges() == [[asked] if asked else []] * 2
    networks.again(dhcp_range=one, mode="open")
    assert networks.ranges() == [[one], [one]]


@pytest.mark.parametrize("cidr", ["127.0.5.0/24", "224.1.0.0/24", "0.0.0.0/8", "169.254.0.0/24", "240.0.0.0/24"])
def test_what_is_no_subnet_of_machines_is_refused_before_anything_is_written(networks: Networks, cidr: str) -> None:
    assert "is no subnet of machines' addresses" in networks.refused(cidr=cidr)
    assert "is no subnet of machines' addresses" in networks.refused(ipv6_cidr="::/64")


def test_a_subnet_that_the_host_has_a_route_to_is_refused_as_libvirt_would(networks: Networks, uplink: str) -> None:
    networks.host.run(["ip", "link", "set", uplink, "up"])
    networks.host.run(["ip", "route", "add", "10.80.0.0/24", "dev", uplink])
    assert f"a route to 10.80.0.0/24 over {uplink!r} already" in networks.refused()
    # A wider one, such as a VPN's, is less specific than the bridge's own.
    networks.host.run(["ip", "route", "del", "10.80.0.0/24", "dev", uplink])
    networks.host.run(["ip", "route", "add", "10.80.0.0/16", "dev", uplink])
    networks.again()


@pytest.mark.parametrize("server", ["fe80::1%a,b", "fe80::1%a\nx", "0.0.0.0", "ff02::1"])
def test_what_is_no_name_server_is_refused(networks: Networks, server: str) -> None:
    """A line's end in one was taken, and no module could read the host's networks after that."""
    assert networks.refused(dns=[server]).startswith("dns: ")
    networks.again(dns=["192.0.2.53"])


def host_xml(mac: str, address: str) -> str:
    return f"<host mac='{mac}' name='m' ip='{address}'/>"


def test_machines_are_told_of_the_gateway_and_the_name_servers(
    networks: Networks, machine: Callable[..., Machine]
) -> None:
    networks.again()
    first = machine("first", "pocket0")
    reserve = ("net-update", "pocket", "add", "ip-dhcp-host", host_xml(first.mac, "10.80.0.9"), "--live", "--config")
    networks.host.virsh(*reserve)
    assert first.dhcp(tries=20) == ["10.80.0.9", "10.80.0.1", "10.80.0.1"]
    first.remove()  # its port goes with the bridge
    networks.again(gateway="10.80.0.254", dns=["10.80.0.253", "192.0.2.53"])
    second = machine("second", "pocket0")
    assert second.dhcp(tries=20) == ["10.80.0.9", "10.80.0.254", "10.80.0.253 192.0.2.53"]
    networks.again(gateway="10.80.0.252", dns=["10.80.0.253"])
    networks.again(gateway="", dns=[])
    third = machine("third", "pocket0")
    assert third.dhcp(tries=20) == ["10.80.0.9", "10.80.0.1", "10.80.0.1"]
    networks.again(dhcp=False)
    assert 'dhcp="no"' in networks.host.virsh("net-dumpxml", "pocket", "--inactive")
    networks.again(dhcp=True)


def test_an_ipv6_subnet_is_routed_and_gives_only_what_is_reserved(
    networks: Networks, machine: Callable[..., Machine]
) -> None:
    networks.again(ipv6_cidr="fd00:80::/64")
    assert "fd00:80::1/64" in networks.host.run(["ip", "-6", "address", "show", "dev", "pocket0"]).stdout
    nat = networks.host.run(["ip6tables", "-t", "nat", "-S"]).stdout
    assert "-s fd00:80::/64 ! -d fd00:80::/64 -j MASQUERADE" in nat
    one = machine("one", "pocket0")
    assert one.dhcp6(timeout=3) == []
    mine = f"<host id='00:03:00:01:{one.mac}' name='one' ip='fd00:80::99'/>"
    networks.host.virsh("net-update", "pocket", "add", "ip-dhcp-host", mine, "--live", "--parent-index", "1")
    wait_until("an answer", lambda: one.dhcp6() == ["fd00:80::99"])
    # The router that is announced is the bridge, and no machine makes up an address of its own.
    wait_until("a router", lambda: "default via fe80::" in one.run("ip", "-6", "route"))
    assert "fd00:80:" not in one.run("ip", "-6", "address", "show", "dev", "card")
    one.remove()
    network = networks.again(ipv6_cidr="fd00:81::7/80")["network"]
    assert (network["ipv6_cidr"], network["ipv6_gateway"]) == ("fd00:81::/80", "fd00:81::7")
    assert "fd00:81::7/80" in networks.host.run(["ip", "-6", "address", "show", "dev", "pocket0"]).stdout
    networks.again(mode="route")
    networks.again(ipv6_cidr="")
    assert "fd00:81" not in networks.host.run(["ip", "-6", "address", "show", "dev", "pocket0"]).stdout


def test_a_network_on_a_bridge_of_the_hosts(networks: Networks) -> None:
    bare = {"mode": "bridge", "bridge": "lan0", "cidr": "192.0.2.0/24", "address_range": "192.0.2.100-192.0.2.199"}
    assert "bridge: 'lan0' is no bridge on this host" in networks.refused(**bare)
    networks.host.run(["ip", "link", "add", "lan0", "type", "bridge"])
    networks.host.run(["ip", "address", "add", "192.0.2.1/24", "dev", "lan0"])
    try:
        networks.again(**bare)
        forward = networks.xml().find("forward")
        assert forward is not None
        assert (forward.get("mode"), networks.xml().find("ip")) == ("bridge", None)
        network = networks.again(gateway="192.0.2.1", dns=["192.0.2.1"], ipv6_cidr="fd00:2::/64")["network"]
        assert (network["gateway"], network["dns"], network["ipv6_cidr"]) == ("192.0.2.1", ["192.0.2.1"], "fd00:2::/64")
        networks.again(address_range="192.0.2.100-192.0.2.110", autostart=False)
        networks.again(gateway="", dns=[], ipv6_cidr="", cidr="192.0.2.64/26", address_range="192.0.2.100-192.0.2.120")
        # It becomes one with a bridge of its own, and goes back.
        networks.again(mode="nat", bridge="pocket0", cidr="10.80.0.0/24", address_range="")
        networks.again(**bare)
        networks.again(state="absent")
        assert "lan0" in networks.ports()
    finally:
        networks.host.run(["ip", "link", "del", "lan0"])


def test_a_network_that_was_made_otherwise_is_left_alone(networks: Networks) -> None:
    definition = "<network><name>own</name><bridge name='own0'/><ip address='10.70.0.1' prefix='24'/></network>"
    networks.host.path("/tmp/own.xml").write_text(definition)
    networks.host.virsh("net-define", "/tmp/own.xml")
    assert "adopt" in networks.refused(name="own")
    assert "adopt" in networks.refused(name="own", state="absent")
    assert "bridge of the network 'own'" in networks.refused(bridge="own0")
    networks.again(name="own", adopt=True)
    assert "overlaps with 10.70.0.1/24 of this host's 'own0'" in networks.refused(cidr="10.70.0.128/25")
    networks.again(name="own", state="absent", adopt=True)


def test_an_uplink_is_attached_at_once_and_whenever_the_network_starts(networks: Networks, uplink: str) -> None:
    warned = networks.again(uplink=uplink, mode="open")["warnings"]
    assert networks.master(uplink) == "pocket0"
    # libvirt looks for hooks when it starts, as it does after a boot.
    assert "systemctl restart libvirtd" in str(warned)
    networks.host.stop_libvirtd()
    networks.host.start_libvirt()
    networks.host.virsh("net-destroy", "pocket")
    assert networks.master(uplink) == ""
    networks.host.virsh("net-start", "pocket")
    assert networks.master(uplink) == "pocket0"
    assert networks.call(uplink=uplink)["changed"] is False
    networks.again(uplink="")
    assert networks.master(uplink) == ""
    networks.host.run(["ip", "address", "add", "198.51.100.7/24", "dev", uplink])
    assert "has the address 198.51.100.7/24" in networks.refused(uplink=uplink)


def test_what_killed_runs_leave_beside_a_network_is_found(networks: Networks, uplink: str) -> None:
    networks.again(dhcp=False)  # it leaves the directory of reservations to its running DHCP server
    networks.host.path(HOOKS).mkdir(parents=True, exist_ok=True)
    half = networks.host.path(f"{HOOKS}/../.pocket-cloud-pocket")
    half.write_text("#!/bin")
    networks.again(uplink=uplink)
    assert not half.exists()
    networks.again(uplink="", dhcp=True)
    # Killed when the directory is gone and the definition is still there.
    networks.host.virsh("net-destroy", "pocket")
    (directory,) = networks.host.path(RESERVATIONS).glob("*.pocket")
    directory.rmdir()
    half.write_text("#!/bin")
    networks.again(state="absent")
    assert networks.left_over() == []
    half.write_text("#!/bin")
    networks.again(state="absent")
    assert networks.left_over() == []


def test_instances_are_in_the_network_behind_the_uplink(
    networks: Networks, uplink: str, store: str, guest_image: Path, machine: Callable[..., Machine]
) -> None:
    host = networks.host
    networks.again(uplink=uplink, mode="open")
    cloud = Cloud(host, store, guest_image)
    (instance,) = cloud.run(name="a", wait=True, wait_port=80, wait_timeout=180)["instances"]
    # Machines behind the uplink are not ours to give addresses to: the DHCP server answers instances alone.
    stranger = machine("stranger", "pocket0")
    assert stranger.dhcp() == []
    host.virsh("net-update", "pocket", "add", "ip-dhcp-host", host_xml(stranger.mac, "10.80.0.201"), "--live")
    assert stranger.dhcp(tries=20)[0] == "10.80.0.201"
    host.virsh("net-update", "pocket", "delete", "ip-dhcp-host", host_xml(stranger.mac, "10.80.0.201"), "--live")
    lan(host, "ip", "address", "add", "10.80.0.200/24", "dev", "up1")
    answer = lan(host, PYTHON, "-I", "-c", FETCH, f"http://{instance['private_ip_address']}/", "5")
    assert answer.split() == [instance["instance_id"], instance["private_ip_address"]]
    assert instance["instance_id"] in networks.refused(bridge="br9")
    assert instance["instance_id"] in networks.refused(state="absent")
    cloud.run(name="a", state="terminated")
    cloud.assert_nothing_left()
