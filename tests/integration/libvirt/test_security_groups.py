# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups and anti-spoofing on a real libvirtd: what must pass between guests that boot, and what must not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host, wait_until

HOST, SERVER, CLIENT, STRANGER, LIAR, MASKED = (f"10.80.0.{number}" for number in (1, 10, 11, 12, 13, 14))
FALSE = "10.80.0.77"
HOST6, SERVER6, CLIENT6, FALSE6 = (f"fd00:80::{number}" for number in (1, 10, 11, 77))
PROBE = """#!/bin/sh
try() {{  # try NAME COMMAND...: publish whether the command succeeds
    name=$1
    shift
    "$@" </dev/null >/dev/null 2>&1 && echo yes >/run/$name || echo no >/run/$name
    mv /run/$name /var/www/$name
}}
(
    while :; do
        try web nc -w 1 {peer} 80
        try ping ping -c 1 -W 1 {peer}
        sleep 0.2
    done
) &
"""
LIE = f"#!/bin/sh\nip address add {FALSE}/24 dev eth0\n"
LIE6 = f"#!/bin/sh\nip address add {FALSE6}/64 dev eth0\n"
MASK = f"""#!/bin/sh
ip link set eth0 down
ip link set eth0 address 52:54:00:00:00:99
ip address add {MASKED}/24 dev eth0
ip link set eth0 up
"""


class Guarded(Cloud):
    """A cloud with security groups; each call is made in check mode first."""

    def group(self, name: str, **stated: Any) -> dict[str, Any]:
        asked = {"store": self.store, "name": name, **stated}
        filters = self.filters()
        foretold = self.host.ok("ec2like_security_group", check=True, **asked)
        assert self.filters() == filters
        done = self.host.ok("ec2like_security_group", **asked)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        assert self.host.ok("ec2like_security_group", **asked)["changed"] is False
        return done

    def filters(self) -> dict[str, str]:
        names = [line.split()[1] for line in self.host.virsh("nwfilter-list").splitlines() if line.strip()]
        return {name: self.host.virsh("nwfilter-dumpxml", name) for name in names}

    def launch(self, address: str, user_data: str, **stated: Any) -> str:
        asked = {"name": address, "private_ip_address": address, "user_data": user_data, **stated}
        return str(self.both(**asked)["instance_ids"][0])

    def tells(self, address: str, page: str, wanted: str | None) -> None:
        """Wait until the host gets `wanted` from a guest."""
        wait_until(
            f"{wanted} of {address}/{page}", lambda: self.host.http(address, path=f"/{page}", timeout=1) == wanted
        )

    def console(self, instance_id: str) -> str:
        return (self.host.path(self.store) / "instances" / instance_id / "console.log").read_text(errors="replace")

    def reached(self, address: str) -> bool:
        return self.host.http(address, timeout=1) is not None


@pytest.fixture
def cloud(host: Host, store: str, guest_image: Path) -> Iterator[Guarded]:
    yield from clean_cloud(host, store, guest_image)


@pytest.fixture
def cloud6(host: Host, store: str, guest_image: Path) -> Iterator[Guarded]:
    host.ok("ec2like_network", store=store, ipv6_cidr="fd00:80::/64")
    yield from clean_cloud(host, store, guest_image)


@pytest.fixture
def idle(host: Host, store: str, tmp_path: Path) -> Iterator[Guarded]:
    yield from clean_cloud(host, store, idle_image(tmp_path))


def clean_cloud(host: Host, store: str, image: Path) -> Iterator[Guarded]:
    made = Guarded(host, store, image)
    yield made
    ids = [one for one in made.domains() if one.startswith("i-")]
    made.run(state="terminated", instance_ids=ids)
    made.assert_nothing_left()
    for group in host.ok("ec2like_security_group_info", store=store)["security_groups"]:
        host.ok("ec2like_security_group", store=store, name=group["group_name"], rules=[], rules_egress=[])
    for group in host.ok("ec2like_security_group_info", store=store)["security_groups"]:
        host.ok("ec2like_security_group", store=store, group_id=group["group_id"], state="absent")
    assert made.filters() == {}
    assert "vnet" not in host.run(["ebtables", "-t", "nat", "-L"]).stdout + host.run(["iptables-save"]).stdout
    host.ok("ec2like_network", store=store, state="absent")


