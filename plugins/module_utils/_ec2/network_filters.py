# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt's network filters are to hold: anti-spoofing and security groups. Pure. PRIVATE to the collection.

There is one filter for each group, which can be edited while machines use it, and one for each interface of an
instance, which names those of its groups. All of it is derived from the instances and the groups, so that what is
missing or was edited by hand can be made anew at any time.

libvirt applies rules on Ethernet, ARP and IP addresses where a frame leaves the guest (ebtables), and those on TCP, UDP
and ICMP where a packet passes the host (iptables, with connection tracking). A packet that the host itself sends or
routes into the bridge is not seen on its way to the guest, but the answer to it is: without a rule no answer leaves.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from .interfaces import Interface
from .model import LAUNCHED, TERMINATING, Instance, filter_uuid
from .security_groups import ALL, Rule, SecurityGroup
from .xml_text import Element, add, element, parse, text_of

__all__ = [
    "PREFIX",
    "Differences",
    "Enforcement",
    "cards_with_filters",
    "differences",
    "group_filter",
    "instance_of_filter",
    "interface_filter",
    "with_filters",
]

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]  # Python 3.9 has no other way to say so

PREFIX = "pocket-"
_OF_INSTANCE = re.compile(rf"{PREFIX}(i-[0-9a-f]{{17}})-\d+")
# Lower ones come first.
_SPOOFING, _ALWAYS, _GROUPS, _LAST = -900, 100, 500, 900
# Type of an ICMP message that is answered -> type of the answer.
_ANSWERS = {"icmp": {8: 0, 13: 14, 15: 16, 17: 18}, "icmpv6": {128: 129}}
_ROUTER_ADVERTISEMENT = 134
# What of ICMPv6 a host on a link sends and hears: solicitations of routers and of neighbours, advertisements of
# neighbours, and reports of listeners; and what routers say.
_OF_A_LINK = {"out": (133, 135, 136, 143), "in": (_ROUTER_ADVERTISEMENT, 135, 136)}
_NOBODY = "0.0.0.0"  # noqa: S104


@dataclass(frozen=True)
class Enforcement:
    """What of it the host can enforce.

    :param spoofing: what is wrong for anti-spoofing, empty where nothing is.
    :param groups: what is wrong for security groups, empty where nothing is.
    """

    spoofing: str = ""
    groups: str = ""


def interface_filter(instance_id: str, index: int) -> str:
    """Return the name of the filter of an interface."""
    return f"{PREFIX}{instance_id}-{index}"


def instance_of_filter(name: str) -> str | None:
    """Return the id of the instance that the filter is of; none where it is of no instance."""
    found = _OF_INSTANCE.fullmatch(name)
    return found[1] if found else None


def group_filter(group_id: str) -> str:
    """Return the name of the filter of a group."""
    return f"{PREFIX}{group_id}"


def with_filters(xml: str, instance: Instance) -> str:
    """Return the definition of the domain of `instance` with its filters on its interfaces."""
    domain = parse(xml)
    list(_put_filters(domain, instance))
    return text_of(domain)


def cards_with_filters(xml: str, instance: Instance) -> list[str]:
    """Return those interfaces of the domain of `instance` that have no filter, with theirs."""
    return [text_of(card) for card in _put_filters(parse(xml), instance)]


def _put_filters(domain: Element, instance: Instance) -> Iterator[Element]:
    """Put the filters of `instance` on its interfaces that have none; yield those."""
    indexes = {interface.mac_address: index for index, interface in enumerate(instance.interfaces)}
    for card in domain.iterfind("devices/interface"):
        mac = card.find("mac")
        index = indexes.get("" if mac is None else mac.get("address", "").lower())
        if index is not None and card.find("filterref") is None:
            add(card, "filterref", {"filter": interface_filter(instance.instance_id, index)})
            yield card


@dataclass(frozen=True)
class Differences:
    """What the filters lack.

    :param define: name -> definition, of those that are missing or other than they should be; groups first.
    :param remove: those of instances that are gone.
    :param attach: the instances whose interfaces lack theirs.
    """

    define: Mapping[str, str]
    remove: tuple[str, ...] = ()
    attach: tuple[Instance, ...] = ()


def differences(
    found: Mapping[str, str],
    instances: Sequence[Instance],
    groups: Mapping[str, SecurityGroup],
    enforcement: Enforcement,
    *,
    finished: bool = False,
) -> Differences:
    """Compare the filters there are with those that there should be.

    :param found: name -> definition.
    :param finished: whether to leave out the instances whose launch is not finished.
    """
    counted = [one for one in instances if one.phase == LAUNCHED or not (finished or one.phase == TERMINATING)]
    wanted = dict(_wanted(counted, groups, enforcement))
    ids = {instance.instance_id for instance in instances}
    stale = [name for name in found if (of := instance_of_filter(name)) and of not in ids]
    changed = {name: xml for name, xml in wanted.items() if _content(found.get(name)) != _content(xml)}
    guarded = [one for one in counted if one.guarded and _ours(one, groups)]
    bare = [one for one in guarded if not all(card.filtered for card in one.interfaces)]
    return Differences(changed, tuple(sorted(stale)), tuple(bare))


