# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_filters import Enforcement
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.security_group_task import SecurityGroupTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.xml_text import parse
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.fakes import PARAMS, Killed, KvmHost
from ansible_collections.pocket.cloud.tests.unit.support import execute, refusal

DEFAULTS: dict[str, Any] = {
    "name": "web",
    "group_id": None,
    "state": "present",
    "description": None,
    "rules": None,
    "rules_egress": None,
    "purge_rules": True,
    "purge_rules_egress": True,
    "tags": None,
    "purge_tags": False,
    "store": "",
    "uri": "fake:///",
}
RULE = dict.fromkeys(
    ("from_port", "to_port", "ports", "cidr_ip", "cidr_ipv6", "group_id", "group_name", "rule_desc")
) | {"proto": "tcp"}
HTTP = {"ports": ["80"], "cidr_ip": ["0.0.0.0/0"]}


def completed(stated: dict[str, Any]) -> dict[str, Any]:
    """What a module passes on: rules with all their options."""
    params = {**DEFAULTS, **stated}
    for name in ("rules", "rules_egress"):
        if params[name] is not None:
            params[name] = [{**RULE, **rule} for rule in params[name]]
    return params


class Desk(KvmHost):
    """The host and the module on it; each call is made in check mode first, which must tell the same."""

    def group_task(self, params: dict[str, Any]) -> SecurityGroupTask:
        return SecurityGroupTask(params, self.hypervisor, self.store)

    def call(self, **stated: Any) -> dict[str, Any]:
        params = completed(stated)
        before = self.whole()
        self.guard.forbidden = True
        foretold = execute(self.group_task, params, check=True)
        self.guard.forbidden = False
        assert self.whole() == before
        done = execute(self.group_task, params)
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        return done

    def again(self, **stated: Any) -> dict[str, Any]:
        first = self.call(**stated)
        assert first["changed"] is True
        second = self.call(**stated)
        assert second["changed"] is False
        assert second["security_group"] == first["security_group"]
        return first["security_group"] or {}

    def refuse(self, **stated: Any) -> dict[str, Any]:
        before = self.whole()
        self.guard.forbidden = True
        told = refusal(self.group_task, completed(stated), check=True)
        self.guard.forbidden = False
        done = refusal(self.group_task, completed(stated))
        assert told["msg"] == done["msg"]
        assert done["changed"] is False
        assert self.whole() == before
        return done

    def whole(self) -> Any:
        return self.snapshot(), self.store.records("security-group").all()

    def run(self, **stated: Any) -> dict[str, Any]:
        """What ec2like_instance does; twice, for the second time must change nothing."""
        done = execute(self.task, {**PARAMS, **stated})
        assert execute(self.task, {**PARAMS, **stated})["changed"] is False
        return done

    def rules(self, name: str) -> list[dict[str, str]]:
        """The rules of a filter, each with what it matches."""
        assert self.hypervisor.filters is not None
        root = parse(self.hypervisor.filters[name])
        return [{**rule.attrib, "what": part.tag, **part.attrib} for rule in root.iterfind("rule") for part in rule]

    def allowed(self, group: dict[str, Any], direction: str) -> Iterator[str]:
        for rule in self.rules(f"pocket-{group['group_id']}"):
            if rule["direction"] == direction and "statematch" not in rule:
                matched = {key: value for key, value in rule.items() if key not in ("action", "direction", "priority")}
                yield " ".join(matched.values())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_new_group_lets_nobody_in_and_everything_out(desk: Desk) -> None:
    group = desk.again()
    assert re.fullmatch("sg-[0-9a-f]{17}", group["group_id"])
    assert (group["group_name"], group["description"], group["tags"]) == ("web", "web", {})
    assert group["ip_permissions"] == []
    (egress,) = group["ip_permissions_egress"]
    assert egress["ip_protocol"] == "-1"
    assert egress["ip_ranges"] == [{"cidr_ip": "0.0.0.0/0", "description": ""}]
    assert egress["ipv6_ranges"] == [{"cidr_ipv6": "::/0", "description": ""}]
    assert list(desk.allowed(group, "in")) == []
    assert list(desk.allowed(group, "out")) == ["all", "all-ipv6"]
    assert desk.again(state="absent") == {}
    assert desk.hypervisor.filters == {}