def test_traffic_passes_where_a_rule_allows_it_and_nowhere_else(cloud: Guarded) -> None:
    web = {"ports": ["80"]}
    host_in = {**web, "cidr_ip": [f"{HOST}/32"]}
    cloud.group("clients", rules=[host_in])
    cloud.group("web")
    server = cloud.launch(SERVER, PROBE.format(peer=CLIENT), security_groups=["web"])
    cloud.launch(CLIENT, PROBE.format(peer=SERVER), security_groups=["clients"])
    stranger = cloud.launch(STRANGER, PROBE.format(peer=SERVER))
    # A new group lets nobody in.
    for address in (CLIENT, STRANGER):
        cloud.tells(address, "web", "no")
        cloud.tells(address, "ping", "no")
    assert not cloud.reached(SERVER)
    # Members of a group, live, and those that join it later.
    cloud.group("web", rules=[{**web, "group_name": ["clients"]}])
    cloud.tells(CLIENT, "web", "yes")
    cloud.tells(CLIENT, "ping", "no")
    cloud.tells(STRANGER, "web", "no")
    assert not cloud.reached(SERVER)
    cloud.both(instance_ids=[stranger], security_groups=["clients"])
    cloud.tells(STRANGER, "web", "yes")
    # Others in their place: an address and a type of ICMP.
    icmp = {"proto": "icmp", "from_port": 8, "cidr_ip": ["10.80.0.0/24"]}
    cloud.group("web", rules=[{**web, "cidr_ip": [f"{STRANGER}/32"]}, icmp])
    cloud.tells(CLIENT, "web", "no")
    for address in (CLIENT, STRANGER):
        cloud.tells(address, "ping", "yes")
    cloud.tells(STRANGER, "web", "yes")
    assert not cloud.reached(SERVER)
    # The host is one of those who need a rule; then it sees what the server may do of its own accord.
    cloud.group("web", rules=[host_in])
    cloud.group("clients", rules=[host_in, {**web, "group_name": ["web"]}])
    cloud.tells(STRANGER, "web", "no")
    cloud.tells(SERVER, "web", "yes")
    cloud.group("web", rules_egress=[])
    cloud.tells(SERVER, "web", "no")
    cloud.group("web", rules_egress=[{**web, "cidr_ip": [f"{CLIENT}/32"]}])
    cloud.tells(SERVER, "web", "yes")
    # Without a group everybody is let in again.
    cloud.both(instance_ids=[server], security_groups=[])
    for address in (CLIENT, STRANGER):
        cloud.tells(address, "web", "yes")
        cloud.tells(address, "ping", "yes")


