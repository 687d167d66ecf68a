# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client, a director and two real servers, each in a network namespace of its own, with real connections.

The director is the kernel's first namespace. Sockets are opened inside the other ones and used from here, so that
clients and servers need no processes.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

CLONE_NEWNET = 0x40000000
SERVERS = ("one", "two")
PORT = 80

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


def _ip(batch: str, *options: str) -> None:
    subprocess.run(["ip", *options, "-batch", "-"], input=batch, text=True, check=True)


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


class Network:
    """The network, with a server in each of the namespaces one and two that answers its name to each line."""

    def __enter__(self) -> Network:
        _ip(_LAYOUT)
        for name, (ipv4, ipv6, via4, via6) in _INSIDE.items():
            batch = [
                "link set lo up",
                "link set uplink up",
                f"address add {ipv4} dev uplink",
                f"address add {ipv6} dev uplink nodad",
                f"route add default via {via4}",
                f"route add default via {via6}",
            ]
            _ip("\n".join(batch), "-netns", name)
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
                file.write("1")
        self._stop, self._stopped = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stopped, selectors.EVENT_READ, "")
        for name in SERVERS:
            self._listen(name)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

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

    def _listen(self, name: str) -> None:
        with inside(name):
            for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                listener = socket.socket(family)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, PORT))
                listener.listen(64)
                self._selector.register(listener, selectors.EVENT_READ, f"listen {name}")
                udp = socket.socket(family, socket.SOCK_DGRAM)
                if family == socket.AF_INET6:
                    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                udp.bind((address, PORT))
                self._selector.register(udp, selectors.EVENT_READ, f"udp {name}")

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

    def __init__(self, family: str, port: int = PORT) -> None:
        with inside("client"):
            self._socket = socket.create_connection((VIRTUAL[family], port), timeout=10)

    def ask(self) -> str:
        """The name of the server at the other end."""
        self._socket.sendall(b"who\n")
        return self._socket.recv(100).decode().strip()

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def reset(self) -> None:
        """End it by a reset, after which nobody waits for late packets."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def shares(family: str, count: int, port: int = PORT) -> Counter[str]:
    """How many of so many new connections each server answered."""
    found: Counter[str] = Counter()
    for _connection in range(count):
        connection = Connection(family, port)
        found[connection.ask()] += 1
        connection.close()
    return found


def udp_shares(family: str, count: int, port: int = PORT) -> Counter[str]:
    """How many of so many datagrams, each from a port of its own, each server answered."""
    found: Counter[str] = Counter()
    for _connection in range(count):
        with inside("client"):
            sock = socket.socket(socket.AF_INET if family == "ipv4" else socket.AF_INET6, socket.SOCK_DGRAM)
        with sock:
            sock.settimeout(10)
            sock.sendto(b"who", (VIRTUAL[family], port))
            found[sock.recv(100).decode()] += 1
    return found
