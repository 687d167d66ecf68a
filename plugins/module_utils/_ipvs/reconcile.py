# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the kernel's table and the host's addresses to what is declared. PRIVATE to the collection.

The same plan serves the module ipvs_restore and the director's boot. It only ever removes what was declared before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Optional, Protocol

from .._errors import PocketError, in_turn
from .._plan import Operation, Plan
from .addresses import Address, HostAddresses
from .backend import Backend
from .daemon import Daemon, DaemonWrite, daemon_plan, daemon_shortfall
from .declarations import Declaration, Files
from .model import DestKey, ServiceKey, Table
from .netlink import connect
from .plan import Wanted, Write, make_plan, missing_modules, shortfall
from .settings import Settings, SettingsWrite, settings_plan, unkept

__all__ = ["KERNEL_WRITES", "AddressWrite", "Aim", "Host", "Present", "make_aim", "reconcile_plan"]

KERNEL_WRITES = (Write, SettingsWrite, DaemonWrite)
"""Payloads that need IPVS in the kernel."""

REMEMBERED = "/run/pocket-cloud/addresses.json"


@dataclass(frozen=True)
class AddressWrite:
    """The payload of an operation on an address."""

    kind: str
    address: Address


@dataclass(frozen=True)
class Aim:
    """What one network namespace is to be brought to.

    :param wanted: the services that are to be there.
    :param absent: services that were declared and are no more.
    :param addresses: the addresses that are to be there.
    :param others: addresses that were added here and stay; None for all that are not aimed at.
    :param settings: the settings that are to be in force.
    :param daemons: the sync daemons that are to run.
    :param absent_daemons: sync daemons, by their kind, that were declared and are no more.
    """

    namespace: str | None = None
    wanted: tuple[Wanted, ...] = ()
    absent: tuple[ServiceKey, ...] = ()
    addresses: tuple[Address, ...] = ()
    others: tuple[Address, ...] | None = ()
    settings: Settings = field(default_factory=Settings)
    daemons: tuple[Daemon, ...] = ()
    absent_daemons: tuple[str, ...] = ()

    def keys(self) -> set[ServiceKey]:
        """The services that it concerns."""
        return {*(one.service.key for one in self.wanted), *self.absent}


@dataclass(frozen=True)
class Present:
    """What one network namespace has: services, addresses, and of these the ones that were added here.

    :param settings: None where they were not read.
    """

    table: Table = field(default_factory=dict)
    addresses: Collection[Address] = ()
    remembered: Collection[Address] = ()
    settings: Settings | None = None
    daemons: Collection[Daemon] = ()


def make_aim(
    declaration: Declaration, others: Iterable[Declaration], before: Declaration | None = None, complete: bool = True
) -> Aim:
    """What `declaration` asks for; PocketError where one of the others names the same service.

    :param others: the other declarations in the same namespace.
    :param before: what the same name declared until now: what it has beyond `declaration` is to go.
    :param complete: whether the others are all there are; else no address is removed.
    """
    kept = list(others)
    owners = {one.service.key: other.name for other in kept for one in other.wanted}
    for one in declaration.wanted:
        if one.service.key in owners:
            raise PocketError(
                f"The virtual service {one.service.key} is declared twice, by {owners[one.service.key]} and by "
                f"{declaration.name}; take it out of one of the two"
            )
    _refuse_contradictions(declaration, kept)
    former = before.dests() if before else {}
    owned = {one.daemon for other in (declaration, *kept) for one in other.daemons}
    declared = {one.service.key for one in declaration.wanted}
    return Aim(
        declaration.namespace,
        tuple(_without_former_dests(one, former.get(one.service.key, ())) for one in declaration.wanted),
        tuple(key for key in former if key not in declared and key not in owners),
        declaration.addresses,
        tuple(address for other in kept for address in other.addresses) if complete else None,
        declaration.settings,
        declaration.daemons,
        tuple(one.daemon for one in (before.daemons if before else ()) if one.daemon not in owned),
    )


def _refuse_contradictions(declaration: Declaration, others: Iterable[Declaration]) -> None:
    """Refuse another value, in another declaration, for something of which there is one."""
    for other in others:
        theirs = dict(other.settings.items())
        for name, value in declaration.settings.items():
            if theirs.get(name, value) != value:
                raise PocketError(
                    f"{name} is declared twice, as {theirs[name]} by {other.name} and as {value} by "
                    f"{declaration.name}; take it out of one of the two"
                )
        running = {one.daemon: one for one in other.daemons}
        for one in declaration.daemons:
            if running.get(one.daemon, one) != one:
                raise PocketError(
                    f"The {one.daemon} sync daemon is declared twice, by {other.name} and by {declaration.name}; "
                    "take it out of one of the two"
                )


def _without_former_dests(wanted: Wanted, former: Sequence[DestKey]) -> Wanted:
    named = {dest.key for dest in wanted.dests}
    return replace(wanted, absent_dests=tuple(key for key in former if key not in named))


def reconcile_plan(present: Present, aim: Aim) -> Plan:
    """Services first and addresses then, so that no client meets an address without its service; removals reversed.

    Settings before both, for they decide how connections are treated; sync daemons last.
    """
    services = list(make_plan(present.table, aim.wanted, aim.absent))
    operations = list(settings_plan(present.settings, aim.settings))
    operations += [one for one in services if one.action != "delete"]
    operations += [_add(address) for address in aim.addresses if address not in present.addresses]
    if aim.others is not None:
        leaving = (set(present.remembered) & set(present.addresses)) - set(aim.addresses) - set(aim.others)
        operations += [_remove(address) for address in sorted(leaving)]
    operations += [one for one in services if one.action == "delete"]
    operations += daemon_plan(present.daemons, aim.daemons, aim.absent_daemons)
    return Plan(tuple(operations))


