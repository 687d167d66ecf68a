#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many virtual services of the kernel's load balancer at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_table
short_description: Manage many virtual services of the Linux kernel's load balancer (IPVS) in one task
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Brings any number of virtual services with their dests (real servers) to what is stated, by the fewest writes,
    in the order add, edit, drain, delete.
  - Services and dests that exist are edited in place and never made anew, so connections live on. The table is never
    flushed. What is not stated stays as it is.
  - All of the request is checked before the first write. One that is wrong is named by its place in the list.
  - What was set is read back from the kernel; a value that the kernel did not keep fails the task.
  - Of more than 1000 changes the diff is returned in diff mode only.
  - It takes the C(services) that M(pocket.cloud.ipvs_info) returns.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ipvs
  - pocket.cloud.ipvs.services
  - pocket.cloud.ipvs.drain
options:
  purge:
    description:
      - Whether to remove what O(services) does not list, services and dests of listed services, inside O(scope).
      - Nothing outside of the scope is ever touched.
    type: bool
    default: false
  scope:
    description:
      - Which services are this task's own to remove. Needed where O(purge=true);
        every service in O(services) must then be inside of it.
    type: dict
    suboptions:
      addresses:
        description:
          - The addresses and networks of the services that are named by an address.
            V(0.0.0.0/0) and V(::/0) stand for all. Without it no such service is in the scope.
        type: list
        elements: str
      ports:
        description:
          - The ports of these services, each a number or a range such as V(8000-8999). All ports where it is not given.
        type: list
        elements: str
      fwmarks:
        description:
          - The marks of the services that are named by a firewall mark, each a number or a range such as
            V(1-4294967295), for both families. Without it no such service is in the scope.
        type: list
        elements: str
seealso:
  - module: pocket.cloud.ipvs_service
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_restore
"""

EXAMPLES = r"""
- name: All that this director balances
  hosts: directors
  become: true
  tasks:
    - name: Have these services in 192.0.2.0/24 and no others, and let connections end before a dest goes
      pocket.cloud.ipvs_table:
        services:
          - address: 192.0.2.10
            port: 80
            scheduler: wrr
            dests:
              - {address: 10.0.0.11, forwarding: masquerade, weight: 2}
              - {address: 10.0.0.12, forwarding: masquerade}
          - address: 192.0.2.10
            port: 443
            persistence_timeout: 600
            dests:
              - {address: 10.0.0.11, forwarding: masquerade}
              - {address: 10.0.0.12, forwarding: masquerade}
        purge: true
        scope:
          addresses: [192.0.2.0/24]
        drain:
          timeout: 600

- name: Copy the services of one director to another
  hosts: standby
  become: true
  tasks:
    - name: Read those of the first
      pocket.cloud.ipvs_info:
      delegate_to: first
      register: first

    - name: Have the same
      pocket.cloud.ipvs_table:
        services: "{{ first.services }}"
"""

RETURN = r"""
writes:
  description:
    - How many services and dests were created, edited and deleted, in check mode would be.
      With a drain, deletions that wait for the end of connections are counted, too.
    - The table itself is what M(pocket.cloud.ipvs_info) returns.
  returned: success
  type: dict
  sample:
    services: {created: 2, edited: 0, deleted: 0}
    dests: {created: 4, edited: 0, deleted: 0}
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

import gc

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_DRAIN, IPVS_NAMESPACE, IPVS_SERVICE
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import BulkTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    gc.disable()  # it would go through a large table again and again, and there is nothing to collect
    scope = {name: {"type": "list", "elements": "str"} for name in ("addresses", "ports", "fwmarks")}
    spec = {
        "services": {"type": "list", "elements": "dict", "options": IPVS_SERVICE},
        "purge": {"type": "bool", "default": False},
        "scope": {"type": "dict", "options": scope},
        **IPVS_DRAIN,
        **IPVS_NAMESPACE,
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), BulkTask)


if __name__ == "__main__":
    main()
