# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's IPVS table over generic netlink; the only place that opens a netlink socket. PRIVATE to the collection.

The socket is Python's own: importing pyroute2 takes longer than all the rest of an unchanged task, and would give
nothing but that socket, for its IPVS classes came late and lose fields. wire.py has the messages.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from . import modules, proc, wire
from .daemon import Daemon, DaemonWrite
from .model import Dest, DestKey, Service, ServiceKey, VirtualService
from .namespaces import inside
from .plan import Write
from .scope import Scope
from .settings import Settings, SettingsWrite

__all__ = ["Kernel", "UnavailableError", "connect"]

BATCH = 64
"""Messages in one send: on a table of thousands twice as fast as one each."""

FEW = 16
"""Services that are asked for one by one; more are picked out of a dump of all, which costs one question."""

RECEIVE = 1 << 16
"""Bytes; the kernel fills at most half of it with one part of a dump."""

SILENCE = 3
"""Seconds. The kernel has its answer ready when a send returns, so one that is not there by then does not come."""

NETLINK_GENERIC = 16

_COMMANDS = {
    ("create", False): wire.Command.NEW_SERVICE,
    ("edit", False): wire.Command.SET_SERVICE,
    ("delete", False): wire.Command.DEL_SERVICE,
    ("create", True): wire.Command.NEW_DEST,
    ("edit", True): wire.Command.SET_DEST,
    ("delete", True): wire.Command.DEL_DEST,
}


class UnavailableError(PocketError):
    """The kernel of this host has no IPVS at present."""