def test_a_guest_that_lies_about_its_addresses_is_not_heard(cloud: Guarded) -> None:
    assert cloud.host.ok("ec2like_host_info", store=cloud.store)["host"]["network_filters"]["spoofing"] is True
    liar = cloud.launch(LIAR, LIE)
    masked = cloud.launch(MASKED, MASK)
    cloud.tells(LIAR, "boots", "1")
    wait_until("the masked guest", lambda: "is ready" in cloud.console(masked))
    assert not cloud.reached(FALSE)
    assert not cloud.reached(MASKED)
    kernel = cloud.host.run(["ebtables", "-t", "nat", "-L"]).stdout.splitlines()
    accepted = [line for line in kernel if "-p" in line and line.endswith("-j ACCEPT")]
    assert len(accepted) == 12
    for line in accepted:
        macs = [found for found in re.findall(r"(?:-s|--arp-mac-src) ([0-9a-f:]+)", line) if found.startswith("52:54")]
        assert len(macs) == (2 if "ARP" in line else 1)
    # Nor does either announce a router, whatever address it does that from.
    assert len([line for line in kernel if is_drop_of_routers(line)]) == 2
    both = [liar, masked]
    assert cloud.both(instance_ids=both, source_dest_check=False)["changed_ids"] == both
    assert cloud.both(instance_ids=both, source_dest_check=False)["changed"] is False
    cloud.host.run(["ip", "neigh", "flush", "all"])
    wait_until("the false IP address", lambda: cloud.reached(FALSE))
    wait_until("the false MAC address", lambda: cloud.reached(MASKED))
    cloud.both(instance_ids=both, source_dest_check=True)
    cloud.host.run(["ip", "neigh", "flush", "all"])
    wait_until("the end of the false IP address", lambda: not cloud.reached(FALSE))
    assert not cloud.reached(MASKED)
    wait_until("its own address", lambda: cloud.reached(LIAR))


def is_drop_of_routers(line: str) -> bool:
    """Whether it is ebtables' rule; some have names for types, and some add the range of codes."""
    return bool(re.match(r"-p IPv6 .*--ip6-icmp-type (134|router-advertisement)\b", line)) and line.endswith("-j DROP")


def test_ipv6_passes_where_a_rule_allows_it_and_from_no_false_address(cloud6: Guarded) -> None:
    cloud = cloud6
    web = {"ports": ["80"]}
    cloud.group("web")
    server = cloud.launch(SERVER, LIE6, ipv6_address=SERVER6, security_groups=["web"])
    cloud.launch(CLIENT, PROBE.format(peer=SERVER6), ipv6_address=CLIENT6)
    cloud.tells(CLIENT, "web", "no")
    cloud.tells(CLIENT, "ping", "no")
    assert not cloud.reached(f"[{SERVER6}]")
    # An instance with a group hears routers and is none; without one, too, it is not to announce itself.
    kernel = cloud.host.run(["ip6tables", "-S"]).stdout
    sent, heard = (re.findall(rf"-A {chain}-\S+ .*--icmpv6-type (\d+) -j", kernel) for chain in ("FI", "FO"))
    assert (sent, heard) == (["133", "135", "136", "143"], ["134", "135", "136"])
    ebtables = cloud.host.run(["ebtables", "-t", "nat", "-L"]).stdout.splitlines()
    assert len([line for line in ebtables if is_drop_of_routers(line)]) == 2
    cloud.group("web", rules=[{**web, "cidr_ipv6": [f"{CLIENT6}/128"]}])
    cloud.tells(CLIENT, "web", "yes")
    cloud.tells(CLIENT, "ping", "no")
    assert not cloud.reached(f"[{SERVER6}]")
    ping = {"proto": "icmpv6", "from_port": 128, "cidr_ipv6": ["fd00:80::/64"]}
    cloud.group("web", rules=[{**web, "cidr_ipv6": [f"{HOST6}/128"]}, ping])
    cloud.tells(CLIENT, "web", "no")
    cloud.tells(CLIENT, "ping", "yes")
    wait_until("its own address", lambda: cloud.reached(f"[{SERVER6}]"))
    assert not cloud.reached(f"[{FALSE6}]")
    cloud.both(instance_ids=[server], source_dest_check=False)
    cloud.host.run(["ip", "-6", "neigh", "flush", "all"])
    wait_until("the false address", lambda: cloud.reached(f"[{FALSE6}]"))
    cloud.both(instance_ids=[server], source_dest_check=True)
    cloud.host.run(["ip", "-6", "neigh", "flush", "all"])
    wait_until("the end of the false address", lambda: not cloud.reached(f"[{FALSE6}]"))
    wait_until("its own address", lambda: cloud.reached(f"[{SERVER6}]"))


