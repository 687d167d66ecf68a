# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network filters of a libvirt daemon. PRIVATE to the collection."""

from __future__ import annotations

from .connection import Connection
from .filter_host import probe
from .network_filters import PREFIX, Enforcement
from .xml_text import parse, text_of

__all__ = ["FilterCalls"]

_NO_DRIVER = "libvirt has no driver for network filters here"


class FilterCalls(Connection):
    """Calls on network filters."""

    _filters_known: bool | None = None
    _enforcement: Enforcement | None = None

    def has_filters(self) -> bool:
        """Whether the daemon has a driver for network filters: an emulated host or a session has not."""
        if self._filters_known is None:
            self._filters_known = self.network_filters() is not None
        return self._filters_known

    def enforcement(self) -> Enforcement:
        """Return what the host can enforce; asked once."""
        if self._enforcement is None:
            self._enforcement = probe() if self.has_filters() else Enforcement(_NO_DRIVER, _NO_DRIVER)
        return self._enforcement

    def network_filters(self) -> dict[str, str] | None:
        """Return the definitions of our filters, by name; none where the daemon knows no filters."""
        connection = self._connection
        with self._attempt(f"list the network filters of {self.uri}"):
            try:
                found = connection.listAllNWFilters()
            except self._libvirt.libvirtError as error:
                if error.get_error_code() == self._libvirt.VIR_ERR_NO_SUPPORT:
                    return None
                raise
            ours = [one for one in found if one.name().startswith(PREFIX)]
            return {one.name(): one.XMLDesc() for one in ours}

    def define_filter(self, name: str, xml: str) -> None:
        """Make the filter, or change it; interfaces that use it have the new rules when this returns."""
        connection, libvirt = self._connection, self._libvirt
        with self._attempt(f"define the network filter {name}"):
            try:
                uuid = connection.nwfilterLookupByName(name).UUIDString()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_NWFILTER:
                    raise
            else:
                root = parse(xml)
                for own in root.findall("uuid"):
                    own.text = uuid
                xml = text_of(root)
            connection.nwfilterDefineXML(xml)

    def remove_filter(self, name: str) -> None:
        """Take the filter away; done already is well."""
        libvirt, connection = self._libvirt, self._connection
        with self._attempt(f"remove the network filter {name}"):
            try:
                connection.nwfilterLookupByName(name).undefine()
            except libvirt.libvirtError as error:
                if error.get_error_code() not in (libvirt.VIR_ERR_NO_NWFILTER, libvirt.VIR_ERR_NO_SUPPORT):
                    raise