class Kernel:
    """The IPVS table of one network namespace."""

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        with inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", SILENCE, 0))
        self._sequence = 0
        try:
            self._family = self._find_family()
        except PocketError:
            self.close()
            raise

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(
        self,
        keys: Collection[ServiceKey] | None = None,
        stats: bool = False,
        within: Scope | None = None,
    ) -> dict[ServiceKey, VirtualService]:
        """The services of `keys` that exist, and those that are `within`; all of them where `keys` is None.

        :param stats: whether to read their counters, too.
        """
        if keys is not None and within is None and len(keys) <= FEW:
            services = self._services_of(keys, stats)
        else:
            services = self._services(stats)
            if keys is not None:
                services = [one for one in services if one.key in keys or (within is not None and one.key in within)]
        return {one.key: VirtualService(one, self._dests(one.key, stats)) for one in services}

    def apply(self, plan: Plan) -> None:
        """Write the plan, up to 64 messages a send; additions, edits and deletions never share one."""
        written = 0
        for batch in _batches(list(plan)):
            numbers = [self._next() for _one in batch]
            self._send(b"".join(self._encode(one.payload, number) for one, number in zip(batch, numbers)))
            answers = self._answers(set(numbers))
            failed = [(one, answers[number]) for one, number in zip(batch, numbers) if answers[number]]
            written += len(batch) - len(failed)
            if failed:
                operation, code = failed[0]
                raise PocketError(_refused(operation, code), changed=bool(written))

    def sysctl(self, name: str) -> str | None:
        """The setting net.ipv4.vs.NAME as text, None where the kernel does not have it."""
        return proc.read_sysctl(self._namespace, name)

    def info(self) -> dict[str, Any]:
        """Version of IPVS and size of its connection table."""
        return wire.decode_info(next(self._ask(wire.Command.GET_INFO, b"", "read the version of IPVS")))

    def settings(self) -> Settings:
        """The timeouts of connections, and the settings net.ipv4.vs."""
        answer = next(self._ask(wire.Command.GET_CONFIG, b"", "read the timeouts of IPVS"))
        return Settings(wire.decode_config(answer), proc.read_sysctls(self._namespace))

    def write_settings(self, write: SettingsWrite) -> None:
        """Write settings."""
        if write.settings.timeouts:
            body = wire.encode_config(write.settings.timeouts)
            asked = ", ".join(f"{name}: {value}" for name, value in write.settings.timeouts.items())
            self._order(wire.Command.SET_CONFIG, body, f"set the timeouts to {asked}", _TIMEOUT_REASONS)
        if write.settings.sysctls:
            proc.write_sysctls(self._namespace, write.settings.sysctls)

    def daemons(self) -> list[Daemon]:
        """The connection synchronisation daemons that run."""
        answers = self._ask(wire.Command.GET_DAEMON, b"", "read the synchronisation daemons of IPVS", dump=True)
        return [wire.decode_daemon(answer) for answer in answers]

    def write_daemon(self, write: DaemonWrite) -> None:
        """Stop and start a daemon; one that cannot be started with what it is to have runs on as it was."""
        if write.start is not None:
            self._require_interface(write.start.interface or "")
        if write.stop is not None:
            body = wire.encode_daemon(write.stop, identity_only=True)
            attempt = f"stop the {write.stop.daemon} sync daemon"
            # EINTR comes from one that is stopped before it has run at all; stopped it is.
            self._order(wire.Command.DEL_DAEMON, body, attempt, fine=errno.EINTR)
        if write.start is not None:
            attempt = f"start the {write.start.daemon} sync daemon"
            try:
                self._order(wire.Command.NEW_DAEMON, wire.encode_daemon(write.start), attempt, _DAEMON_REASONS)
            except PocketError:
                if write.stop is not None:
                    self._order(wire.Command.NEW_DAEMON, wire.encode_daemon(write.stop), attempt)
                raise

    def zero(self, key: ServiceKey | None) -> None:
        """Set the counters of a service and its dests to 0, of all of them and the sum where `key` is None."""
        body = b"" if key is None else wire.encode_service_key(key)
        self._order(wire.Command.ZERO, body, f"zero the counters of {key or 'all virtual services'}")

    def connections(self) -> str:
        """The kernel's list of connections, as it prints it."""
        return proc.read_connections(self._namespace)

    def require_modules(self, schedulers: Iterable[str], engines: Iterable[str]) -> None:
        """Refuse schedulers and persistence engines that this kernel cannot have."""
        modules.require(schedulers, engines)

    def _services(self, stats: bool) -> list[Service]:
        answers = self._ask(wire.Command.GET_SERVICE, b"", "read the virtual services", dump=True)
        return [wire.decode_service(answer, stats) for answer in answers]

    def _services_of(self, keys: Iterable[ServiceKey], stats: bool) -> list[Service]:
        found: list[bytes] = []
        for key in keys:
            body = wire.encode_service_key(key)
            found.extend(self._ask(wire.Command.GET_SERVICE, body, f"read the virtual service {key}", errno.ESRCH))
        return [wire.decode_service(answer, stats) for answer in found]

    def _dests(self, key: ServiceKey, stats: bool) -> dict[DestKey, Dest]:
        body = wire.encode_service_key(key)
        answers = self._ask(wire.Command.GET_DEST, body, f"read the dests of {key}", dump=True)
        return {dest.key: dest for dest in (wire.decode_dest(answer, key, stats) for answer in answers)}

    def _encode(self, write: Write, sequence: int) -> bytes:
        delete = write.kind == "delete"
        if write.dest is not None:
            body = wire.encode_service_key(write.service.key) + wire.encode_dest(write.dest, identity_only=delete)
        else:
            body = wire.encode_service_key(write.service.key) if delete else wire.encode_service(write.service)
        command = _COMMANDS[write.kind, write.dest is not None]
        return wire.message(self._family, command, body, wire.ACK, sequence)

    def _find_family(self) -> int:
        sequence = self._next()
        self._send(wire.family_request("IPVS", sequence))
        for reply in self._receive(sequence):
            if reply.error is None:
                number = wire.attributes(reply.attributes)[wire.CTRL_ATTR_FAMILY_ID]
                return int.from_bytes(number, wire.NATIVE)
            raise UnavailableError(
                "The kernel of this host has no IPVS at present: its module ip_vs is not loaded; "
                "load it with: modprobe ip_vs (Debian's and Ubuntu's kernels ship it; "
                "in a container it is the host's kernel that must load it)"
            )
        raise AssertionError("the kernel always answers")

    def _ask(
        self, command: int, body: bytes, attempt: str, missing: int | None = None, dump: bool = False
    ) -> Iterator[bytes]:
        """The data of each message that answers one request; nothing where it ends in the errno `missing`."""
        sequence = self._next()
        self._send(wire.message(self._family, command, body, wire.DUMP if dump else wire.ACK, sequence))
        found = []
        for reply in self._receive(sequence):
            if reply.error is None:
                found.append(reply.attributes)
            elif reply.error and reply.error != missing:
                raise PocketError(f"Could not {attempt}: {_reason(reply.error)}")
        return iter(found)

    def _order(
        self, command: int, body: bytes, attempt: str, reasons: Mapping[int, str] | None = None, fine: int = 0
    ) -> None:
        """One write that is no part of a plan for the table; the errno `fine` is none."""
        sequence = self._next()
        self._send(wire.message(self._family, command, body, wire.ACK, sequence))
        code = self._answers({sequence})[sequence]
        if code not in (0, fine):
            raise PocketError(f"Could not {attempt}: {(reasons or {}).get(code) or _reason(code)}")

    def _require_interface(self, name: str) -> None:
        with inside(self._namespace):
            present = [found for _index, found in socket.if_nameindex()]
        if name not in present:
            raise PocketError(f"interface is {name!r}, which is not there; give one of {', '.join(present)}")

    def _answers(self, pending: set[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        while pending - found.keys():
            data = self._recv()
            if not data:
                return {**dict.fromkeys(pending, errno.EINTR), **found}
            for reply in wire.replies(data):
                if reply.error is not None and reply.sequence in pending:
                    found[reply.sequence] = reply.error
        return found

    def _receive(self, sequence: int) -> Iterator[wire.Reply]:
        """The replies to one request, the one that ends it included."""
        while True:
            data = self._recv()
            if not data:
                yield wire.Reply(wire.NLMSG_ERROR, sequence, errno.EINTR, b"")
                return
            for reply in wire.replies(data):
                if reply.sequence == sequence:
                    yield reply
                    if reply.error is not None:
                        return

    def _recv(self) -> bytes:
        """What the kernel has to say; nothing where it says no more: it sends all errors but EINTR (af_netlink.c)."""
        try:
            return self._socket.recv(RECEIVE)
        except BlockingIOError:
            return b""

    def _send(self, data: bytes) -> None:
        self._socket.sendto(data, (0, 0))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def connect(namespace: str | None = None) -> Kernel:
    """The IPVS table of the network namespace `namespace`, of this process's own where it is None."""
    return Kernel(namespace)


def _batches(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    start = 0
    for index in range(1, len(operations) + 1):
        end = index == len(operations)
        if end or index - start == BATCH or operations[index].action != operations[start].action:
            yield operations[start:index]
            start = index


_TIMEOUT_REASONS = {
    errno.EINVAL: "the kernel counts them in ticks and has no room for so many; give fewer seconds, "
    "such as at most 2147483, which every kernel takes"
}
_DAEMON_REASONS = {
    errno.EINVAL: "the kernel refuses it: it copies no connections while a dest is of another address family than its "
    "service; remove such dests, or do without the daemon",
    errno.EADDRNOTAVAIL: "the interface has no address of the group's family; give it one, or another interface",
}


def _refused(operation: Operation, code: int) -> str:
    write: Write = operation.payload
    attempt = f"Could not {operation.action} {'the dest' if write.dest else 'the virtual service'} {operation.subject}"
    return f"{attempt}: {_special_reason(write, code) or _reason(code)}"


def _special_reason(write: Write, code: int) -> str | None:
    """What an errno means for this very write (ip_vs_ctl.c), none where it means the same everywhere."""
    if code == errno.ENOENT and write.dest is None:
        needed = [modules.scheduler_module(write.service.scheduler or "")]
        if write.service.persistence_engine not in (None, "none"):
            needed.append(modules.engine_module(write.service.persistence_engine or ""))
        return (
            f"the kernel does not have scheduler {write.service.scheduler} or persistence_engine "
            f"{write.service.persistence_engine}; load it with: modprobe {' '.join(needed)}, or choose another"
        )
    if code in (errno.EEXIST, errno.ESRCH, errno.ENOENT):
        return "another program changed the same virtual service at the same time; run the task again"
    if code == errno.EINVAL and write.dest is not None:
        if write.dest.key.family != write.service.key.family:
            return (
                "the kernel takes no dest of another address family than its service's while a sync daemon runs, which "
                "could not tell other directors of it; stop the daemon (ipvs_sync_daemon, state: absent), or give an "
                f"{write.service.key.family} address"
            )
        return (
            f"the kernel does not take {write.dest.key.address} as a real server, for it is no unicast address there; "
            "give the address of one host that is not link-local, and note that in a network namespace whose "
            "interface lo is down the kernel knows no unicast address (ip link set lo up)"
        )
    return None


def _reason(code: int) -> str:
    if code in (errno.EPERM, errno.EACCES):
        return (
            "the kernel does not permit it, for this process lacks the capability CAP_NET_ADMIN; "
            "run the task as root (become: true)"
        )
    return f"the kernel answered {errno.errorcode.get(code, code)} ({os.strerror(code)})"