def test_rules_become_ec2s_permissions_and_libvirts_rules(desk: Desk) -> None:
    rules = [
        {"ports": ["22", "8000-8099"], "cidr_ip": ["192.0.2.7/32"], "rule_desc": "me"},
        {"proto": "udp", "from_port": -1, "to_port": -1, "cidr_ipv6": ["2001:db8::/32"]},
        {"proto": "17", "from_port": 53, "to_port": 53, "cidr_ip": ["0.0.0.0/0"]},
        {"proto": "icmp", "from_port": 8, "cidr_ip": ["10.0.0.0/8"]},
        {"proto": "-1", "cidr_ipv6": ["::/0"]},
    ]
    group = desk.again(rules=rules)
    assert list(desk.allowed(group, "in")) == [
        "all-ipv6",
        "icmp 10.0.0.0 8 8",
        "tcp 192.0.2.7 32 22 22",
        "tcp 192.0.2.7 32 8000 8099",
        "udp-ipv6 2001:db8:: 32",
        "udp 53 53",
    ]
    # The answer to a ping has no state that libvirt would derive; the other two are EC2's egress.
    assert list(desk.allowed(group, "out")) == ["icmp 10.0.0.0 8 0", "all", "all-ipv6"]
    ssh = next(one for one in group["ip_permissions"] if one["from_port"] == 22)
    assert ssh["ip_ranges"] == [{"cidr_ip": "192.0.2.7/32", "description": "me"}]
    everything = next(one for one in group["ip_permissions"] if one["ip_protocol"] == "udp" and one["ipv6_ranges"])
    assert (everything["from_port"], everything["to_port"]) == (0, 65535)


def test_what_is_not_stated_stays(desk: Desk) -> None:
    first = desk.again(rules=[HTTP], rules_egress=[{"ports": ["443"], "cidr_ip": ["0.0.0.0/0"]}], tags={"a": 1})
    assert desk.call()["changed"] is False
    assert desk.call(group_id=first["group_id"], name=None)["security_group"] == first
    assert desk.again(description="Web servers") == {**first, "description": "Web servers"}
    assert desk.again(tags={"b": "2"})["tags"] == {"a": "1", "b": "2"}
    assert desk.again(tags={"b": "2"}, purge_tags=True)["tags"] == {"b": "2"}
    assert desk.refuse(tags={str(number): "" for number in range(50)})["error_code"] == "TagLimitExceeded"
    more = desk.again(rules=[{"ports": ["22"], "cidr_ip": ["10.0.0.0/8"]}], purge_rules=False)
    assert [one["from_port"] for one in more["ip_permissions"]] == [22, 80]
    assert more["ip_permissions_egress"] == first["ip_permissions_egress"]
    said = desk.again(rules=[{**HTTP, "rule_desc": "all"}])
    assert [one["ip_ranges"][0]["description"] for one in said["ip_permissions"]] == ["all"]
    assert desk.call(rules=[HTTP])["changed"] is False
    assert desk.again(rules=[])["ip_permissions"] == []
    assert desk.again(rules_egress=[])["ip_permissions_egress"] == []


def test_members_of_a_group_are_its_instances_at_any_time(desk: Desk) -> None:
    database = desk.again(name="database", rules=[{"ports": ["5432"], "group_name": ["database"]}])
    group = desk.again(rules=[{"ports": ["80"], "group_id": [database["group_id"]]}])
    assert list(desk.allowed(group, "in")) == []
    first = desk.run(name="a", security_groups=["database"])["instances"][0]
    assert list(desk.allowed(group, "in")) == ["tcp 10.80.0.2 32 80 80"]
    assert list(desk.allowed(database, "in")) == ["tcp 10.80.0.2 32 5432 5432"]
    desk.run(name="b", security_groups=[group["group_id"]])
    desk.run(name="b", security_groups=["web", "database"])
    assert list(desk.allowed(group, "in")) == ["tcp 10.80.0.2 32 80 80", "tcp 10.80.0.3 32 80 80"]
    desk.run(instance_ids=[first["instance_id"]], state="terminated")
    assert list(desk.allowed(group, "in")) == ["tcp 10.80.0.3 32 80 80"]
    desk.run(name="b", security_groups=[])
    assert list(desk.allowed(group, "in")) == []
    assert "database" in desk.refuse(name="database", state="absent", description=None)["msg"]


