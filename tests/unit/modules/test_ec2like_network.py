# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import store
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_task import NetworkTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import network_of
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import AddressRange
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.uplinks import Interface
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

UNSTATED = dict.fromkeys(
    (
        "bridge",
        "cidr",
        "mode",
        "dhcp",
        "dhcp_range",
        "address_range",
        "gateway",
        "dns",
        "ipv6_cidr",
        "uplink",
        "autostart",
    )
)


class Desk(KvmHost):
    """A host without a network, and the module on it; each call is made in check mode first."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(place, monkeypatch)
        self.hypervisor.nets.clear()

    def params(self, **stated: Any) -> dict[str, Any]:
        return {
            "name": "pocket",
            "state": "present",
            "adopt": False,
            "uri": "fake:///",
            "store": "",
            **UNSTATED,
            **stated,
        }

    def network_task(self, params: dict[str, Any]) -> NetworkTask:
        return NetworkTask(params, self.hypervisor, self.store, self.uplinks)

    def call(self, **stated: Any) -> dict[str, Any]:
        params = self.params(**stated)
        before = self.whole()
        self.guard.forbidden = True
        foretold = execute(self.network_task, params, check=True)
        self.guard.forbidden = False
        assert self.whole() == before
        done = execute(self.network_task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        return done

    def again(self, **stated: Any) -> dict[str, Any]:
        first = self.call(**stated)
        assert first["changed"] is True
        second = self.call(**stated)
        assert second["changed"] is False
        assert second["network"] == first["network"]
        return first

    def refuse(self, **stated: Any) -> dict[str, Any]:
        before = self.whole()
        self.guard.forbidden = True
        told = refusal(self.network_task, self.params(**stated), check=True)
        self.guard.forbidden = False
        done = refusal(self.network_task, self.params(**stated))
        assert told["msg"] == done["msg"]
        assert done["changed"] is False
        assert self.whole() == before
        return done

    def whole(self) -> Any:
        return self.snapshot(), dict(self.uplinks.found), self.uplinks.hook("pocket")

    def writes(self, **stated: Any) -> list[str]:
        start = len(self.guard.writes)
        self.again(**stated)
        return self.guard.writes[start:]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_the_defaults_are_those_of_a_new_network_only(desk: Desk) -> None:
    network = desk.again()["network"]
    assert network == {
        "name": "pocket",
        "bridge": "pocket0",
        "bridge_address": "10.80.0.1",
        "cidr": "10.80.0.0/24",
        "gateway": "10.80.0.1",
        "dns": ["10.80.0.1"],
        "ipv6_cidr": None,
        "ipv6_gateway": None,
        "mode": "nat",
        "dhcp": True,
        "dhcp_range": None,
        "address_range": None,
        "uplink": None,
        "autostart": True,
        "active": True,
        "reservations": [],
    }
    changed = desk.again(mode="open", cidr="10.9.0.7/16", autostart=False, bridge="br9")["network"]
    assert desk.call()["network"] == changed
    assert changed["gateway"] == "10.9.0.7"
    assert desk.call(cidr="10.9.0.0/16")["changed"] is False


def test_what_can_be_changed_in_place_is(desk: Desk) -> None:
    desk.again()
    assert desk.writes(dhcp_range="10.80.0.200-10.80.0.250") == ["range pocket", "serve pocket"]
    assert desk.writes(dhcp_range="") == ["range pocket", "serve pocket"]
    assert desk.writes(autostart=False) == ["autostart pocket"]
    assert desk.writes(address_range="10.80.0.10-10.80.0.20") == ["define pocket"]
    assert desk.writes(mode="route") == ["define pocket", "stop pocket", "start pocket"]
    assert desk.writes(uplink="eth1") == ["hook pocket", "define pocket", "attach eth1"]
    assert desk.writes(uplink="") == ["hook pocket", "detach eth1", "define pocket"]
    assert desk.uplinks.hook("pocket") is None


RANGE, OTHER = "10.80.0.200-10.80.0.250", "10.80.0.210-10.80.0.220"


def test_a_range_is_served_whatever_else_is_changed_with_it(desk: Desk) -> None:
    desk.again(dhcp_range=RANGE)
    assert "restart" not in desk.writes(dhcp_range=OTHER, address_range="10.80.0.10-10.80.0.20")
    assert str(desk.hypervisor.nets["pocket"].live_range) == OTHER
    desk.again(dhcp_range="", uplink="eth1")
    assert desk.hypervisor.nets["pocket"].live_range is None
    desk.again(dhcp_range=RANGE, uplink="", mode="open")
    assert str(desk.hypervisor.nets["pocket"].live_range) == RANGE
    desk.again(dhcp_range="", dhcp=False)
    assert desk.hypervisor.nets["pocket"].live_range is None


@pytest.mark.parametrize("told", ["10.80.0.200-10.80.0.250", None])
def test_a_server_that_runs_with_another_range_than_the_defined_is_given_that(desk: Desk, told: str | None) -> None:
    desk.again(dhcp_range=OTHER)
    there = desk.hypervisor.nets["pocket"]
    desk.hypervisor.nets["pocket"] = replace(there, live_range=AddressRange.of(told, "dhcp_range") if told else None)
    diff = desk.again()["diff"]
    assert f"{told or 'none'} (defined is {OTHER})" in diff["before"]
    assert OTHER in diff["after"]
    assert str(desk.hypervisor.nets["pocket"].live_range) == OTHER


def test_a_network_that_is_stopped_or_to_be_restarted_starts_with_its_range(desk: Desk) -> None:
    desk.again()
    desk.hypervisor.stop_network("pocket")
    assert desk.writes(dhcp_range=RANGE) == ["define pocket", "start pocket"]
    assert str(desk.hypervisor.nets["pocket"].live_range) == RANGE
    kill_after(desk, 1, mode="open")
    assert desk.hypervisor.nets["pocket"].outdated
    assert desk.writes(dhcp_range=OTHER) == ["define pocket", "stop pocket", "start pocket"]
    assert str(desk.hypervisor.nets["pocket"].live_range) == OTHER


def test_the_uplink_is_attached_by_a_hook_and_at_once(desk: Desk) -> None:
    desk.again(uplink="eth1", mode="open")
    assert desk.uplinks.found["eth1"].master == "pocket0"
    hook = desk.uplinks.hook("pocket") or ""
    assert hook.startswith("#!/bin/sh\n")
    assert "ip link set dev eth1 master pocket0 up" in hook
    desk.uplinks.detach("eth1")
    result = desk.again(uplink="eth1")
    assert "eth1 (not attached)" in result["diff"]["before"]
    assert desk.again(bridge="br1")["changed"] is True
    assert desk.uplinks.found["eth1"].master == "br1"
    desk.again(state="absent")
    assert desk.uplinks.hook("pocket") is None


def test_the_first_hook_on_a_host_comes_with_a_warning(desk: Desk, tmp_path: Path) -> None:
    def warned(**stated: Any) -> list[str]:
        task = desk.network_task(desk.params(**stated))
        there = task.read()
        warnings = task.warnings(task.plan(there), there)
        desk.call(**stated)
        return warnings

    hooks = tmp_path / "hooks"
    assert warned() == []
    (warning,) = warned(uplink="eth1")
    assert "a start of the network 'pocket' by others" in warning
    assert "systemctl restart libvirtd" in warning
    assert warned(uplink="eth1") == []
    assert warned(bridge="br9") == []  # another hook, but not the first
    assert warned(uplink="") == []
    for name, mode, first in (("network.d/50-mine", 0o644, True), ("network.d/50-mine", 0o755, False)):
        path = hooks / name
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
        assert bool(warned(uplink="eth1")) == first
        warned(uplink="")
    path.rename(hooks / "network")
    assert warned(uplink="eth1") == []


def test_a_restart_that_cuts_somebody_off_is_refused(desk: Desk) -> None:
    desk.again()
    ids = execute(desk.task, {**PARAMS, "name": "a"})["instance_ids"]
    for stated in ({"mode": "open"}, {"bridge": "br1"}):
        failed = desk.refuse(**stated)
        assert "takes a restart" in failed["msg"]
        assert ids[0] in failed["msg"]
    desk.again(autostart=False)
    assert "depend on it" in desk.refuse(cidr="10.81.0.0/24")["msg"]
    assert "use it" in desk.refuse(state="absent")["msg"]
    execute(desk.task, {**PARAMS, "name": "a", "state": "stopped"})
    desk.again(mode="open")
    assert "depend on it" in desk.refuse(cidr="10.81.0.0/24")["msg"]
    assert "use it" in desk.refuse(state="absent")["msg"]
    execute(desk.task, {**PARAMS, "name": "a", "state": "terminated"})
    desk.again(cidr="10.81.0.0/24")
    desk.again(state="absent")


def test_a_network_of_somebody_else_is_left_alone_unless_adopted(desk: Desk) -> None:
    foreign = replace(desk.network("default", "192.168.122.1/24"), uuid="c2b3b2ab-0000-4000-8000-000000000000")
    xml = foreign.xml.replace("</network>", '<domain name="lan"/></network>')
    desk.hypervisor.nets["default"] = replace(foreign, xml=xml)
    assert desk.call(name="default")["changed"] is False
    refused = desk.refuse(name="default", mode="open")
    assert "adopt" in refused["msg"]
    assert refused["error_code"] == "OperationNotPermitted"
    assert "adopt" in desk.refuse(name="default", state="absent")["msg"]
    for stated in ({"outdated": True}, {"live_range": AddressRange.of("192.168.122.2-192.168.122.9", "dhcp_range")}):
        there = desk.hypervisor.nets["default"]
        desk.hypervisor.nets["default"] = replace(there, **stated)
        assert "adopt" in desk.refuse(name="default")["msg"]
        desk.hypervisor.nets["default"] = there
    desk.again(name="default", mode="open", adopt=True)
    assert 'name="lan"' in desk.hypervisor.nets["default"].xml
    desk.again(name="default", state="absent", adopt=True)


def test_the_range_of_instances_is_kept_to(desk: Desk) -> None:
    desk.again(address_range="10.80.0.10-10.80.0.11", dhcp_range="10.80.0.10-10.80.0.10")
    result = execute(desk.task, {**PARAMS, "count": 2})
    # The one that any machine may be given comes last.
    assert [one["private_ip_address"] for one in result["instances"]] == ["10.80.0.11", "10.80.0.10"]
    failed = refusal(desk.task, {**PARAMS, "count": 1})
    assert failed["error_code"] == "InsufficientFreeAddressesInSubnet"


def test_gateway_and_name_servers_are_set_kept_changed_and_taken_back(desk: Desk) -> None:
    desk.again()
    network = desk.again(gateway="10.80.0.254", dns=["10.80.0.254", "fd00::53"])["network"]
    assert (network["gateway"], network["dns"]) == ("10.80.0.254", ["10.80.0.254", "fd00::53"])
    xml = desk.hypervisor.nets["pocket"].xml
    assert "dhcp-option=option:router,10.80.0.254" in xml
    assert "dhcp-option=option:dns-server,10.80.0.254" in xml
    assert desk.writes(gateway="10.80.0.253") == ["define pocket", "stop pocket", "start pocket"]
    assert desk.again(dns=[])["network"]["dns"] == ["10.80.0.1"]
    assert desk.again(gateway="")["network"]["gateway"] == "10.80.0.1"
    assert "dhcp-option" not in desk.hypervisor.nets["pocket"].xml


def test_an_ipv6_subnet_is_set_kept_changed_and_taken_back(desk: Desk) -> None:
    desk.again()
    network = desk.again(ipv6_cidr="fd00:80::/64")["network"]
    assert (network["ipv6_cidr"], network["ipv6_gateway"]) == ("fd00:80::/64", "fd00:80::1")
    assert network["reservations"] == []
    assert desk.hypervisor.nets["pocket"].serves_dhcp6
    assert '<nat ipv6="yes"' in desk.hypervisor.nets["pocket"].xml
    assert desk.again(ipv6_cidr="fd00:81::7/96")["network"]["ipv6_gateway"] == "fd00:81::7"
    ids = execute(desk.task, {**PARAMS, "name": "a"})["instance_ids"]
    assert ids[0] in desk.refuse(ipv6_cidr="fd00:82::/64")["msg"]
    assert ids[0] in desk.refuse(ipv6_cidr="")["msg"]
    execute(desk.task, {**PARAMS, "name": "a", "state": "terminated"})
    assert desk.again(ipv6_cidr="")["network"]["ipv6_cidr"] is None
    assert "ipv6" not in desk.hypervisor.nets["pocket"].xml


def test_an_ipv6_subnet_waits_for_a_host_that_would_lose_its_own_routes(desk: Desk) -> None:
    eth0 = desk.uplinks.found["eth0"]
    desk.uplinks.found["eth0"] = replace(eth0, loses_routes=True)
    assert "sysctl -w net/ipv6/conf/eth0/accept_ra=2" in desk.refuse(ipv6_cidr="fd00:80::/64")["msg"]
    desk.again()
    assert desk.refuse(ipv6_cidr="fd00:80::/64")["error_code"] == "InvalidParameterValue"
    desk.uplinks.found["eth0"] = eth0
    desk.again(ipv6_cidr="fd00:80::/64")
    desk.uplinks.found["eth0"] = replace(eth0, loses_routes=True)
    assert desk.call(ipv6_cidr="fd00:80::/64")["changed"] is False


def test_dhcp_is_turned_off_and_on(desk: Desk) -> None:
    assert desk.again(dhcp=False)["network"]["dhcp"] is False
    assert desk.writes(dhcp=True) == ["define pocket"]
    ids = execute(desk.task, {**PARAMS, "name": "a"})["instance_ids"]
    assert ids[0] in desk.refuse(dhcp=False)["msg"]


BARE = {"mode": "bridge", "bridge": "br0", "cidr": "192.0.2.0/24", "address_range": "192.0.2.100-192.0.2.199"}


def test_a_network_on_a_bridge_of_the_hosts(desk: Desk) -> None:
    desk.uplinks.found["br0"] = Interface("br0", (ipaddress.ip_interface("192.0.2.1/24"),), kind="bridge")
    network = desk.again(**BARE)["network"]
    assert {name: network[name] for name in ("bridge_address", "cidr", "gateway", "dns", "dhcp")} == {
        "bridge_address": None,
        "cidr": "192.0.2.0/24",
        "gateway": None,
        "dns": [],
        "dhcp": False,
    }
    assert desk.call(cidr="192.0.2.0/24")["changed"] is False
    assert desk.writes(gateway="192.0.2.1", dns=["192.0.2.1"]) == ["define pocket"]
    assert desk.writes(ipv6_cidr="fd00:80::/64") == ["define pocket"]
    assert desk.writes(address_range="192.0.2.100-192.0.2.120") == ["define pocket"]
    assert desk.again(gateway="", dns=[], ipv6_cidr="")["network"]["gateway"] is None
    # It becomes one with a bridge of its own, and goes back.
    assert desk.again(mode="nat", bridge="br7", cidr="10.7.0.0/24", address_range="")["network"]["dhcp"] is True
    assert desk.again(**BARE)["network"] == network
    desk.again(state="absent")
    assert "br0" in desk.uplinks.found


def test_a_network_on_a_bridge_that_others_made_is_adopted_with_its_subnet(desk: Desk) -> None:
    desk.uplinks.found["br0"] = Interface("br0", kind="bridge")
    uuid = "c2b3b2ab-0000-4000-8000-000000000000"
    xml = (
        f"<network><name>lan</name><uuid>{uuid}</uuid><forward mode='bridge'/><bridge name='br0'/>"
        "<portgroup name='engineering' default='yes'/></network>"
    )
    desk.hypervisor.nets["lan"] = network_of(xml, active=True, autostart=True)
    subnet = {"cidr": "192.0.2.0/24", "address_range": "192.0.2.100-192.0.2.199"}
    assert "no IPv4 subnet of libvirt's" in refusal(desk.task, {**PARAMS, "name": "a", "network": "lan"})["msg"]
    assert "adopt" in desk.refuse(name="lan", **subnet)["msg"]
    start = len(desk.guard.writes)
    desk.again(name="lan", adopt=True, **subnet)
    assert desk.guard.writes[start:] == ["define lan"]
    adopted = desk.hypervisor.nets["lan"]
    assert (adopted.uuid, adopted.bridge, "engineering" in adopted.xml) == (uuid, "br0", True)
    (instance,) = execute(desk.task, {**PARAMS, "name": "a", "network": "lan"})["instances"]
    assert (instance["private_ip_address"], instance["network_interfaces"][0]["given_by"]) == ("192.0.2.100", "seed")


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"bridge": None}, "bridge: '' is no bridge on this host (there are br0)"),
        ({"bridge": "eth1"}, "bridge: 'eth1' is no bridge on this host"),
        ({"cidr": None}, "cidr: the network 'pocket' has no IPv4 subnet"),
        ({"address_range": None}, "address_range: is missing"),
        ({"dhcp": True}, "dhcp: libvirt has no DHCP server"),
        ({"uplink": "eth1"}, "uplink: 'eth1' is not ours"),
        ({"dhcp_range": "192.0.2.7-192.0.2.9"}, "dhcp_range: 192.0.2.7-192.0.2.9 is for the DHCP server"),
        ({"gateway": "192.0.3.1"}, "gateway: 192.0.3.1 is no machine's address in 192.0.2.0/24"),
    ],
)
def test_what_a_bridge_of_the_hosts_cannot_have_is_refused(desk: Desk, stated: dict[str, Any], said: str) -> None:
    desk.uplinks.found["br0"] = Interface("br0", (ipaddress.ip_interface("192.0.2.1/24"),), kind="bridge")
    assert said in desk.refuse(**{**BARE, **stated})["msg"]


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"name": "a b"}, "name: 'a b'"),
        ({"bridge": "b" * 16}, "bridge: 'bbbbbbbbbbbbbbbb'"),
        ({"name": "n" * 20}, "has 21 characters"),
        ({"bridge": "eth0"}, "bridge: there is an interface 'eth0'"),
        ({"bridge": "other0", "cidr": "10.7.0.0/24"}, "bridge of the network 'other'"),
        ({"cidr": "10.80.0.1"}, "cidr: '10.80.0.1' is no IPv4 subnet"),
        ({"cidr": "fd00::/64"}, "cidr: 'fd00::/64' is no IPv4 subnet"),
        ({"cidr": "10.80.0.0/30"}, "prefix length out of range"),
        ({"cidr": "10.80.0.255/24"}, "broadcast"),
        ({"cidr": "127.0.5.0/24"}, "cidr: '127.0.5.0/24' is no subnet of machines' addresses"),
        ({"cidr": "224.1.0.0/24"}, "cidr: '224.1.0.0/24' is no subnet of machines' addresses"),
        ({"cidr": "0.0.0.0/8"}, "cidr: '0.0.0.0/8' is no subnet of machines' addresses"),
        ({"cidr": "0.5.0.0/24"}, "cidr: '0.5.0.0/24' is no subnet of machines' addresses"),
        ({"cidr": "169.254.5.0/24"}, "cidr: '169.254.5.0/24' is no subnet of machines' addresses"),
        ({"cidr": "240.0.0.0/24"}, "cidr: '240.0.0.0/24' is no subnet of machines' addresses"),
        ({"cidr": "10.66.0.0/24"}, "cidr: this host has a route to 10.66.0.0/24 over 'eth0' already"),
        ({"cidr": "192.0.2.0/24"}, "overlaps with 192.0.2.7/24 of this host's 'eth0'"),
        ({"mode": "macvtap"}, "mode: 'macvtap'"),
        ({"dhcp_range": "10.80.0.9"}, "dhcp_range: '10.80.0.9' is no range"),
        ({"dhcp_range": "10.80.0.9-10.80.0.8"}, "ends before it begins"),
        ({"dhcp_range": "10.80.0.9-10.80.1.9"}, "dhcp_range: 10.80.1.9 is no machine's address in 10.80.0.0/24"),
        ({"address_range": "10.80.0.0-10.80.0.9"}, "address_range: 10.80.0.0"),
        ({"gateway": "10.80.0"}, "gateway: '10.80.0' is no IPv4 address"),
        ({"gateway": "10.81.0.1"}, "gateway: 10.81.0.1 is no machine's address in 10.80.0.0/24"),
        ({"dns": ["ns1"]}, "dns: 'ns1' is no IP address"),
        ({"dns": ["fe80::1%a,b"]}, "dns: 'fe80::1%a,b' is no IP address"),
        ({"dns": ["0.0.0.0"]}, "dns: '0.0.0.0' is nobody's address"),
        ({"dns": ["ff02::1"]}, "dns: 'ff02::1' is nobody's address"),
        ({"ipv6_cidr": "fd00::1"}, "ipv6_cidr: 'fd00::1' is no IPv6 subnet"),
        ({"ipv6_cidr": "10.0.0.0/24"}, "ipv6_cidr: '10.0.0.0/24' is no IPv6 subnet"),
        ({"ipv6_cidr": "fd00::/126"}, "prefix length out of range"),
        ({"ipv6_cidr": "fe80::/64"}, "is no subnet of machines' addresses"),
        ({"ipv6_cidr": "::/64"}, "is no subnet of machines' addresses"),
        ({"ipv6_cidr": "::ffff:0:0/96"}, "is no subnet of machines' addresses"),
        ({"ipv6_cidr": "ff05::/64"}, "is no subnet of machines' addresses"),
        ({"ipv6_cidr": "2001:db8::/64"}, "overlaps with 2001:db8::7/64 of this host's 'eth2'"),
        ({"ipv6_cidr": "fd00::/64", "uplink": "eth1"}, "ipv6_cidr: fd00::/64 cannot be combined with the uplink"),
        ({"dhcp": False, "dhcp_range": "10.80.0.9-10.80.0.99"}, "dhcp_range: 10.80.0.9-10.80.0.99 is for the DHCP"),
        ({"uplink": "eth7"}, "uplink: there is no interface 'eth7'"),
        ({"uplink": "eth0"}, "uplink: 'eth0' has the address 192.0.2.7/24"),
        ({"uplink": "lo"}, "uplink: 'lo'"),
        ({"uplink": "eth3"}, "is a port of 'br0' already"),
        ({"uplink": "eth1", "dhcp_range": "10.80.0.9-10.80.0.99"}, "cannot be combined with the uplink 'eth1'"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(desk: Desk, stated: dict[str, Any], said: str) -> None:
    desk.uplinks.found["eth2"] = Interface("eth2", (ipaddress.ip_interface("2001:db8::7/64"),), "br0")
    desk.uplinks.found["eth3"] = Interface("eth3", (), "br0")
    desk.uplinks.known_routes = {ipaddress.IPv4Network("10.66.0.0/24"): "eth0"}
    desk.hypervisor.nets["other"] = desk.network("other", "10.99.0.1/24")
    refused = desk.refuse(**stated)
    assert said in refused["msg"]
    assert refused["error_code"].startswith("InvalidParameter")


def test_wider_and_narrower_routes_and_its_own_do_not_matter(desk: Desk) -> None:
    desk.uplinks.known_routes = {ipaddress.IPv4Network(one): "eth0" for one in ("10.0.0.0/8", "10.80.0.7/32")}
    desk.again(cidr="10.80.0.0/24")
    desk.uplinks.known_routes[ipaddress.IPv4Network("10.80.0.0/24")] = "pocket0"
    desk.again(cidr="10.80.0.2/24")


def test_check_mode_waits_for_whoever_writes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LOCK_TIMEOUT", 0.1)
    desk.call()
    with desk.store.lock():
        assert "is in use by" in refusal(desk.network_task, desk.params(), check=True)["msg"]


def test_killed_anywhere_the_next_run_converges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"uplink": "eth1", "mode": "open", "cidr": "10.9.0.0/24", "bridge": "br9"}
    for start in (None, {}, {"uplink": "eth1"}, wanted):
        goal = {"state": "absent"} if start is wanted else wanted
        for number in range(100):
            with monkeypatch.context() as patches:
                desk = Desk(tmp_path / f"{start}-{number}", patches)
                if start is not None:
                    desk.call(**start)
                killed = kill_after(desk, number, **goal)
                desk.call(**goal)
                assert desk.call(**goal)["changed"] is False
                assert_reached(desk, goal)
            if not killed:
                break
        assert number > 2


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize(
    "goal",
    [
        {"dhcp_range": OTHER},
        {"dhcp_range": "", "dhcp": False},
        {"dhcp_range": OTHER, "address_range": "10.80.0.10-10.80.0.20"},
        {"dhcp_range": OTHER, "mode": "open"},
        {"dhcp_range": "", "uplink": "eth1"},
    ],
)
def test_killed_anywhere_a_range_is_served_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goal: dict[str, Any], active: bool
) -> None:
    for number in range(100):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            desk.call(dhcp_range=RANGE)
            if not active:
                desk.hypervisor.stop_network("pocket")
            killed = kill_after(desk, number, **goal)
            desk.call(**goal)
            assert desk.call(**goal)["changed"] is False
            network = desk.hypervisor.nets["pocket"]
            assert str(network.dhcp_range or "") == str(network.live_range or "") == goal["dhcp_range"]
        if not killed:
            break
    assert number > 1


def test_killed_anywhere_between_a_bridge_of_its_own_and_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"mode": "nat", "bridge": "pocket0", "cidr": "10.80.0.0/24", "address_range": "", "ipv6_cidr": "fd00:80::/64"}
    for start, goal in ((own, BARE), (BARE, {**own, "gateway": "10.80.0.9", "dns": ["10.80.0.9"]})):
        for number in range(100):
            with monkeypatch.context() as patches:
                desk = Desk(tmp_path / f"{start['mode']}-{number}", patches)
                desk.uplinks.found["br0"] = Interface("br0", kind="bridge")
                desk.call(**start)
                killed = kill_after(desk, number, **goal)
                desk.call(**goal)
                assert desk.call(**goal)["changed"] is False
                network = desk.hypervisor.nets["pocket"]
                assert (network.outdated, network.active, network.live_bridge) == (False, True, goal["bridge"])
            if not killed:
                break
        assert number > 2


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("start", [{"uplink": "eth1"}, {"uplink": "eth1", "bridge": "br9"}, {}])
@pytest.mark.parametrize("goal", [{"uplink": ""}, {"uplink": "eth2"}, {"uplink": "", "mode": "open"}])
@pytest.mark.parametrize("then", ["", "eth2"])
def test_killed_anywhere_no_former_uplink_stays_in_the_network(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: dict[str, Any],
    goal: dict[str, Any],
    then: str,
    restarted: bool,
) -> None:
    """Whether the user still wants the same afterwards or not, and whether the network starts anew between the runs."""
    for number in range(100):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            desk.uplinks.found["eth2"] = Interface("eth2")
            desk.call(**start)
            killed = kill_after(desk, number, **goal)
            if restarted:
                start_anew(desk)
            desk.call(**{**goal, "uplink": then})
            assert desk.call(**{**goal, "uplink": then})["changed"] is False
            bridge = desk.hypervisor.nets["pocket"].live_bridge
            ports = [name for name, interface in desk.uplinks.found.items() if interface.master == bridge]
            assert ports == ([then] if then else [])
        if not killed:
            break
    assert number > 0 or start == {}


def start_anew(desk: Desk) -> None:
    """Have the network stopped and started by somebody else, with its hook."""
    desk.hypervisor.stop_network("pocket")
    desk.hypervisor.start_network("pocket")
    found = re.search(r"link set dev (\S+) master (\S+)", desk.uplinks.hook("pocket") or "")
    if found and found[2] == desk.hypervisor.nets["pocket"].live_bridge:
        desk.uplinks.attach(found[1], found[2])


def test_a_port_of_the_hosts_own_bridge_is_not_taken_from_it(desk: Desk) -> None:
    desk.uplinks.found["br0"] = Interface("br0", (ipaddress.ip_interface("192.0.2.1/24"),), kind="bridge")
    desk.uplinks.found["eth1"] = Interface("eth1", (), "br0")
    desk.again(**BARE)
    own = {"mode": "open", "bridge": "pocket0", "cidr": "10.80.0.0/24", "address_range": ""}
    assert "uplink: 'eth1' is a port of 'br0' already" in desk.refuse(**own, uplink="eth1")["msg"]


def kill_after(desk: Desk, writes: int, **stated: Any) -> bool:
    desk.guard.left = writes
    try:
        execute(desk.network_task, desk.params(**stated))
    except Killed:
        return True
    finally:
        desk.guard.left = None
    return False


def assert_reached(desk: Desk, goal: dict[str, Any]) -> None:
    network = desk.hypervisor.nets.get("pocket")
    if "state" in goal:
        assert network is None
        assert desk.uplinks.hook("pocket") is None
        return
    assert network is not None
    assert (network.bridge, network.live_bridge, network.outdated, network.active) == ("br9", "br9", False, True)
    assert network.interface == ipaddress.IPv4Interface("10.9.0.1/24")
    assert desk.uplinks.found["eth1"].master == "br9"
    assert "br9" in (desk.uplinks.hook("pocket") or "")
