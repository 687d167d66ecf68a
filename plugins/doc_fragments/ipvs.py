# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for the kernel's load balancer share."""

from __future__ import annotations

from textwrap import indent

_IDENTITY = r"""
protocol:
  description:
    - The transport protocol of the virtual service.
    - V(tcp) where a service is named by address and this is not given.
  type: str
  choices: [tcp, udp, sctp]
  aliases: [proto]
address:
  description:
    - The virtual address that clients connect to, IPv4 or IPv6, without a prefix length.
    - A service is named either by address (with protocol and port), or by fwmark (with family).
  type: str
  aliases: [addr]
port:
  description:
    - The port that clients connect to, from 1 to 65535. Needed where a service is named by address.
    - V(0) stands for all ports, and works with persistence only.
  type: int
fwmark:
  description:
    - The mark, from 1 to 4294967295, that the firewall sets on the packets of this virtual service.
  type: int
family:
  description:
    - The address family of a service that is named by fwmark; one mark can have a service in each.
    - V(ipv4) where it is not given. Where a service is named by address, its family follows from the address.
  type: str
  choices: [ipv4, ipv6]
"""

_SETTINGS = r"""
scheduler:
  description:
    - How the kernel picks a dest for a new connection, one of
      V(rr), V(wrr), V(lc), V(wlc), V(lblc), V(lblcr), V(dh), V(sh), V(sed), V(nq), V(fo), V(ovf), V(mh), V(twos).
    - A service that exists keeps its own where this is not given; a new one gets V(wlc), as from C(ipvsadm).
  type: str
  aliases: [sched_name]
scheduler_flags:
  description:
    - Flags of the scheduler; the list is the whole of them, V([]) clears them.
    - Schedulers V(sh) and V(mh) have names for theirs; V(flag-1) to V(flag-3) are the raw bits for any scheduler.
    - A service that exists keeps its own where this is not given; a new one gets none.
  type: list
  elements: str
  choices: [sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3]
persistence_timeout:
  description:
    - For how many seconds a client stays with the dest that it was given, counted from its last connection;
      at most 17000000, above which the kernel's arithmetic wraps.
    - V(0) turns persistence off.
    - A service that exists keeps its own where this is not given; a new one gets V(0).
  type: int
persistence_netmask:
  description:
    - The part of a client's address that persistence goes by, so that clients of one network share a dest.
    - For IPv4 a dotted mask such as V(255.255.255.0) or a prefix length such as V(24), for IPv6 a prefix length
      from 1 to 128.
    - A service that exists keeps its own where this is not given; a new one gets the whole address.
  type: str
persistence_engine:
  description:
    - What persistence goes by besides the client's address.
      V(sip) is the Call-ID of SIP over UDP, V(none) is nothing else.
    - A service that exists keeps its own where this is not given; a new one gets V(none).
  type: str
  choices: [none, sip]
one_packet:
  description:
    - Whether each UDP packet is scheduled by itself, without a connection entry.
    - A service that exists keeps its own where this is not given; a new one gets V(false).
  type: bool
"""

_DEST_IDENTITY = r"""
address:
  description:
    - The real server's address, IPv4 or IPv6. Of the service's family, except where forwarding is V(tunnel).
  type: str
  required: true
  aliases: [addr]
port:
  description:
    - The port of the real server.
    - The service's own port where it is not given (for a service named by fwmark V(0), which keeps the client's).
      Forwarding V(direct) and V(tunnel) cannot change the port.
  type: int
"""