def test_an_instance_has_the_filters_that_its_groups_and_its_addresses_ask_for(desk: Desk) -> None:
    group = desk.again(rules=[HTTP])
    (instance,) = desk.run(name="a")["instances"]
    name = f"pocket-{instance['instance_id']}-0"
    assert (instance["security_groups"], instance["source_dest_check"]) == ([], True)
    assert {rule["what"] for rule in desk.rules(name)} == {"mac", "arp", "ip", "ipv6"}
    assert [rule["arpsrcipaddr"] for rule in desk.rules(name) if "arpsrcipaddr" in rule] == ["10.80.0.2", "0.0.0.0"]

    (instance,) = desk.run(name="a", security_groups=["web"])["instances"]
    assert instance["security_groups"] == [{"group_id": group["group_id"], "group_name": "web"}]
    assert f'filterref filter="pocket-{group["group_id"]}"' in (desk.hypervisor.filters or {})[name]
    assert [rule["what"] for rule in desk.rules(name) if rule["priority"] == "900"] == ["all", "all-ipv6"]
    found = desk.run(filters={"instance.group-name": "we?", "instance.group-id": group["group_id"]}, state="running")
    assert found["instance_ids"] == [instance["instance_id"]]

    (instance,) = desk.run(name="a", source_dest_check=False)["instances"]
    assert instance["source_dest_check"] is False
    assert {rule["what"] for rule in desk.rules(name)} & {"mac", "arp", "ip"} == set()
    desk.run(name="a", security_groups=[])
    assert desk.rules(name) == []
    desk.run(name="a", state="terminated")
    assert list(desk.hypervisor.filters or {}) == [f"pocket-{group['group_id']}"]


def test_an_interface_has_no_filter_before_there_is_something_to_filter(desk: Desk) -> None:
    desk.again(rules=[HTTP])
    (instance,) = desk.run(name="a", source_dest_check=False)["instances"]
    name = f"pocket-{instance['instance_id']}-0"
    assert name not in (desk.hypervisor.filters or {})
    desk.run(name="a", security_groups=["web"])
    assert name in (desk.hypervisor.filters or {})
    assert name in desk.hypervisor.domains[instance["instance_id"]]
    # Somebody took it off the interface.
    bare = re.sub("<filterref[^>]*/>", "", desk.hypervisor.domains[instance["instance_id"]])
    desk.hypervisor.domains[instance["instance_id"]] = bare
    assert desk.run(name="a")["changed"] is True
    assert name in desk.hypervisor.domains[instance["instance_id"]]
    desk.run(name="a", state="terminated")


@pytest.mark.parametrize(("proto", "name"), [("icmp", "web/front:1"), ("icmpv6", "web.prod")])
def test_a_groups_name_is_not_taken_for_a_cidr(desk: Desk, proto: str, name: str) -> None:
    peer = desk.again(name=name)["group_id"]
    (rule,) = desk.again(name="ping", rules=[{"proto": proto, "group_name": [name]}])["ip_permissions"]
    assert [one["group_id"] for one in rule["user_id_group_pairs"]] == [peer]


def test_a_group_in_use_stays(desk: Desk) -> None:
    desk.again()
    desk.again(name="other", rules=[{"ports": ["80"], "group_name": ["web"]}])
    failed = desk.refuse(state="absent")
    assert failed["error_code"] == "DependencyViolation"
    assert "the rules of the security group other" in failed["msg"]
    desk.again(name="other", rules=[])
    ids = desk.run(name="a", security_groups=["web"])["instance_ids"]
    assert ids[0] in desk.refuse(state="absent")["msg"]
    desk.run(name="a", state="terminated")
    desk.again(state="absent")


def test_a_filter_that_was_edited_or_removed_is_made_anew(desk: Desk) -> None:
    group = desk.again(rules=[HTTP])
    ids = desk.run(name="a", security_groups=["web"])["instance_ids"]
    whole = dict(desk.hypervisor.filters or {})
    name, own = f"pocket-{group['group_id']}", f"pocket-{ids[0]}-0"
    for broken in ({**whole, name: "<filter/>"}, {own: whole[own]}):
        desk.hypervisor.filters = dict(broken)
        assert desk.again(rules=[HTTP])
        assert desk.hypervisor.filters == whole
    for broken in ({**whole, own: "<filter/>"}, {name: whole[name]}, {**whole, f"pocket-i-{'1' * 17}-0": "<filter/>"}):
        desk.hypervisor.filters = dict(broken)
        assert desk.run(name="a")["changed"] is True
        assert desk.hypervisor.filters == whole


