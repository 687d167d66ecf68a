# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client, a director and two real servers, each in a network namespace of its own, with real connections.

The director is the kernel's first namespace. Sockets are opened inside the other ones and used from here, so that
clients and servers need no processes.

Servers answer through the director, as masquerading needs it. With a bypass they carry the virtual addresses
themselves and answer the client directly, as direct routing and tunnels need it.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import selectors
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType

CLONE_NEWNET = 0x40000000
SERVERS = ("one", "two")
PORT = 80
OTHER_PORT = 81
GUE_PORT = 6080
STALLED = 20  # seconds without an answer

VIRTUAL = {"ipv4": "192.0.2.10", "ipv6": "2001:db8::10"}
REAL = {
    "ipv4": {"one": "10.0.1.1", "two": "10.0.2.1"},
    "ipv6": {"one": "fd00:0:0:1::1", "two": "fd00:0:0:2::1"},
}

_LAYOUT = """
netns add client
netns add one
netns add two
link add to-client type veth peer name uplink netns client
link add to-one type veth peer name uplink netns one
link add to-two type veth peer name uplink netns two
address add 192.0.2.254/24 dev to-client
address add 10.0.1.254/24 dev to-one
address add 10.0.2.254/24 dev to-two
address add 2001:db8::254/64 dev to-client nodad
address add fd00:0:0:1::254/64 dev to-one nodad
address add fd00:0:0:2::254/64 dev to-two nodad
link set to-client up
link set to-one up
link set to-two up
"""

_INSIDE = {
    "client": ("192.0.2.1/24", "2001:db8::1/64", "192.0.2.254", "2001:db8::254"),
    "one": ("10.0.1.1/24", "fd00:0:0:1::1/64", "10.0.1.254", "fd00:0:0:1::254"),
    "two": ("10.0.2.1/24", "fd00:0:0:2::1/64", "10.0.2.254", "fd00:0:0:2::254"),
}

_BYPASS = {
    "one": ("10.1.1.1/24", "fd00:0:1:1::1/64", "10.1.1.254", "fd00:0:1:1::254"),
    "two": ("10.1.2.1/24", "fd00:0:1:2::1/64", "10.1.2.254", "fd00:0:1:2::254"),
}

# By the type of the tunnel and the family of the server's own address: what takes packets of both families out.
_TUNNELS = {
    ("ipip", "ipv4"): "sit mode any",
    ("ipip", "ipv6"): "ip6tnl mode any",
    ("gre", "ipv4"): "gre",
    ("gre", "ipv6"): "ip6gre",
}

_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_PROTOCOLS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


def _ip(batch: str, *options: str) -> None:
    subprocess.run(["ip", *options, "-batch", "-"], input=batch, text=True, check=True)


def _device(name: str, ipv4: str, ipv6: str) -> list[str]:
    return [f"link set {name} up", f"address add {ipv4} dev {name}", f"address add {ipv6} dev {name} nodad"]


def _default(via4: str, via6: str) -> list[str]:
    return [f"route add default via {via4}", f"route add default via {via6}"]