_DEST_SETTINGS = r"""
forwarding:
  description:
    - How packets reach the real server.
    - V(masquerade) rewrites the destination address and port; replies must come back through the director.
    - V(direct) sends the packets unchanged to the real server's link layer address; it must have the virtual address,
      too, and answers clients itself.
    - V(tunnel) does the same through a tunnel to the real server's address.
    - A dest that exists keeps its own where this is not given; a new one gets V(direct), as from C(ipvsadm).
  type: str
  choices: [masquerade, direct, tunnel]
weight:
  description:
    - The dest's share of new connections in proportion to the other dests' weights, from 0 to 2147483647.
    - V(0) takes no new connections and keeps the live ones.
    - A dest that exists keeps its own where this is not given; a new one gets V(1).
  type: int
upper_threshold:
  description:
    - The number of connections from which on the dest gets no new ones; V(0) is no limit.
    - A dest that exists keeps its own where this is not given; a new one gets V(0).
  type: int
lower_threshold:
  description:
    - The number of connections below which a dest that had reached its upper threshold gets new ones again.
      Not above the upper threshold; V(0) stands for three quarters of it.
    - A dest that exists keeps its own where this is not given; a new one gets V(0).
  type: int
tunnel_type:
  description:
    - The kind of the tunnel; only with forwarding V(tunnel).
    - A dest that exists keeps its own where this is not given; a new one gets V(ipip).
  type: str
  choices: [ipip, gue, gre]
tunnel_port:
  description:
    - The UDP port at which the real server takes GUE packets; needed for tunnel type V(gue) and only for it.
  type: int
tunnel_checksum:
  description:
    - The checksum in the tunnel's own header. V(full) with tunnel types V(gue) and V(gre),
      V(remote) (remote checksum offload) with V(gue).
    - A dest that exists keeps its own where this is not given; a new one gets V(none).
  type: str
  choices: [none, full, remote]
"""

_STATS = r"""
stats:
  description:
    - Ignored. It is there so that what M(pocket.cloud.ipvs_info) returns can be given unchanged.
  type: dict
"""


_DRAIN_OPTIONS = r"""
timeout:
  description:
    - For how many seconds to wait until the connections have ended.
  type: int
  default: 300
udp:
  description:
    - What to do about services over UDP, where nothing says that a connection has ended.
    - V(wait) waits as for TCP, until the kernel has forgotten them (by default 300 seconds after their last packet).
    - V(ignore) deletes the dests of such services at once.
  type: str
  choices: [wait, ignore]
  default: wait
at_timeout:
  description:
    - What to do with a dest that still has connections when the time is over.
    - V(fail) fails the task and leaves it at weight 0, where another run goes on waiting.
    - V(remove) deletes it; what becomes of its connections is up to the sysctl C(net.ipv4.vs.expire_nodest_conn).
  type: str
  choices: [fail, remove]
  default: fail
step:
  description:
    - After how many seconds the module returns with what is left, to be called again until nothing is.
      The task does this by itself and shows meanwhile how many connections are left; there is no need to set it.
  type: int
"""


_DAEMON = r"""
daemon:
  description:
    - Which daemon is meant. The V(master) sends connections, the V(backup) receives them.
  type: str
  choices: [master, backup]
  required: true
interface:
  description:
    - The network interface that the directors reach each other over. Needed to start a daemon.
  type: str
sync_id:
  description:
    - The number, from 0 to 255, by which backups know their masters; V(0) takes messages of all masters.
    - A daemon that runs keeps its own where this is not given; a new one gets V(0).
  type: int
sync_maxlen:
  description:
    - The size of a message in bytes, at most what fits into a packet of the interface; at least 1024 for a backup.
    - A daemon that runs keeps its own where this is not given; a new one gets what fits.
  type: int
group:
  description:
    - The multicast address, IPv4 or IPv6, that messages are sent to.
    - A daemon that runs keeps its own where this is not given; a new one gets V(224.0.0.81).
  type: str
port:
  description:
    - The UDP port that messages are sent to.
    - A daemon that runs keeps its own where this is not given; a new one gets V(8848).
  type: int
ttl:
  description:
    - Over how many routers messages may go, from 1 to 255.
    - A daemon that runs keeps its own where this is not given; a new one gets V(1).
  type: int
"""

