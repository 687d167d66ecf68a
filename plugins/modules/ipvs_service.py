#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual services of the kernel's load balancer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_service
short_description: Manage a virtual service of the Linux kernel's load balancer (IPVS)
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Creates, edits and removes a virtual service in the kernel of a director, together with dests (real servers).
  - A service and a dest that exist are edited in place and never made anew, so connections live on.
    What is not stated stays as it is.
  - What was set is read back from the kernel; a value that the kernel did not keep fails the task.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ipvs
  - pocket.cloud.ipvs.service
  - pocket.cloud.ipvs.drain
options:
  purge_dests:
    description:
      - Whether to remove the dests of the service that O(dests) does not list.
    type: bool
    default: false
  state:
    description:
      - V(present) makes sure that the service exists with the stated settings and dests.
      - V(absent) removes the service with all its dests; settings and dests do not matter then.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: pocket.cloud.ipvs_dest
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_restore
  - module: pocket.cloud.ipvs_table
"""

EXAMPLES = r"""
- name: Balance web traffic over two real servers, two to one
  hosts: directors
  become: true
  tasks:
    - name: Have the virtual service
      pocket.cloud.ipvs_service:
        protocol: tcp
        address: 192.0.2.10
        port: 80
        scheduler: wrr
        dests:
          - address: 10.0.0.11
            forwarding: masquerade
            weight: 2
          - address: 10.0.0.12
            forwarding: masquerade
            weight: 1
        purge_dests: true

    - name: Keep clients of one /24 network with one real server for ten minutes
      pocket.cloud.ipvs_service:
        address: 192.0.2.10
        port: 443
        persistence_timeout: 600
        persistence_netmask: 255.255.255.0

    - name: Have a service for all that the firewall marks with 7, over IPv6
      pocket.cloud.ipvs_service:
        fwmark: 7
        family: ipv6
        scheduler: sh
        scheduler_flags: [sh-port]

    - name: Have one real server less, and let its connections end first
      pocket.cloud.ipvs_service:
        address: 192.0.2.10
        port: 80
        dests:
          - address: 10.0.0.11
        purge_dests: true
        drain:
          timeout: 600

    - name: Stop to serve DNS
      pocket.cloud.ipvs_service:
        protocol: udp
        address: 2001:db8::10
        port: 53
        state: absent
"""

RETURN = r"""
service:
  description:
    - The virtual service as the kernel has it after the task, in check mode as it would have it.
      Null where it is absent.
    - It holds every setting and can be given to this module and to M(pocket.cloud.ipvs_restore) again.
  returned: success
  type: dict
  contains:
    protocol:
      description: The transport protocol, for a service named by address.
      returned: when named by address
      type: str
      sample: tcp
    address:
      description: The virtual address in its canonical form.
      returned: when named by address
      type: str
      sample: 192.0.2.10
    port:
      description: The port.
      returned: when named by address
      type: int
      sample: 80
    fwmark:
      description: The firewall mark.
      returned: when named by fwmark
      type: int
      sample: 7
    family:
      description: The address family, V(ipv4) or V(ipv6).
      returned: always
      type: str
      sample: ipv4
    scheduler:
      description: The scheduler.
      returned: always
      type: str
      sample: wrr
    scheduler_flags:
      description: The scheduler's flags, by the scheduler's own names where it has some.
      returned: always
      type: list
      elements: str
      sample: []
    persistence_timeout:
      description: The persistence timeout in seconds, V(0) without persistence.
      returned: always
      type: int
      sample: 0
    persistence_netmask:
      description: The netmask of persistence, dotted for IPv4, a prefix length for IPv6.
      returned: always
      type: str
      sample: 255.255.255.255
    persistence_engine:
      description: The persistence engine, V(none) without one.
      returned: always
      type: str
      sample: none
    one_packet:
      description: Whether each UDP packet is scheduled by itself.
      returned: always
      type: bool
      sample: false
    dests:
      description: All dests of the service with all their settings, sorted by address and port.
      returned: always
      type: list
      elements: dict
      sample:
        - address: 10.0.0.11
          port: 80
          forwarding: masquerade
          weight: 2
          upper_threshold: 0
          lower_threshold: 0
draining:
  description: What was still draining when O(drain.step) was over; empty once the drain has ended.
  returned: when a drain was asked for
  type: list
  elements: dict
  sample:
    - service: tcp 192.0.2.10:80
      dest: 10.0.0.11:80
      active_connections: 3
      inactive_connections: 9
      persistent_connections: 0
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import (
    IPVS_DRAIN,
    IPVS_NAMESPACE,
    IPVS_SERVICE,
    IPVS_STATE,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import ServiceTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    purge = {"purge_dests": {"type": "bool", "default": False}}
    spec = {**IPVS_SERVICE, **IPVS_NAMESPACE, **IPVS_STATE, **IPVS_DRAIN, **purge}
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), ServiceTask)


if __name__ == "__main__":
    main()