def test_filters_that_are_gone_or_edited_are_made_anew(idle: Guarded) -> None:
    kinds = [
        {"ports": ["22", "8000-8099"], "cidr_ip": ["192.0.2.0/24"], "rule_desc": "<&'\"> operators"},
        {"proto": "udp", "from_port": -1, "to_port": -1, "cidr_ipv6": ["2001:db8::/32"], "cidr_ip": ["0.0.0.0/0"]},
        {"proto": "icmp", "cidr_ip": ["0.0.0.0/0"]},
        {"proto": "icmpv6", "from_port": 128, "to_port": 0, "cidr_ipv6": ["::/0"]},
        {"proto": "all", "group_name": ["web"]},
    ]
    group = idle.group("web", rules=kinds)["security_group"]
    assert len(group["ip_permissions"]) == 6
    (instance_id,) = idle.both(name="a", security_groups=[group["group_id"]])["instance_ids"]
    assert idle.both(name="a", security_groups=["web"])["changed"] is False
    whole = idle.filters()
    assert set(whole) == {f"pocket-{group['group_id']}", f"pocket-{instance_id}-0"}
    saved = idle.host.run(["iptables-save"]).stdout + idle.host.run(["ip6tables-save"]).stdout
    for part in ("--dport 8000:8099", "-s 2001:db8::/32 -p udp", "--icmpv6-type 128/0", "-p ipv6-icmp"):
        assert part in saved

    uuid = whole[f"pocket-{group['group_id']}"].split("<uuid>")[1][:36]
    edited = f"<filter name='pocket-{group['group_id']}' chain='root'><uuid>{uuid}</uuid></filter>"
    idle.host.path("/run/empty.xml").write_text(edited)
    idle.host.virsh("nwfilter-define", "/run/empty.xml")
    assert "8000:8099" not in idle.host.run(["iptables-save"]).stdout
    assert idle.group("web")["changed"] is True
    assert idle.filters() == whole
    idle.host.virsh("nwfilter-define", "/run/empty.xml")
    idle.host.virsh("destroy", instance_id)
    idle.host.virsh("nwfilter-undefine", f"pocket-{instance_id}-0")
    repaired = idle.both(name="a", state="running")
    assert repaired["changed_ids"] == [instance_id]
    assert idle.filters() == whole

    failed = idle.host.refused("ec2like_security_group", store=idle.store, name="web", state="absent")
    assert failed["error_code"] == "DependencyViolation"
    assert instance_id in failed["msg"]
    found = idle.host.ok("ec2like_instance_info", store=idle.store, filters={"instance.group-name": "w*"})
    assert found["instance_ids"] == [instance_id]
    assert found["instances"][0]["security_groups"] == [{"group_id": group["group_id"], "group_name": "web"}]


def test_rules_at_the_edges_of_what_may_be_come_back_from_libvirt_as_they_were(idle: Guarded) -> None:
    """What libvirt writes otherwise would be repaired by every run from then on."""
    anybody: dict[str, Any] = {"cidr_ip": ["0.0.0.0/0"], "cidr_ipv6": ["::/0"]}
    edges: list[dict[str, Any]] = [
        {"ports": ["0", "65535", "0-65535"], **anybody},
        {"proto": "udp", "from_port": 0, "to_port": 0, **anybody},
        {"proto": "icmp", "from_port": 255, "to_port": 255, "cidr_ip": ["192.0.2.1"]},
        {"proto": "icmp", "from_port": 0, "cidr_ip": ["0.0.0.0/0"]},
        {"proto": "icmp", "from_port": 8, "to_port": -1, "group_name": ["edges"]},
        {"proto": "icmpv6", "from_port": 255, "to_port": 255, "cidr_ipv6": ["2001:db8:0:0:1::/80"]},
        {"proto": "all", "cidr_ip": ["255.255.255.255/32"], "cidr_ipv6": ["::1", "2001:db8::0001/128", "fe80::/10"]},
    ]
    idle.group("edges", rules=edges, rules_egress=edges)
    (instance_id,) = idle.both(name="a", security_groups=["edges"])["instance_ids"]
    assert idle.both(name="a", security_groups=["edges"])["changed"] is False
    for prefix in ("::ffff:192.0.2.1/128", "::192.0.2.1/128"):
        rule = {"ports": ["80"], "cidr_ipv6": [prefix]}
        failed = idle.host.refused("ec2like_security_group", store=idle.store, name="edges", rules=[rule])
        assert "one of IPv4's" in failed["msg"]
    assert idle.domains("--state-running") == {instance_id}