_SETTINGS_OF_ALL = r"""
timeouts:
  description:
    - After how many seconds without a packet connections expire; at least 1, and as a rule at most 2147483.
  type: dict
  suboptions:
    tcp:
      description:
        - Of established TCP connections. The kernel begins with 900.
      type: int
    tcp_fin:
      description:
        - Of TCP connections of which one side has ended. The kernel begins with 120.
      type: int
    udp:
      description:
        - Of UDP. The kernel begins with 300.
      type: int
sysctls:
  description:
    - Settings of the kernel by their names below C(net.ipv4.vs), such as C(expire_nodest_conn), C(conn_reuse_mode) or
      C(sync_threshold), each with a number, several numbers in a text, or a boolean.
    - One that the kernel does not have is an error that names those it has.
  type: dict
"""


def _prefixed(prefix: str, options: str) -> str:
    return "".join(
        line if line[:1].isspace() else prefix + line for line in options.lstrip("\n").splitlines(keepends=True)
    )


def _options(*parts: str) -> str:
    return "options:\n" + "".join(indent(part.lstrip("\n"), "  ") for part in parts)


def _dict(name: str, *description: str, options: str) -> str:
    lines = "".join(f"    - {line}\n" for line in description)
    return f"{name}:\n  description:\n{lines}  type: dict\n  suboptions:\n{indent(options.lstrip(chr(10)), '    ')}"


def _list(name: str, description: str, *parts: str) -> str:
    head = f"{name}:\n  description:\n{indent(description, '    - ')}\n  type: list\n  elements: dict\n  suboptions:\n"
    return head + "".join(indent(part.lstrip("\n"), "    ") for part in parts)


_DESTS = _list(
    "dests",
    "The dests (real servers) that the virtual service must have. Others are left alone.",
    _DEST_IDENTITY,
    _DEST_SETTINGS,
    _STATS,
)


class ModuleDocFragment:
    """Requirements and options of the IPVS modules."""

    DOCUMENTATION = r"""
options:
  namespace:
    description:
      - The name of the network namespace whose IPVS table is meant, as C(ip netns list) shows it.
      - Without it, that of the namespace in which the module runs is meant.
    type: str
requirements:
  - a Linux kernel with its module C(ip_vs)
notes:
  - Linux 6.1 loads its module C(ip_vs) when this module first asks for it; where a kernel does not, load it with
    C(modprobe ip_vs). The role P(pocket.cloud.lvs_director#role) has it loaded at every boot.
  - Every call, also a reading one, needs the capability C(CAP_NET_ADMIN), so use C(become=true).
  - Live connections go on through every change of a service or dest. What ends connections is to remove their dest,
    or the last service of an address family.
"""

    # With a type, because ansible-test's yamllint takes every assignment without one for a literal
    SERVICE: str = _options(_IDENTITY, _SETTINGS, _DESTS, _STATS)

    DEST: str = _options(_DEST_IDENTITY, _DEST_SETTINGS, _STATS)

    NAMED_SERVICE: str = _options(
        "service:\n  description:\n    - Which virtual service the dest belongs to. The service must exist.\n"
        "  type: dict\n  required: true\n  suboptions:\n" + indent(_IDENTITY.lstrip("\n"), "    ")
    )

    SERVICES: str = _options(
        _list(
            "services", "The virtual services, each with its settings and dests.", _IDENTITY, _SETTINGS, _DESTS, _STATS
        )
    )

    DRAIN: str = _options(
        _dict(
            "drain",
            "Lets connections end before a dest or a service is removed. Its weight is set to 0, so that it takes no "
            "new connections; when its active, inactive and persistent connections are gone, it is removed.",
            "Without it what is to be removed is removed at once, and its connections break.",
            "A drain that was interrupted goes on with the next run. A dest that is to stay after all needs its weight "
            "stated, for what is not stated stays as it is, and that is 0 by then.",
            options=_DRAIN_OPTIONS,
        )
    )

    DRAINED: str = _options(_prefixed("drain_", _DRAIN_OPTIONS))

    DAEMON: str = _options(_DAEMON)

    SETTINGS: str = _options(_SETTINGS_OF_ALL)

    SYNC_DAEMONS: str = _options(
        _list("sync_daemons", "The daemons that copy connections between directors, which are to run.", _DAEMON)
    )
