#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel's load balancer holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_info
short_description: Read the virtual services of the Linux kernel's load balancer (IPVS), with their counters
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Returns the virtual services of a director with their dests, all settings, 64-bit counters and rates,
    the timeouts, sysctls, synchronisation daemons and version of IPVS, and on request its connections.
  - What RV(services) holds can be given unchanged to M(pocket.cloud.ipvs_table) and M(pocket.cloud.ipvs_restore), and
    each of its elements to M(pocket.cloud.ipvs_service).
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ipvs
options:
  filters:
    description:
      - Return only services that pass all of these filters.
      - A filter is one of C(protocol), C(address), C(port), C(fwmark), C(family), C(scheduler),
        C(dest_address) and C(dest_port); an unknown one is an error.
      - Its value is one value or a list of alternatives. For addresses it may be a network such as C(192.0.2.0/24).
    type: dict
    default: {}
  connections:
    description:
      - Whether to return the kernel's connections, too. There may be very many.
    type: bool
    default: false
  connection_filters:
    description:
      - With O(connections=true) return only connections that pass all of these filters.
      - A filter is one of C(protocol), C(client_address), C(client_port), C(address), C(port), C(dest_address),
        C(dest_port), C(state) and C(template); an unknown one is an error.
      - Its value is one value or a list of alternatives. For addresses it may be a network such as C(192.0.2.0/24).
    type: dict
    default: {}
seealso:
  - module: pocket.cloud.ipvs_service
  - module: pocket.cloud.ipvs_dest
  - module: pocket.cloud.ipvs_table
"""

EXAMPLES = r"""
- name: See what the director balances
  hosts: directors
  become: true
  tasks:
    - name: Read the web services
      pocket.cloud.ipvs_info:
        filters:
          protocol: tcp
          address: 192.0.2.0/24
          port: [80, 443]
      register: ipvs

    - name: See who is connected to one real server
      pocket.cloud.ipvs_info:
        connections: true
        connection_filters:
          dest_address: 10.0.0.11
          state: established

    - name: Show the live connections of each real server
      ansible.builtin.debug:
        msg: "{{ item.1.address }}: {{ item.1.stats.active_connections }}"
      loop: "{{ ipvs.services | subelements('dests') }}"

    - name: Have the same services restored at boot
      pocket.cloud.ipvs_restore:
        name: web
        services: "{{ ipvs.services }}"
"""

RETURN = r"""
services:
  description:
    - The virtual services, sorted by address and port, those named by fwmark last.
    - Each holds its identity, all its settings and its dests under the names of the options of
      M(pocket.cloud.ipvs_service), and its counters.
  returned: success
  type: list
  elements: dict
  contains:
    stats:
      description:
        - The counters since the service was created or its counters were zeroed, and current rates.
          The kernel sums them up every two seconds.
        - In the elements of C(dests), C(stats) also holds C(active_connections), C(inactive_connections) and
          C(persistent_connections) of now.
      returned: always
      type: dict
      contains:
        connections:
          description: Connections scheduled.
          type: int
          returned: always
        packets_in:
          description: Packets from clients.
          type: int
          returned: always
        packets_out:
          description: Packets to clients through the director, so only with forwarding V(masquerade).
          type: int
          returned: always
        bytes_in:
          description: Bytes from clients.
          type: int
          returned: always
        bytes_out:
          description: Bytes to clients through the director.
          type: int
          returned: always
        connections_per_second:
          description: Current rate of connections.
          type: int
          returned: always
        packets_in_per_second:
          description: Current rate of packets from clients.
          type: int
          returned: always
        packets_out_per_second:
          description: Current rate of packets to clients.
          type: int
          returned: always
        bytes_in_per_second:
          description: Current rate of bytes from clients.
          type: int
          returned: always
        bytes_out_per_second:
          description: Current rate of bytes to clients.
          type: int
          returned: always
  sample:
    - protocol: tcp
      address: 192.0.2.10
      port: 80
      family: ipv4
      scheduler: wrr
      scheduler_flags: []
      persistence_timeout: 0
      persistence_netmask: 255.255.255.255
      persistence_engine: none
      one_packet: false
      stats:
        connections: 30
        packets_in: 180
      dests:
        - address: 10.0.0.11
          port: 80
          forwarding: masquerade
          weight: 1
          upper_threshold: 0
          lower_threshold: 0
          stats:
            active_connections: 2
            inactive_connections: 7
            persistent_connections: 0
            connections: 30
timeouts:
  description: After how many seconds of silence connections expire.
  returned: success
  type: dict
  sample:
    tcp: 900
    tcp_fin: 120
    udp: 300
daemons:
  description: The connection synchronisation daemons that run, under the options of M(pocket.cloud.ipvs_sync_daemon).
  returned: success
  type: list
  elements: dict
  sample:
    - {daemon: master, interface: eth0, sync_id: 0, sync_maxlen: 1472, group: 224.0.0.81, port: 8848, ttl: 1}
sysctls:
  description: The settings below C(net.ipv4.vs), as text.
  returned: success
  type: dict
  sample:
    expire_nodest_conn: "0"
    sync_threshold: "3 50"
connections:
  description:
    - The connections, each with its client, the address and port that it came to, its dest, its state in lower case
      and after how many seconds without a packet it expires.
    - One with C(template) true is none, but by which persistence gives a client its dest again.
  returned: with O(connections=true)
  type: list
  elements: dict
  sample:
    - protocol: tcp
      client_address: 198.51.100.7
      client_port: 40112
      address: 192.0.2.10
      port: 80
      dest_address: 10.0.0.11
      dest_port: 80
      state: established
      expires: 899
      template: false
version:
  description: The version of IPVS in the kernel.
  returned: success
  type: str
  sample: 1.2.1
connection_table_size:
  description: The number of buckets of the kernel's connection table.
  returned: success
  type: int
  sample: 4096
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_NAMESPACE
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.info import TableInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        "filters": {"type": "dict", "default": {}},
        "connections": {"type": "bool", "default": False},
        "connection_filters": {"type": "dict", "default": {}},
        **IPVS_NAMESPACE,
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), TableInfoTask)


if __name__ == "__main__":
    main()
