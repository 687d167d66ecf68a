# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters and reservations that are not as they were left, and their repair. Pure. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._errors import PocketError
from .._plan import Operation
from .model import Instance
from .network_filters import Differences, differences, interface_filter
from .networks import Host, Network
from .request import Current

__all__ = ["drift", "unreserved", "verify_filters"]


def _filters_lack(current: Current) -> Differences:
    """Return how the filters differ from what finished runs have left."""
    if current.filters is None:
        return Differences({})
    return differences(current.filters, current.instances, current.groups, current.enforcement, finished=True)


def drift(current: Current) -> Sequence[Operation]:
    """Return the repair of filters that somebody edited or removed, or that an unfinished run left."""
    lacking = _filters_lack(current)
    found = current.filters or {}
    repaired = [
        _operation(name, {"intact": False} if name in found else None, {"intact": True}) for name in lacking.define
    ]
    attached = [
        _operation(interface_filter(instance.instance_id, index), {"attached": False}, {"attached": True})
        for instance in lacking.attach
        for index, interface in enumerate(instance.interfaces)
        if not interface.filtered
    ]
    return [*repaired, *attached, *(_operation(name, {"intact": False}, None) for name in lacking.remove)]


def verify_filters(after: Current) -> None:
    """Raise where the filters are not what they are to be after a run."""
    lacking = _filters_lack(after)
    if lacking.define:
        names = ", ".join(lacking.define)
        raise PocketError(f"libvirt did not keep these network filters as they were defined: {names}", changed=True)
    if lacking.attach:
        named = ", ".join(instance.label for instance in lacking.attach)
        raise PocketError(f"libvirt did not put the network filters on the interfaces of {named}", changed=True)


def _operation(name: str, before: dict[str, bool] | None, after: dict[str, bool] | None) -> Operation:
    return Operation("filter", f"network filter {name}", before, after, payload=name)


def unreserved(instances: Sequence[Instance], networks: Sequence[Network]) -> Iterator[Operation]:
    """Yield the repair of the reservations of `instances` that are gone: without one a guest gets no address.

    One that the definition has and the running DHCP server was not told of is as good as gone.
    What somebody else has taken meanwhile, and what a network of the name has no place for, stays as it is.
    """
    by_name = {network.name: network for network in networks}
    addresses = {(network.name, host.address) for network in networks for host in network.hosts}
    machines = {
        (network.name, host.mac_address, host.address.version) for network in networks for host in network.hosts
    }
    for instance in instances:
        for name, host in Host.of(instance):
            network, version = by_name.get(name), host.address.version
            if network is None or not _has_place(network, host):
                continue
            taken = (name, host.address) in addresses or (name, host.mac_address, version) in machines
            if not taken or _is_untold(network, host):
                after = {"network": name, "address": str(host.address)}
                yield Operation("reserve", f"reservation of {host.name}", None, after, payload=(name, host))


def _is_untold(network: Network, host: Host) -> bool:
    return host.address.version == 4 and host.mac_address in network.untold and host in network.hosts


def _has_place(network: Network, host: Host) -> bool:
    """Whether the network serves that address."""
    if host.address.version == 6:
        return network.serves_dhcp6 and network.ipv6 is not None and host.address in network.ipv6.network
    return not network.bare and network.interface is not None and host.address in network.interface.network
