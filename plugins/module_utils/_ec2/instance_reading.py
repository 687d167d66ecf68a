# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is on a host that a request for instances has to do with. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._errors import PocketError
from .block_devices import Shelf
from .capacity import Capacity
from .conflicts import answered
from .filter_sync import security_groups
from .hypervisor import Hypervisor
from .images import Image
from .instance_disks import shelf_of
from .key_task import key_pairs
from .lost_files import LostFile, lost_files
from .machine import Abilities
from .model import Instance
from .networks import Address, Network
from .orphans import Orphan, orphans
from .request import Current, Request
from .store import Store
from .tokens import TOKENS
from .tombstones import instances_of

__all__ = ["InstanceReading"]

_MAY_LAUNCH = ("present", "running")
_MAY_START = (*_MAY_LAUNCH, "restarted")


class InstanceReading:
    """Reads a host for one request.

    :param accel: as the user stated it: C(auto), C(kvm) or C(tcg).
    """

    def __init__(self, request: Request, accel: str, hypervisor: Hypervisor, store: Store) -> None:
        self._request = request
        self._accel = accel
        self._hypervisor = hypervisor
        self._store = store
        self._answered: dict[Address, str] | None = None

    def current(self) -> Current:
        """Return what there is, and what else the plan depends on."""
        instances = tuple(self._hypervisor.instances())
        networks = tuple(self._hypervisor.networks())
        may_launch = self._request.state in _MAY_LAUNCH
        accel = self._acceleration() if may_launch else "tcg"
        used = {interface.network for instance in instances for interface in instance.interfaces}
        used |= {interface.network for interface in self._request.template.interfaces}
        token, buried = self._token(), self._store.tombstones()
        current = Current(
            instances=instances,
            terminated=tuple(instances_of(buried)),
            buried=frozenset(record["instance_id"] for record in buried),
            orphans=self._orphans(instances, networks, token),
            networks=networks,
            leases=tuple(
                lease
                for network in networks
                if network.name in used and network.active
                for lease in self._hypervisor.leases(network.name)
            ),
            image=self._image() if may_launch else None,
            own_types=self._store.instance_types() if may_launch else {},
            groups=security_groups(self._store),
            filters=self._hypervisor.network_filters(),
            enforcement=self._hypervisor.enforcement(),
            key_pairs=key_pairs(self._store) if self._request.template.key_name is not None else {},
            accel=accel,
            no_kvm=self._no_kvm() if may_launch else "",
            abilities=self._abilities(accel) if may_launch else None,
            capacity=self._capacity(),
            token=token,
            shelf=self._shelf(instances),
            lost=self._lost(instances),
        )
        if self._answered is None:  # what is launched afterwards answers itself
            self._answered = answered(self._hypervisor, current, self._request) if may_launch else {}
        return replace(current, answered=self._answered)

    def _capacity(self) -> Capacity | None:
        if self._request.state not in _MAY_START:
            return None
        return self._store.capacity(self._hypervisor.host_size())

    def _lost(self, instances: Sequence[Instance]) -> Mapping[str, Sequence[LostFile]]:
        """Return the files that those which may be started lack; of another host's, only its libvirt knows."""
        if self._request.state not in _MAY_START or self._hypervisor.boot() is None:
            return {}
        anew = self._request.allow_stop or self._request.state == "restarted"
        return lost_files(one for one in instances if anew or one.state in ("stopped", "stopping"))

    def _shelf(self, instances: tuple[Instance, ...]) -> Shelf:
        template = self._request.template
        if template.volumes is None and template.root.size_gib is None:
            return Shelf()
        return shelf_of(self._store, instances, template.root.size_gib is not None)

    def _orphans(
        self, instances: Sequence[Instance], networks: Sequence[Network], token: Mapping[str, Any] | None
    ) -> Mapping[str, Orphan]:
        known = {instance.instance_id for instance in instances}
        named = {*(self._request.instance_ids or ()), *(token["instance_ids"] if token else ())} - known
        if not named:
            return {}
        found = orphans(self._store.instance_directories(), networks, known, self._hypervisor.mentioned)
        return {one: orphan for one, orphan in found.items() if one in named}

    def _token(self) -> dict[str, Any] | None:
        token = self._request.template.client_token
        return None if token is None else self._store.records(TOKENS).get(token)

    def _image(self) -> Image | PocketError | None:
        """Return the image, or why there is none: it matters only where something is to be launched."""
        if self._request.template.image_id is None:
            return None
        try:
            return self._store.image(self._request.template.image_id)
        except PocketError as error:
            if error.code == "InvalidAMIID.Malformed":  # which is wrong whatever is launched
                raise
            return error

    def _abilities(self, accel: str) -> Abilities | None:
        """Return what the host can give to new machines, where more is stated about them than their size."""
        stated = self._request.template.machine
        if all(value is None for value in stated.values()):
            return None
        return self._hypervisor.abilities(stated["machine_type"] or "q35", accel)

    def _acceleration(self) -> str:
        if self._accel != "auto":
            return str(self._accel)
        from .acceleration import verdict

        return verdict().accel

    def _no_kvm(self) -> str:
        """Return why KVM, if it was stated, cannot be had; of another host only its libvirt knows."""
        if self._accel != "kvm" or self._hypervisor.boot() is None:
            return ""
        from .acceleration import obstacle

        return obstacle() or ""