def _add(address: Address) -> Operation:
    return Operation("create", str(address), None, address.declaration(), AddressWrite("create", address))


def _remove(address: Address) -> Operation:
    return Operation("delete", str(address), address.declaration(), None, AddressWrite("delete", address))


class Addresses(Protocol):
    """The addresses of one network namespace; HostAddresses is the real one."""

    def read(self) -> frozenset[Address]:
        """All addresses."""

    def require_interfaces(self, names: Iterable[str]) -> None:
        """Refuse interfaces that do not exist."""

    def add(self, address: Address) -> None:
        """Add an address."""

    def remove(self, address: Address) -> None:
        """Remove an address."""


class Host:
    """One network namespace of a director: its table, its addresses, and the files of the host."""

    def __init__(
        self,
        namespace: str | None = None,
        open_kernel: Callable[[Optional[str]], Backend] = connect,
        open_addresses: Callable[[Optional[str]], Addresses] = HostAddresses,
        files: Files | None = None,
    ) -> None:
        self.namespace = namespace
        self.files = files or Files()
        self._open_kernel = open_kernel
        self._kernel: Backend | None = None
        self._addresses = open_addresses(namespace)

    def kernel(self) -> Backend:
        """The table, opened on first use."""
        if self._kernel is None:
            self._kernel = self._open_kernel(self.namespace)
        return self._kernel

    def read(self, aim: Aim) -> Present:
        """What is there of what `aim` concerns."""
        table: Table = {}
        if aim.keys():
            table = self.kernel().read(aim.keys())
            self.kernel().require_modules(*missing_modules(table, aim.wanted))
        settings = self.kernel().settings() if any(True for _one in aim.settings.items()) else None
        daemons = self.kernel().daemons() if aim.daemons or aim.absent_daemons else ()
        remembered = self._remembered()
        addresses = self._addresses.read() if aim.addresses or remembered else frozenset()
        return Present(table, addresses, remembered, settings, daemons)

    def check(self, plan: Plan) -> None:
        """Refuse before the first write what could not be written."""
        interfaces: list[str] = [one.payload.address.interface for one in plan if isinstance(one.payload, AddressWrite)]
        starts = [one.payload.start for one in plan if isinstance(one.payload, DaemonWrite)]
        interfaces += [daemon.interface or "" for daemon in starts if daemon]
        if interfaces:
            self._addresses.require_interfaces(interfaces)
        if any(isinstance(one.payload, KERNEL_WRITES) for one in plan):
            self.kernel()

    def apply(self, plan: Plan) -> None:
        """Write the operations on services, addresses, settings and daemons, in the plan's order."""
        self.check(plan)
        in_turn(self._writes(plan))

    def _writes(self, plan: Plan) -> Iterator[Callable[[], None]]:
        for of_services, operations in groupby(plan, key=lambda one: isinstance(one.payload, Write)):
            if of_services:
                yield partial(self.kernel().apply, Plan(tuple(operations)))
            else:
                yield from (partial(self._write, one.payload) for one in operations)

    def _write(self, write: AddressWrite | SettingsWrite | DaemonWrite) -> None:
        if isinstance(write, AddressWrite):
            self._write_address(write)
        elif isinstance(write, SettingsWrite):
            self.kernel().write_settings(write)
        else:
            self.kernel().write_daemon(write)

    def verify(self, plan: Plan, after: Present) -> list[str]:
        """What was written and is not so."""
        missed = shortfall(after.table, Plan(tuple(one for one in plan if isinstance(one.payload, Write))))
        for operation in plan:
            write = operation.payload
            if isinstance(write, AddressWrite) and (write.address in after.addresses) != (write.kind == "create"):
                missed.append(f"{write.address} is {'missing' if write.kind == 'create' else 'still there'}")
        payloads = [one.payload for one in plan]
        missed += unkept(after.settings or Settings(), [one for one in payloads if isinstance(one, SettingsWrite)])
        return missed + daemon_shortfall(after.daemons, [one for one in payloads if isinstance(one, DaemonWrite)])

    def _write_address(self, write: AddressWrite) -> None:
        # Remembered before it is added: one killed in between may forget nothing that it added.
        remembered = set(self._remembered())
        if write.kind == "create":
            self._remember(remembered | {write.address})
            self._addresses.add(write.address)
        else:
            self._addresses.remove(write.address)
            self._remember(remembered - {write.address})

    def _remembered(self) -> frozenset[Address]:
        stored = self._remembered_everywhere().get(self.namespace or "", [])
        return frozenset(Address(one["address"], one["interface"]) for one in stored)

    def _remembered_everywhere(self) -> dict[str, list[dict[str, str]]]:
        try:
            content: dict[str, list[dict[str, str]]] = json.loads(self.files.read(REMEMBERED) or "{}")
        except ValueError:
            return {}
        return content

    def _remember(self, addresses: Collection[Address]) -> None:
        everywhere = self._remembered_everywhere()
        everywhere[self.namespace or ""] = [address.declaration() for address in sorted(addresses)]
        left = {namespace: held for namespace, held in everywhere.items() if held}
        if left:
            self.files.write(REMEMBERED, json.dumps(left, indent=2) + "\n")
        else:
            self.files.remove(REMEMBERED)