def test_an_interface_gets_its_filter_when_there_is_something_to_filter(idle: Guarded) -> None:
    def chains() -> set[str]:
        """The instances' network devices that rules are about."""
        return set(re.findall(r"-[io] (vnet\d+) -j", idle.host.run(["ebtables", "-t", "nat", "-L"]).stdout))

    def devices(*ids: str) -> set[str]:
        return {word for one in ids for word in idle.host.virsh("domiflist", one).split() if word.startswith("vnet")}

    (one,) = idle.both(name="a", source_dest_check=False)["instance_ids"]
    assert idle.filters() == {}
    assert chains() == set()
    idle.both(name="a", source_dest_check=True)
    assert chains() == devices(one)
    idle.assert_whole(1)
    # Off, and asleep, it counts from the next start on.
    stopped, asleep = idle.both(exact_count=2, tags={"x": "y"}, source_dest_check=False)["instance_ids"]
    idle.both(instance_ids=[stopped], state="stopped", stop_timeout=0)
    idle.both(instance_ids=[asleep], state="stopped", hibernate=True)
    idle.both(tags={"x": "y"}, filters={"tag:x": "y"}, source_dest_check=True)
    idle.both(filters={"tag:x": "y"}, state="running")
    assert chains() == devices(one, stopped, asleep)
    # Somebody takes one away.
    bare = re.sub("<filterref[^>]*/>", "", idle.host.virsh("dumpxml", "--inactive", one))
    idle.host.path("/run/bare.xml").write_text(bare)
    idle.host.virsh("define", "/run/bare.xml")
    assert idle.both(name="a")["changed"] is True
    idle.assert_whole(3)
    # Nothing is left to filter; the filter stays where it is, and lets all through.
    idle.both(name="a", source_dest_check=False)
    idle.both(name="a", state="restarted", stop_timeout=0)
    idle.assert_whole(3)


def test_a_host_that_cannot_enforce_it_says_so(idle: Guarded) -> None:
    idle.host.run(["ln", "-sfn", "/bin/false", "/etc/alternatives/ebtables"])
    try:
        told = idle.host.ok("ec2like_host_info", store=idle.store)["host"]["network_filters"]
        assert told["spoofing"] is False
        assert "ebtables does not work with this kernel" in told["spoofing_reason"]
        failed = idle.refused(name="a", source_dest_check=True)
        assert failed["error_code"] == "UnsupportedOperation"
        assert "ebtables" in failed["msg"]
        idle.assert_nothing_left()
        launched = idle.run(name="a")
        warned = str(launched["warnings"])
        assert "source_dest_check: is not enforced" in warned
        assert "ebtables" in warned
        # What iptables alone can do is done.
        address = launched["instances"][0]["private_ip_address"]
        assert f"! -s {address}/32 -j DROP" in idle.host.run(["iptables-save"]).stdout
        assert not idle.run(name="a").get("warnings")
        idle.group("web")
        assert idle.both(name="a", security_groups=["web"])["changed"] is True
    finally:
        idle.host.run(["ln", "-sfn", "/usr/sbin/ebtables-nft", "/etc/alternatives/ebtables"])
    # Where the programs are there again, the next run puts the rest in force.
    assert idle.both(name="a")["changed"] is True
    assert "-j libvirt-I-" in idle.host.run(["ebtables", "-t", "nat", "-L"]).stdout
    assert idle.both(name="a")["changed"] is False
