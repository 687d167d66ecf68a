# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_network_info does. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import PocketError
from .._plan import Plan
from .._runner import InfoTask
from .addresses import available, taken
from .filters import check_filters, matches
from .hypervisor import Hypervisor
from .model import Instance
from .network_task import described
from .networks import Network
from .request import Current

__all__ = ["NetworkInfoTask"]

# Name of the filter -> the values that a network has for it.
NETWORK_FILTERS: dict[str, Any] = {
    "bridge": lambda network: [network.bridge] if network.bridge else [],
    "cidr": lambda network: [str(network.interface.network)] if network.interface else [],
    "ipv6-cidr": lambda network: [str(network.ipv6.network)] if network.ipv6 else [],
    "mode": lambda network: [network.mode],
    "name": lambda network: [network.name],
    "state": lambda network: [_state(network)],
    "uplink": lambda network: [network.uplink] if network.uplink else [],
}


@dataclass(frozen=True)
class Known:
    """What there is: the networks and the instances in them, as a launch would see it."""

    current: Current

    def users(self, network: Network) -> list[Instance]:
        """Return the instances that have an interface in the network."""
        return [one for one in self.current.instances if network.name in {card.network for card in one.interfaces}]


class NetworkInfoTask(InfoTask[Known]):
    """One call of ec2like_network_info."""

    def __init__(self, params: Mapping[str, Any], hypervisor: Hypervisor | None = None) -> None:
        self._names = params["names"]
        self._filters = check_filters(params["filters"], NETWORK_FILTERS)
        self._hypervisor = hypervisor or Hypervisor(params["uri"])

    def read(self) -> Known:
        networks = tuple(self._hypervisor.networks())
        leases = [lease for one in networks if one.active for lease in self._hypervisor.leases(one.name)]
        return Known(
            Current(
                instances=tuple(self._hypervisor.instances()),
                networks=networks,
                leases=tuple(leases),
                answered=self._hypervisor.host_addresses(),
            )
        )

    def result(self, plan: Plan, state: Known, applied: bool) -> dict[str, Any]:
        networks = state.current.networks
        known = [network.name for network in networks]
        for name in self._names or ():
            if name not in known:
                raise PocketError(
                    f"names: there is no network {name!r} on this host (there are: {', '.join(known) or 'none'})",
                    code="InvalidSubnetID.NotFound",
                )
        chosen = [one for one in networks if matches(one, self._filters, NETWORK_FILTERS)]
        if self._names is not None:
            chosen = [network for network in chosen if network.name in self._names]
        return {"networks": [_shown(network, state) for network in chosen]}


def _state(network: Network) -> str:
    return "available" if network.active else "unavailable"


def _shown(network: Network, known: Known) -> dict[str, Any]:
    return {
        **described(network),
        "state": _state(network),
        "managed": network.ours,
        "available_ip_address_count": available(network, taken(known.current, network)),
        "instance_ids": [instance.instance_id for instance in known.users(network)],
    }