def _ours(instance: Instance, groups: Mapping[str, SecurityGroup]) -> bool:
    """Whether all of its groups are known; else they, and it, are another store's."""
    return all(group_id in groups for group_id in instance.security_groups)


def _content(xml: str | None) -> Any:
    """Return what a filter says, without how it is written."""
    if xml is None:
        return None
    root = parse(xml)
    refs = sorted(ref.get("filter", "") for ref in root.iterfind("filterref"))
    rules = sorted(
        (sorted(rule.attrib.items()), [(part.tag, sorted(part.attrib.items())) for part in rule])
        for rule in root.iterfind("rule")
    )
    return refs, rules


def _wanted(
    instances: Sequence[Instance], groups: Mapping[str, SecurityGroup], enforcement: Enforcement
) -> Iterator[tuple[str, str]]:
    members: dict[str, list[str]] = {}
    for instance in instances:
        for group_id in instance.security_groups:
            members.setdefault(group_id, []).extend(_addresses(instance))
    for group in groups.values():
        name = group_filter(group.group_id)
        yield name, text_of(_group(name, group, members))
    for instance in instances:
        if _ours(instance, groups):
            for index, interface in enumerate(instance.interfaces):
                if instance.guarded or interface.filtered:  # without the filter that it names, no machine starts
                    name = interface_filter(instance.instance_id, index)
                    yield name, text_of(_interface(name, instance, interface, enforcement))


def _addresses(instance: Instance) -> list[str]:
    found = [(one.private_ip_address, one.ipv6_address) for one in instance.interfaces]
    return [address for pair in found for address in pair if address]


def _filter(name: str) -> Element:
    root = element("filter", {"name": name, "chain": "root"})
    add(root, "uuid", text=filter_uuid(name))
    return root


def _rule(root: Element, verdict: str, priority: int, protocol: str, match: Mapping[str, Any] | None = None) -> None:
    """Add a rule. `verdict` is an action and a direction, and C(stateless) where the connection does not matter."""
    action, direction, *stateless = verdict.split()
    attributes = {"action": action, "direction": direction, "priority": priority}
    if stateless:
        attributes["statematch"] = "false"
    add(add(root, "rule", attributes), protocol, match)


# Groups


def _group(name: str, group: SecurityGroup, members: Mapping[str, Sequence[str]]) -> Element:
    root = _filter(name)
    for direction, rules in (("in", group.rules), ("out", group.rules_egress)):
        for rule in rules:
            for network in _networks(rule, members):
                _allow(root, direction, rule, network)
                if direction == "in" and rule.protocol == "tcp":
                    _answer(root, rule, network, group)
    return root


def _answer(root: Element, rule: Rule, network: Network, group: SecurityGroup) -> None:
    """Let all but a first segment go back from the ports of a rule, whatever connection tracking says.

    It does not know the connections of clients that IPVS brings. libvirt cannot tell segments of TCP over IPv6 apart;
    there it is all of them, which may be only where the group lets everything out anyway.
    """
    flags = {"flags": "ACK/ACK"}
    if network.version == 6:
        if not any(one.protocol == ALL and one.peer == "::/0" for one in group.rules_egress):
            return
        flags = {}
    ports = _ports(rule, "src")
    _rule(
        root, "accept out stateless", _GROUPS, _element_name(rule, network), {**_peer(network, "dst"), **ports, **flags}
    )


def _networks(rule: Rule, members: Mapping[str, Sequence[str]]) -> list[Network]:
    peers = sorted(members.get(rule.peer, ())) if rule.peer.startswith("sg-") else [rule.peer]
    version = {"icmp": 4, "icmpv6": 6}.get(rule.protocol)
    networks = [ipaddress.ip_network(peer) for peer in peers]
    return [network for network in networks if version in (None, network.version)]


def _element_name(rule: Rule, network: Network) -> str:
    name = "all" if rule.protocol == ALL else rule.protocol
    return f"{name}-ipv6" if network.version == 6 and name != "icmpv6" else name


def _peer(network: Network, end: str) -> dict[str, Any]:
    if not network.prefixlen:
        return {}
    return {f"{end}ipaddr": network.network_address, f"{end}ipmask": network.prefixlen}


def _ports(rule: Rule, end: str) -> dict[str, int]:
    if (rule.from_port, rule.to_port) == (0, 65535):
        return {}
    return {f"{end}portstart": rule.from_port, f"{end}portend": rule.to_port}


