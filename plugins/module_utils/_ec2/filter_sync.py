# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping libvirt's network filters as the instances and the security groups want them. PRIVATE to the collection."""

from __future__ import annotations

from .hypervisor import Hypervisor
from .model import Instance
from .network_filters import differences, interface_filter
from .security_groups import KIND, SecurityGroup, group_of
from .store import Store

__all__ = ["FilterSync", "security_groups"]


def security_groups(store: Store) -> dict[str, SecurityGroup]:
    """Return all security groups of the store, by id."""
    return {group_id: group_of(record) for group_id, record in store.records(KIND).all().items()}


class FilterSync:
    """The writes on network filters. Its caller holds the lock of the store."""

    def __init__(self, hypervisor: Hypervisor, store: Store) -> None:
        self._hypervisor = hypervisor
        self._store = store

    def sync(self, *, finished: bool = False) -> None:
        """Make and change what filters there should be, and remove those of instances that are gone.

        :param finished: whether to leave out the instances whose launch is not finished.
        """
        instances, found = self._hypervisor.instances(), self._hypervisor.network_filters()
        if found is None:
            return
        groups = security_groups(self._store)
        lacking = differences(found, instances, groups, self._hypervisor.enforcement(), finished=finished)
        for name, xml in lacking.define.items():
            self._hypervisor.define_filter(name, xml)
        for name in lacking.remove:
            self._hypervisor.remove_filter(name)
        for instance in lacking.attach:
            self._hypervisor.attach_filters(instance)

    def remove(self, instance: Instance) -> None:
        """Remove the filters of an instance whose machine is off."""
        if self._hypervisor.has_filters():
            for index, interface in enumerate(instance.interfaces):
                if instance.guarded or interface.filtered:
                    self._hypervisor.remove_filter(interface_filter(instance.instance_id, index))