@pytest.mark.parametrize(
    ("rule", "said", "code"),
    [
        ({"ports": ["80"]}, "rules[1]: says for nobody", "MissingParameter"),
        ({"cidr_ip": ["0.0.0.0/0"]}, "tcp needs from_port and to_port", "MissingParameter"),
        ({"from_port": 80, "cidr_ip": ["0.0.0.0/0"]}, "both from_port and to_port", "MissingParameter"),
        ({**HTTP, "from_port": 80}, "ports: cannot be combined", "InvalidParameterCombination"),
        ({**HTTP, "ports": ["70000"]}, "70000 to 70000 are no ports", "InvalidParameterValue"),
        ({**HTTP, "ports": ["9-8"]}, "9 to 8 are no ports", "InvalidParameterValue"),
        ({**HTTP, "ports": ["http"]}, "'http' is neither a port", "InvalidParameterValue"),
        ({**HTTP, "proto": "gre"}, "rules[1].proto: 'gre' is unknown", "InvalidParameterValue"),
        ({**HTTP, "proto": "all"}, "any protocol has no ports", "InvalidParameterCombination"),
        ({**HTTP, "proto": "icmp"}, "icmp has none", "InvalidParameterValue"),
        ({"proto": "icmp", "from_port": 256, "cidr_ip": ["0.0.0.0/0"]}, "no type and code", "InvalidParameterValue"),
        ({"proto": "icmp", "cidr_ipv6": ["::/0"]}, "icmp cannot be combined with ::/0", "InvalidParameterValue"),
        ({"proto": "icmpv6", "cidr_ip": ["0.0.0.0/0"]}, "icmpv6 cannot be combined", "InvalidParameterValue"),
        ({"proto": "all", "cidr_ipv6": ["fe80::%eth0/64"]}, "it names a link", "InvalidParameterValue"),
        ({**HTTP, "cidr_ip": ["10.0.0.1/8"]}, "cidr_ip: '10.0.0.1/8' is no network", "InvalidParameterValue"),
        ({**HTTP, "cidr_ip": ["::/0"]}, "cidr_ip: '::/0'", "InvalidParameterValue"),
        ({**HTTP, "cidr_ipv6": ["10.0.0.0/8"]}, "cidr_ipv6: '10.0.0.0/8'", "InvalidParameterValue"),
        ({**HTTP, "cidr_ipv6": ["::ffff:192.0.2.1"]}, "one of IPv4's", "InvalidParameterValue"),
        ({**HTTP, "cidr_ipv6": ["::192.0.2.1/128"]}, "one of IPv4's", "InvalidParameterValue"),
        ({**HTTP, "ports": ["\u0668\u0660"]}, "is neither a port", "InvalidParameterValue"),
        ({**HTTP, "group_id": ["sg-1"]}, "group_id: 'sg-1'", "InvalidGroupId.Malformed"),
        ({**HTTP, "group_id": ["sg-" + "1" * 17]}, "there is no security group 'sg-1111", "InvalidGroup.NotFound"),
        ({**HTTP, "group_name": ["nobody"]}, "there is no security group 'nobody'", "InvalidGroup.NotFound"),
        ({**HTTP, "rule_desc": "ü"}, "rule_desc: 'ü' is no description", "InvalidParameterValue"),
    ],
)
def test_a_wrong_rule_is_refused_with_a_sentence(desk: Desk, rule: dict[str, Any], said: str, code: str) -> None:
    for option in ("rules", "rules_egress"):
        failed = desk.refuse(**{option: [rule]})
        assert said.replace("rules[", f"{option}[") in failed["msg"]
        assert failed["error_code"] == code


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"name": "sg-web"}, "name: 'sg-web'", "InvalidParameterValue"),
        ({"name": " web"}, "name: ' web'", "InvalidParameterValue"),
        ({"description": ""}, "description: ''", "InvalidParameterValue"),
        ({"group_id": "web", "name": None}, "group_id: 'web'", "InvalidGroupId.Malformed"),
        ({"group_id": "sg-" + "1" * 17, "name": None}, "there is no security group", "InvalidGroup.NotFound"),
        ({"tags": {"aws:x": ""}}, "tags: the key 'aws:x'", "InvalidParameterValue"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(desk: Desk, stated: dict[str, Any], said: str, code: str) -> None:
    failed = desk.refuse(**stated)
    assert said in failed["msg"]
    assert failed["error_code"] == code


def test_a_group_keeps_its_name(desk: Desk) -> None:
    group = desk.again()
    assert "keeps its name" in desk.refuse(group_id=group["group_id"], name="other")["msg"]


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ({"security_groups": ["nobody"]}, "InvalidGroup.NotFound"),
        ({"security_groups": ["sg-" + "1" * 17]}, "InvalidGroup.NotFound"),
        ({"security_groups": ["sg-x"]}, "InvalidGroupId.Malformed"),
    ],
)
def test_a_group_that_is_not_there_fails_before_anything_is_written(
    desk: Desk, stated: dict[str, Any], code: str
) -> None:
    desk.run(name="a")
    before, writes = desk.whole(), len(desk.guard.writes)
    for name in ("a", "b"):
        assert refusal(desk.task, {**PARAMS, "name": name, **stated})["error_code"] == code
    assert (desk.whole(), len(desk.guard.writes)) == (before, writes)