@contextmanager
def virtual_address(family: str) -> Iterator[str]:
    """The director has the virtual address in this block."""
    address = f"{VIRTUAL[family]}/{'32' if family == 'ipv4' else '128'} dev to-client"
    _ip(f"address add {address} {'nodad' if family == 'ipv6' else ''}")
    try:
        yield VIRTUAL[family]
    finally:
        _ip(f"address delete {address}")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets opened in this block belong to the namespace."""
    library = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert library.setns(there, CLONE_NEWNET) == 0
        yield
    finally:
        assert library.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


def _socket(protocol: str, family: str) -> socket.socket:
    sock = socket.socket(_FAMILIES[family], *_PROTOCOLS[protocol])
    if family == "ipv6":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


class Network:
    """The network, with a server in each of the namespaces one and two that answers its name to each line."""

    def __init__(self, bypass: bool = False) -> None:
        self._bypass = bypass

    def __enter__(self) -> Network:
        _ip(_LAYOUT)
        for name, (ipv4, ipv6, *gateways) in _INSIDE.items():
            batch = ["link set lo up", *_device("uplink", ipv4, ipv6)]
            if name not in SERVERS or not self._bypass:
                batch += _default(*gateways)
            _ip("\n".join(batch), "-netns", name)
        if self._bypass:
            self._lead_past_the_director()
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
                file.write("0" if self._bypass else "1")
        self._stop, self._stopped = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stopped, selectors.EVENT_READ, "")
        for port in (PORT, OTHER_PORT):
            self.listen(port, "tcp", "udp")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def _lead_past_the_director(self) -> None:
        subprocess.run(["modprobe", "-a", "fou", "fou6"], check=True)
        for name, (ipv4, ipv6, via4, via6) in _BYPASS.items():
            batch = [f"link add to-{name} type veth peer name bypass netns {name}"]
            _ip("\n".join(batch + _device(f"to-{name}", f"{via4}/24", f"{via6}/64")), "-netns", "client")
            batch = [*_device("bypass", ipv4, ipv6), *_default(via4, via6)]
            batch += [f"address add {address} dev lo" for address in VIRTUAL.values()]
            batch += [f"fou add port {GUE_PORT} gue", f"fou add port {GUE_PORT} gue -6"]
            _ip("\n".join(batch), "-netns", name)

    @contextmanager
    def unpacking(self, family: str, tunnel_type: str, checksum: bool = False) -> Iterator[None]:
        """The servers take packets out of tunnels to their addresses of this family; GRE's either with a checksum or
        without one."""
        # GUE's come out of UDP at its port and go on as if they were of this type.
        link = _TUNNELS["ipip" if tunnel_type == "gue" else tunnel_type, family]
        for name in SERVERS:
            made = f"link add tunnel type {link} local {REAL[family][name]} {'icsum' if checksum else ''}"
            _ip(f"{made}\nlink set tunnel up", "-netns", name)
        try:
            yield
        finally:
            for name in SERVERS:
                _ip("link delete tunnel", "-netns", name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.send(b"x")
        self._thread.join(10)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._stop.close()
        # A namespace goes in its own time, and its links with it; these are to be gone at once.
        _ip("".join(f"link delete to-{name}\nnetns delete {name}\n" for name in _INSIDE))

    def listen(self, port: int, *protocols: str) -> None:
        """Have both servers listen on the port; those that answer directly at the virtual address, so that answers to
        datagrams come from there."""
        for name, protocol, family in itertools.product(SERVERS, protocols, VIRTUAL):
            address = VIRTUAL[family] if self._bypass else {"ipv4": "0.0.0.0", "ipv6": "::"}[family]
            with inside(name):
                listener = _socket(protocol, family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            if protocol != "udp":
                listener.listen(64)
            role = "udp" if protocol == "udp" else "listen"
            self._selector.register(listener, selectors.EVENT_READ, f"{role} {name}")

    def _serve(self) -> None:
        while True:
            for key, _events in self._selector.select():
                role, _space, name = key.data.partition(" ")
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if role == "":
                    return
                if role == "listen":
                    self._selector.register(sock.accept()[0], selectors.EVENT_READ, f"answer {name}")
                elif role == "udp":
                    sock.sendto(name.encode(), sock.recvfrom(100)[1])
                elif not self._answer(sock, name):
                    self._selector.unregister(sock)
                    sock.close()

    def _answer(self, sock: socket.socket, name: str) -> bool:
        with suppress(OSError):
            if sock.recv(100):
                sock.sendall(name.encode() + b"\n")
                return True
        return False


class Connection:
    """A connection of the client to a virtual service."""

    def __init__(self, family: str, port: int = PORT, protocol: str = "tcp") -> None:
        with inside("client"):
            self._socket = _socket(protocol, family)
        self._socket.settimeout(STALLED)
        self._socket.connect((VIRTUAL[family], port))

    def ask(self) -> str:
        """The name of the server at the other end."""
        self._socket.sendall(b"who\n")
        return self._socket.recv(100).decode().strip()

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def end(self) -> None:
        """End it, and see the server end it, too."""
        self._socket.shutdown(socket.SHUT_WR)
        assert self._socket.recv(100) == b""
        self._socket.close()

    def reset(self) -> None:
        """End it by a reset, after which nobody waits for late packets."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def shares(family: str, count: int, port: int = PORT, protocol: str = "tcp") -> Counter[str]:
    """How many of so many new connections each server answered."""
    found: Counter[str] = Counter()
    for _connection in range(count):
        connection = Connection(family, port, protocol)
        found[connection.ask()] += 1
        connection.close()
    return found


def udp_shares(family: str, count: int, port: int = PORT, from_one_port: bool = False) -> Counter[str]:
    """How many of so many datagrams, each from a port of its own or all from one, each server answered."""
    found: Counter[str] = Counter()
    with ExitStack() as stay:  # one that is closed gives its port back, and with it the server that the port had
        for _port in range(1 if from_one_port else count):
            with inside("client"):
                sock = stay.enter_context(_socket("udp", family))
            sock.settimeout(STALLED)
            sock.connect((VIRTUAL[family], port))  # takes no answer that comes from elsewhere
            for _datagram in range(count if from_one_port else 1):
                sock.send(b"who")
                found[sock.recv(100).decode()] += 1
    return found
