# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups and their rules, as EC2 knows them. Pure. PRIVATE to the collection."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .._errors import PocketError

__all__ = [
    "ALL",
    "ALLOW_ALL",
    "GROUP_FILTERS",
    "KIND",
    "Rule",
    "SecurityGroup",
    "check_group_id",
    "check_group_name",
    "check_group_text",
    "drafted_rules",
    "group_of",
    "resolve_groups",
    "resolved_rules",
]

KIND = "security-group"
ALL = "-1"  # EC2's word for any protocol, and its number for any port, type or code
_PROTOCOLS = {"all": ALL, "1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
_KNOWN = ("tcp", "udp", "icmp", "icmpv6", ALL)
_GROUP_ID = re.compile(r"sg-[0-9a-f]{17}")
_TEXT = re.compile(r"[ -~]{1,255}")
_BY_NAME = "name:"


@dataclass(frozen=True, order=True)
class Rule:
    """What may come in, or go out.

    :param protocol: C(tcp), C(udp), C(icmp), C(icmpv6) or ALL.
    :param from_port: the first port, or the type of ICMP; -1 is any.
    :param to_port: the last port, or the code of ICMP; -1 is any.
    :param peer: the other side: a CIDR of IPv4 or IPv6, or the id of the group whose members it is.
    :param description: says nothing to the filter; two rules that differ in it alone are the same.
    """

    protocol: str
    from_port: int
    to_port: int
    peer: str
    description: str = field(default="", compare=False)

    def printable(self) -> str:
        """Return it as a diff shows it."""
        ports = "" if self.from_port == -1 and self.to_port == -1 else f" {self.from_port}-{self.to_port}"
        said = f" ({self.description})" if self.description else ""
        return f"{'all' if self.protocol == ALL else self.protocol}{ports} {self.peer}{said}"


# EC2's egress of a new group.
ALLOW_ALL = (Rule(ALL, -1, -1, "0.0.0.0/0"), Rule(ALL, -1, -1, "::/0"))


@dataclass(frozen=True)
class SecurityGroup:
    """A security group. What its rules do not allow is denied; each direction's rules are those of all its groups."""

    group_id: str
    group_name: str
    description: str
    rules: tuple[Rule, ...] = ()
    rules_egress: tuple[Rule, ...] = ALLOW_ALL
    tags: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return what the store keeps of it."""
        return asdict(self)

    def peers(self) -> set[str]:
        """The ids of the groups that its rules name."""
        return {rule.peer for rule in (*self.rules, *self.rules_egress) if rule.peer.startswith("sg-")}

    def ec2(self) -> dict[str, Any]:
        """Return EC2's description of it, members in snake case."""
        return {
            "group_id": self.group_id,
            "group_name": self.group_name,
            "description": self.description,
            "ip_permissions": _permissions(self.rules),
            "ip_permissions_egress": _permissions(self.rules_egress),
            "tags": dict(sorted(self.tags.items())),
        }

    def printable(self) -> dict[str, Any]:
        """Return what a diff shows of it."""
        return {
            "description": self.description,
            "rules": self._printable(self.rules),
            "rules_egress": self._printable(self.rules_egress),
            "tags": dict(sorted(self.tags.items())),
        }

    def _printable(self, rules: Sequence[Rule]) -> list[str]:
        # A new group's own id is drawn, so that two runs would not print the same.
        own = [replace(rule, peer=self.group_name) if rule.peer == self.group_id else rule for rule in rules]
        return [rule.printable() for rule in sorted(own)]


def group_of(record: Mapping[str, Any]) -> SecurityGroup:
    """Return the group that a record of the store describes."""
    rules = {name: tuple(Rule(**rule) for rule in record[name]) for name in ("rules", "rules_egress")}
    return SecurityGroup(**{**record, **rules})


# Name of the filter -> the values that a group has for it.
GROUP_FILTERS: dict[str, Callable[[SecurityGroup], list[str]]] = {
    "description": lambda group: [group.description],
    "group-id": lambda group: [group.group_id],
    "group-name": lambda group: [group.group_name],
    "ip-permission.cidr": lambda group: [rule.peer for rule in group.rules if "." in rule.peer],
    "ip-permission.group-id": lambda group: [rule.peer for rule in group.rules if rule.peer.startswith("sg-")],
    "ip-permission.ipv6-cidr": lambda group: [rule.peer for rule in group.rules if ":" in rule.peer],
    "ip-permission.protocol": lambda group: [rule.protocol for rule in group.rules],
    "tag-key": lambda group: list(group.tags),
}


def check_group_name(name: str, parameter: str) -> str:
    """Return `name`, or raise InvalidParameterValue where EC2 would not take it."""
    if not _TEXT.fullmatch(name) or name != name.strip() or name.startswith("sg-"):
        raise _bad(
            f"{parameter}: {name!r} is no security group's name; one has 1 to 255 printable ASCII characters, does not "
            "begin with 'sg-', and neither begins nor ends with a space"
        )
    return name


def check_group_text(text: str, parameter: str) -> str:
    """Return `text`, or raise InvalidParameterValue where EC2 would not take it as a description."""
    if not _TEXT.fullmatch(text):
        raise _bad(f"{parameter}: {text[:40]!r} is no description; one has 1 to 255 printable ASCII characters")
    return text


def check_group_id(group_id: str, parameter: str) -> str:
    """Return `group_id`, or raise InvalidGroupId.Malformed."""
    if not _GROUP_ID.fullmatch(group_id):
        raise PocketError(
            f"{parameter}: {group_id!r} is no security group's id; one is 'sg-' and 17 hexadecimal digits",
            code="InvalidGroupId.Malformed",
        )
    return group_id


def resolve_groups(
    stated: Iterable[str], groups: Mapping[str, SecurityGroup], parameter: str = "security_groups"
) -> tuple[SecurityGroup, ...]:
    """Return the groups that ids or names mean, each once; raises InvalidGroup.NotFound."""
    by_name = {group.group_name: group for group in groups.values()}
    found: dict[str, SecurityGroup] = {}
    for one in stated:
        group = groups.get(check_group_id(one, parameter)) if one.startswith("sg-") else by_name.get(one)
        if group is None:
            known = ", ".join(sorted(by_name)) or "none"
            raise PocketError(
                f"{parameter}: there is no security group {one!r} in the store (there are: {known}); make it with "
                "ec2like_security_group",
                code="InvalidGroup.NotFound",
            )
        found[group.group_id] = group
    return tuple(found.values())


# Rules as a user states them


def drafted_rules(stated: Sequence[Mapping[str, Any]] | None, parameter: str) -> tuple[Rule, ...] | None:
    """Return the rules that a module's option states, sorted; a group that is meant by name is still that."""
    if stated is None:
        return None
    drafts: dict[Rule, Rule] = {}
    for number, rule in enumerate(stated, start=1):
        for one in _drafted(rule, f"{parameter}[{number}]"):
            drafts.setdefault(one, one)
    return tuple(sorted(drafts.values()))


def resolved_rules(
    rules: Iterable[Rule], groups: Mapping[str, SecurityGroup], own_id: str, own_name: str, parameter: str
) -> tuple[Rule, ...]:
    """Return the rules with each group by its id; the group itself need not exist yet."""
    resolved: dict[Rule, Rule] = {}
    for rule in rules:
        peer = rule.peer
        if peer in (own_id, f"{_BY_NAME}{own_name}"):
            peer = own_id
        elif peer.startswith(("sg-", _BY_NAME)):
            peer = resolve_groups([peer.partition(":")[2] or peer], groups, parameter)[0].group_id
        one = replace(rule, peer=peer)
        resolved.setdefault(one, one)
    return tuple(sorted(resolved.values()))


def _drafted(stated: Mapping[str, Any], where: str) -> Iterator[Rule]:
    given = str(stated["proto"]).lower()
    protocol = _PROTOCOLS.get(given, given)
    if protocol not in _KNOWN:
        raise _bad(f"{where}.proto: {given!r} is unknown; known are tcp, udp, icmp, icmpv6 and all")
    description = check_group_text(stated["rule_desc"], f"{where}.rule_desc") if stated["rule_desc"] else ""
    peers = [*_peers(stated, where)]
    if not peers:
        raise PocketError(
            f"{where}: says for nobody; give cidr_ip, cidr_ipv6, group_name or group_id", code="MissingParameter"
        )
    for first, last in _ports(stated, protocol, where):
        for peer in peers:
            if _is_of_the_other_family(protocol, peer):
                raise _bad(f"{where}: {protocol} cannot be combined with {peer}; icmp is IPv4's, icmpv6 IPv6's")
            yield Rule(protocol, first, last, peer, description)


def _is_of_the_other_family(protocol: str, peer: str) -> bool:
    if protocol not in ("icmp", "icmpv6") or peer.startswith(("sg-", _BY_NAME)):
        return False
    return (":" in peer) != (protocol == "icmpv6")


def _is_of_ipv4(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is an IPv4 address that is written as one of IPv6, which no packet of either has."""
    return isinstance(address, ipaddress.IPv6Address) and (
        address.ipv4_mapped is not None or 0xFFFF < int(address) <= 0xFFFFFFFF
    )


def _peers(stated: Mapping[str, Any], where: str) -> Iterator[str]:
    for option, kind in (("cidr_ip", ipaddress.IPv4Network), ("cidr_ipv6", ipaddress.IPv6Network)):
        for text in stated[option] or ():
            try:
                if "%" in text:
                    raise ValueError("it names a link")
                network = kind(text)
                if _is_of_ipv4(network.network_address):
                    raise ValueError("it is one of IPv4's, which belongs in cidr_ip")
                yield str(network)
            except ValueError as error:
                sample = "10.80.0.0/24" if option == "cidr_ip" else "2001:db8::/64"
                raise _bad(f"{where}.{option}: {text!r} is no network ({error}); one is written as {sample}") from error
    for group_id in stated["group_id"] or ():
        yield check_group_id(group_id, f"{where}.group_id")
    for name in stated["group_name"] or ():
        yield _BY_NAME + check_group_name(name, f"{where}.group_name")


def _ports(stated: Mapping[str, Any], protocol: str, where: str) -> list[tuple[int, int]]:
    first, last, listed = stated["from_port"], stated["to_port"], stated["ports"]
    if listed is not None and (first is not None or last is not None):
        raise PocketError(
            f"{where}.ports: cannot be combined with from_port and to_port", code="InvalidParameterCombination"
        )
    if protocol == ALL:
        if listed or (first or -1) != -1 or (last or -1) != -1:
            raise PocketError(
                f"{where}: any protocol has no ports; name tcp or udp", code="InvalidParameterCombination"
            )
        return [(-1, -1)]
    if protocol in ("icmp", "icmpv6"):
        if listed:
            raise _bad(f"{where}.ports: {protocol} has none; from_port is its type and to_port its code")
        kind, code = -1 if first is None else first, -1 if last is None else last
        if not (-1 <= kind <= 255 and -1 <= code <= 255) or (kind == -1 and code != -1):
            raise _bad(
                f"{where}: {kind} and {code} are no type and code of {protocol}; each is 0 to 255, or -1 for any"
            )
        return [(kind, code)]
    ranges = [_range(str(one), where) for one in listed or ()]
    if first is not None or last is not None:
        if first is None or last is None:
            raise PocketError(f"{where}: give both from_port and to_port", code="MissingParameter")
        ranges.append((0, 65535) if (first, last) == (-1, -1) else (first, last))
    if not ranges:
        raise PocketError(
            f"{where}: {protocol} needs from_port and to_port, or ports; from_port: -1 and to_port: -1 are all",
            code="MissingParameter",
        )
    for one in ranges:
        if not 0 <= one[0] <= one[1] <= 65535:
            raise _bad(f"{where}: {one[0]} to {one[1]} are no ports; a range is from 0 to 65535, the lower port first")
    return ranges


def _range(text: str, where: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text.replace(" ", ""))
    if not found:
        raise _bad(f"{where}.ports: {text!r} is neither a port nor a range such as 8000-8099")
    return int(found[1]), int(found[2] or found[1])


def _permissions(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Return the rules in EC2's shape: one entry for each protocol and range of ports."""
    entries: dict[tuple[str, int, int], dict[str, Any]] = {}
    for rule in rules:
        key = (rule.protocol, rule.from_port, rule.to_port)
        blank: dict[str, Any] = {"ip_protocol": rule.protocol, "from_port": rule.from_port, "to_port": rule.to_port}
        entry = entries.setdefault(key, {**blank, "ip_ranges": [], "ipv6_ranges": [], "user_id_group_pairs": []})
        place, name = ("ip_ranges", "cidr_ip") if "." in rule.peer else ("ipv6_ranges", "cidr_ipv6")
        if rule.peer.startswith("sg-"):
            place, name = "user_id_group_pairs", "group_id"
        entry[place].append({name: rule.peer, "description": rule.description})
    return list(entries.values())


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")