def test_what_the_host_cannot_enforce_is_refused_or_warned_of(desk: Desk) -> None:
    desk.again()
    desk.hypervisor.enforced = Enforcement(spoofing="ebtables is missing")
    failed = refusal(desk.task, {**PARAMS, "name": "a", "source_dest_check": True})
    assert failed["error_code"] == "UnsupportedOperation"
    assert "ebtables is missing" in failed["msg"]
    (instance,) = desk.run(name="a", security_groups=["web"])["instances"]
    kinds = {rule["what"] for rule in desk.rules(f"pocket-{instance['instance_id']}-0")}
    assert kinds & {"mac", "arp", "ip", "ipv6"} == set()
    assert "all" in kinds
    desk.hypervisor.enforced = Enforcement(spoofing="iptables is missing", groups="iptables is missing")
    failed = refusal(desk.task, {**PARAMS, "name": "b", "security_groups": ["web"]})
    assert "security_groups: cannot be enforced on this host, for iptables is missing" in failed["msg"]


def test_a_libvirt_without_filters_still_runs_instances(desk: Desk) -> None:
    desk.hypervisor.filters = None
    desk.hypervisor.enforced = Enforcement("libvirt has no driver", "libvirt has no driver")
    desk.run(name="a")
    assert "filterref" not in str(desk.hypervisor.domains)
    desk.again(rules=[HTTP])
    desk.run(name="a", state="terminated")


def test_killed_anywhere_the_next_run_converges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = {"ports": ["80"], "group_name": ["web"]}
    for number in range(100):
        with monkeypatch.context() as patches:
            desk = Desk(tmp_path / str(number), patches)
            desk.again(rules=[member])
            desk.guard.left = number
            with suppress(Killed):
                execute(desk.task, {**PARAMS, "exact_count": 2, "tags": {"a": "b"}, "security_groups": ["web"]})
                execute(desk.task, {**PARAMS, "tags": {"a": "b"}, "source_dest_check": False})
                execute(desk.task, {**PARAMS, "exact_count": 1, "tags": {"c": "d"}, "source_dest_check": False})
                execute(desk.task, {**PARAMS, "tags": {"c": "d"}, "source_dest_check": True})
                execute(desk.group_task, completed({"rules": [member, HTTP]}))
                execute(desk.task, {**PARAMS, "tags": {"a": "b"}, "state": "terminated"})
                execute(desk.group_task, completed({"state": "absent"}))
            done = desk.guard.left > 0
            desk.guard.left = None
            desk.call(rules=[member])
            there = desk.run(exact_count=2, tags={"a": "b"}, security_groups=["web"])["instances"]
            group = desk.call(rules=[member])["security_group"]
            addresses = sorted(one["private_ip_address"] for one in there)
            assert list(desk.allowed(group, "in")) == [f"tcp {address} 32 80 80" for address in addresses]
            for one in desk.hypervisor.domains.values():
                assert ("<filterref " in one) or 'source-dest-check="false"' in one
            desk.run(tags={"a": "b"}, state="terminated")
            desk.run(tags={"c": "d"}, state="terminated")
            desk.again(state="absent")
            assert desk.hypervisor.filters == {}
        if done:
            break
    assert 20 < number < 99
