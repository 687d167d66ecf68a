# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that machines which are no instances have, found before an instance boots with one. PRIVATE."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from .._errors import PocketError
from .hypervisor import Hypervisor
from .networks import Address
from .plan import plan_instances
from .request import Current, Request

__all__ = ["answered"]

# How often other addresses are planned in place of those that somebody answers for.
_ROUNDS = 8


def answered(hypervisor: Hypervisor, current: Current, request: Request) -> dict[Address, str]:
    """Return the addresses that others answer for: the host, its neighbours, and whoever has what the plan would give.

    Asked is only where machines of others may be: on a bridge of the host's, behind an uplink, beside domains that are
    no instances; and for a stated address.
    """
    ours = {
        interface.mac_address
        for instance in (*current.instances, *current.terminated)
        for interface in instance.interfaces
    }
    table = {**hypervisor.host_addresses(), **hypervisor.neighbours()}
    found = {address: mac for address, mac in table.items() if mac not in ours}
    asked: set[tuple[str, ipaddress.IPv4Address]] = set()
    for _round in range(_ROUNDS):
        questions = _planned(replace(current, answered=found), request) - asked
        asked |= questions
        answers: dict[Address, str] = {}
        for network in {name for name, _address in questions}:
            answers.update(hypervisor.who_has(network, {address for name, address in questions if name == network}))
        new = {address: mac for address, mac in answers.items() if mac not in ours}
        if not new:
            break
        found.update(new)
    return found


def _planned(current: Current, request: Request) -> set[tuple[str, ipaddress.IPv4Address]]:
    """Return the addresses to ask for, each with its network; none where the request cannot be met."""
    # Where others run machines of their own, any network may have some of them.
    strangers = current.capacity is not None and current.capacity.host.others_mib > 0
    open_to_others = {network.name for network in current.networks if network.bare or network.uplink or strangers}
    stated = {one.private_ip_address for one in request.template.interfaces}
    try:
        plan = plan_instances(current, request).plan
    except PocketError:
        return set()
    return {
        (interface.network, ipaddress.IPv4Address(interface.private_ip_address))
        for operation in plan
        if operation.action == "launch"
        for interface in operation.payload.instance.interfaces
        if interface.private_ip_address
        if interface.network in open_to_others or interface.private_ip_address in stated
    }