def _allow(root: Element, direction: str, rule: Rule, network: Network) -> None:
    name = _element_name(rule, network)
    theirs, away, other = ("src", "dst", "out") if direction == "in" else ("dst", "src", "in")
    match: dict[str, Any] = _peer(network, theirs)
    answer = None
    if rule.protocol in ("tcp", "udp"):
        match.update(_ports(rule, "dst"))
    elif rule.protocol in _ANSWERS and rule.from_port != -1:
        code = {} if rule.to_port == -1 else {"code": rule.to_port}
        match.update({"type": rule.from_port, **code})
        answer = _ANSWERS[rule.protocol].get(rule.from_port)
    _rule(root, f"accept {direction}", _GROUPS, name, match)
    if answer is not None:  # of what has a type, libvirt does not derive the way back
        _rule(root, f"accept {other}", _GROUPS, name, {**_peer(network, away), "type": answer})


# Interfaces


def _interface(name: str, instance: Instance, interface: Interface, enforcement: Enforcement) -> Element:
    root = _filter(name)
    if instance.source_dest_check:
        if not enforcement.spoofing:
            _no_spoofing(root, interface)
        elif not enforcement.groups:
            _no_ip_spoofing(root, interface)
    if instance.security_groups:
        for group_id in instance.security_groups:
            add(root, "filterref", {"filter": group_filter(group_id)})
        _groups_base(root)
    return root


def _no_spoofing(root: Element, interface: Interface) -> None:
    """Let nothing out that does not come from the interface's own addresses, and no protocols but ARP and IP.

    C(0.0.0.0) and C(::) are who has no address yet, and link-local addresses of IPv6 are the guest's to choose. What
    may pass is stated in whole, not what may not: each rule takes libvirt a process, at each start. But whoever
    announces a router becomes the others' one, from whatever address. What a neighbour advertisement tells, libvirt
    cannot match.
    """
    _rule(root, "drop out", _SPOOFING - 1, "ipv6", {"protocol": "icmpv6", "type": _ROUTER_ADVERTISEMENT})
    mac = {"srcmacaddr": interface.mac_address}
    for address in filter(None, (interface.private_ip_address, _NOBODY)):
        arp = {"arpsrcmacaddr": interface.mac_address, "arpsrcipaddr": address}
        _rule(root, "accept out", _SPOOFING, "arp", {**mac, **arp})
    dhcp = {"protocol": "udp", **_dhcp("67", "68")}
    _rule(root, "accept out", _SPOOFING, "ip", {**mac, "srcipaddr": _NOBODY, **dhcp})
    if interface.private_ip_address:
        _rule(root, "accept out", _SPOOFING, "ip", {**mac, "srcipaddr": interface.private_ip_address})
    _rule(root, "accept out", _SPOOFING, "ipv6", {**mac, "srcipaddr": "fe80::", "srcipmask": 10})
    for address in filter(None, (interface.ipv6_address, "::")):
        _rule(root, "accept out", _SPOOFING, "ipv6", {**mac, "srcipaddr": address})
    _rule(root, "drop out", _SPOOFING + 1, "mac")


def _no_ip_spoofing(root: Element, interface: Interface) -> None:
    """Do what can be done without ebtables: drop IPv4 packets from other addresses, and announcements of routers."""
    _rule(root, "drop out stateless", _SPOOFING, "icmpv6", {"type": _ROUTER_ADVERTISEMENT})
    if interface.private_ip_address:
        _rule(root, "accept out stateless", _SPOOFING, "udp", _dhcp("67", "68"))
        match = {"match": "no", "srcipaddr": interface.private_ip_address}
        _rule(root, "drop out stateless", _SPOOFING + 1, "all", match)


def _dhcp(server: str, client: str) -> dict[str, str]:
    return {"srcportstart": client, "srcportend": client, "dstportstart": server, "dstportend": server}


def _groups_base(root: Element) -> None:
    """Allow what no group needs to, and deny what no group has allowed."""
    _rule(root, "accept out stateless", _ALWAYS, "udp", _dhcp("67", "68"))
    _rule(root, "accept out stateless", _ALWAYS, "udp-ipv6", _dhcp("547", "546"))
    for direction, kinds in _OF_A_LINK.items():  # libvirt leaves ICMP with a type out of a rule for both directions
        for kind in kinds:
            _rule(root, f"accept {direction} stateless", _ALWAYS, "icmpv6", {"type": kind})
    for direction in ("in", "out"):  # errors that a connection caused, such as a packet that is too big
        for protocol in ("icmp", "icmpv6"):
            _rule(root, f"accept {direction}", _ALWAYS, protocol, {"state": "RELATED"})
    for protocol in ("all", "all-ipv6"):
        _rule(root, "drop inout", _LAST, protocol)
