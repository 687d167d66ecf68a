# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network configuration in an instance's seed: version 2 of cloud-init's. Pure. PRIVATE to the collection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from .interfaces import DHCP, Interface
from .networks import Network

__all__ = ["is_needed", "network_config"]


def is_needed(interfaces: Sequence[Interface]) -> bool:
    """Whether a guest must be told more than to ask for an address on its one interface, which it does untold."""
    return any(index or one.given_by != DHCP or one.ipv6_address for index, one in enumerate(interfaces))


def network_config(interfaces: Sequence[Interface], networks: Iterable[Network]) -> str | None:
    """Return the configuration as YAML text, none where none is needed.

    :param networks: with those that the interfaces are in.
    """
    if not is_needed(interfaces):
        return None
    known = {network.name: network for network in networks}
    lines = ["version: 2", "ethernets:"]
    for index, interface in enumerate(interfaces):
        lines += [f"  {line}" for line in _card(index, interface, known.get(interface.network))]
    return "\n".join(lines) + "\n"


def _card(index: int, interface: Interface, network: Network | None) -> Iterator[str]:
    """Yield the lines of one interface. Strings are JSON, which is YAML, too."""
    yield f"eth{index}:"
    yield f'  match: {{macaddress: "{interface.mac_address}"}}'
    yield f"  set-name: eth{index}"
    dhcp = interface.given_by == DHCP
    yield f"  dhcp4: {json.dumps(dhcp)}"
    if dhcp and index:
        yield f"  dhcp4-overrides: {{route-metric: {100 * (index + 1)}}}"  # the way out is the first interface's
    addresses = []
    if network is not None and network.interface is not None and interface.private_ip_address and not dhcp:
        addresses.append(f"{interface.private_ip_address}/{network.interface.network.prefixlen}")
    if network is not None and network.ipv6 is not None and interface.ipv6_address:
        addresses.append(f"{interface.ipv6_address}/{network.ipv6.network.prefixlen}")
    if addresses:
        yield f"  addresses: {json.dumps(addresses)}"
    if network is None or not addresses:
        return
    yield from _routes(index, interface, network)
    servers = [str(server) for server in network.name_servers]
    if servers and not dhcp:
        yield f"  nameservers: {{addresses: {json.dumps(servers)}}}"


def _routes(index: int, interface: Interface, network: Network) -> Iterator[str]:
    if network.router is not None and interface.given_by != DHCP and not index:
        yield f'  gateway4: "{network.router}"'
    if network.ipv6 is None or not interface.ipv6_address:
        return
    if network.bare:
        yield "  accept-ra: true"  # the router there is not ours, and announces itself
        return
    yield "  accept-ra: false"
    if not index:
        yield f'  gateway6: "{network.ipv6.ip}"'
