# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request states about an instance's security groups and its source check. Pure. PRIVATE to the collection."""

from __future__ import annotations

from typing import Any

from .._errors import PocketError
from .request import Current, Template
from .security_groups import resolve_groups

__all__ = ["protection_stated", "unprotected"]


def protection_stated(current: Current, template: Template) -> dict[str, Any]:
    """Return the members of an instance that `template` states; raises where the host cannot enforce them."""
    stated: dict[str, Any] = {}
    if template.security_groups is not None:
        groups = resolve_groups(template.security_groups, current.groups)
        if groups and current.enforcement.groups:
            raise _cannot("security_groups: cannot be enforced", current.enforcement.groups, "leave them out")
        stated["security_groups"] = tuple(group.group_id for group in groups)
        stated["group_names"] = tuple(group.group_name for group in groups)
    if template.source_dest_check is not None:
        if template.source_dest_check and current.enforcement.spoofing:
            raise _cannot(
                "source_dest_check: true cannot be enforced",
                current.enforcement.spoofing,
                "leave it out, or state false",
            )
        stated["source_dest_check"] = template.source_dest_check
    return stated


def unprotected(current: Current) -> str:
    """Return the warning for instances that are launched with the usual source check, where that is not enforced."""
    if not current.enforcement.spoofing:
        return ""
    rest = "" if current.enforcement.groups else "; only IPv4 packets from other addresses are dropped"
    return (
        "source_dest_check: is not enforced for the new instances on this host, for "
        f"{current.enforcement.spoofing}{rest}; set the host up with the role kvm_host, or state source_dest_check: "
        "false"
    )


def _cannot(what: str, why: str, otherwise: str) -> PocketError:
    return PocketError(
        f"{what} on this host, for {why}; set it up with the role kvm_host, or {otherwise}", code="UnsupportedOperation"
    )
