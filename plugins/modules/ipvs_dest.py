#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dests of virtual services of the kernel's load balancer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_dest
short_description: Manage a dest (real server) of a virtual service of the Linux kernel's load balancer (IPVS)
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Adds one dest to a virtual service, edits it, or removes it.
  - A dest that exists is edited in place and never made anew, so its connections live on.
    What is not stated stays as it is.
  - What was set is read back from the kernel; a value that the kernel did not keep fails the task.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ipvs
  - pocket.cloud.ipvs.named_service
  - pocket.cloud.ipvs.dest
  - pocket.cloud.ipvs.drained
options:
  state:
    description:
      - V(present) makes sure that the dest exists with the stated settings.
      - V(drained) lets the dest's connections end and then removes it. It sets its weight to 0, so that it takes no new
        connections, and waits until its active, inactive and persistent connections are gone. Meanwhile the task
        shows how many are left. A drain that was interrupted goes on with the next run.
      - V(absent) removes the dest at once, and its connections break.
    type: str
    choices: [present, absent, drained]
    default: present
notes:
  - The virtual service must exist, in check mode too; M(pocket.cloud.ipvs_service) creates it.
    That module also takes all dests of a service in one task, which is faster than a loop.
seealso:
  - module: pocket.cloud.ipvs_service
  - module: pocket.cloud.ipvs_info
"""

EXAMPLES = r"""
- name: Take real servers out for maintenance
  hosts: directors
  become: true
  tasks:
    - name: Give it no new connections
      pocket.cloud.ipvs_dest:
        service:
          protocol: tcp
          address: 192.0.2.10
          port: 80
        address: 10.0.0.11
        weight: 0

    - name: Let the connections of another one end, for ten minutes at most, and remove it
      pocket.cloud.ipvs_dest:
        service:
          address: 192.0.2.10
          port: 80
        address: 10.0.0.12
        state: drained
        drain_timeout: 600

    - name: Add another one that gets at most 500 connections
      pocket.cloud.ipvs_dest:
        service:
          protocol: tcp
          address: 192.0.2.10
          port: 80
        address: 10.0.0.13
        port: 8080
        forwarding: masquerade
        upper_threshold: 500
        lower_threshold: 400

    - name: Remove a real server of the service for firewall mark 7
      pocket.cloud.ipvs_dest:
        service:
          fwmark: 7
        address: 10.0.0.12
        state: absent
"""

RETURN = r"""
service:
  description: The identity of the virtual service, in its canonical form.
  returned: success
  type: dict
  sample:
    protocol: tcp
    address: 192.0.2.10
    port: 80
    family: ipv4
dest:
  description:
    - The dest as the kernel has it after the task, in check mode as it would have it. Null where it is absent.
    - With forwarding V(tunnel) it also holds tunnel_type, tunnel_port and tunnel_checksum.
  returned: success
  type: dict
  sample:
    address: 10.0.0.13
    port: 8080
    forwarding: masquerade
    weight: 1
    upper_threshold: 500
    lower_threshold: 400
draining:
  description: What was still draining when O(drain_step) was over; empty once the drain has ended.
  returned: with O(state=drained)
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
    IPVS_DEST,
    IPVS_DRAIN_OPTIONS,
    IPVS_NAMESPACE,
    IPVS_SERVICE_IDENTITY,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.tasks import DestTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    service = {"service": {"type": "dict", "required": True, "options": IPVS_SERVICE_IDENTITY}}
    state = {"state": {"type": "str", "choices": ["present", "absent", "drained"], "default": "present"}}
    drain = {f"drain_{name}": option for name, option in IPVS_DRAIN_OPTIONS.items()}
    spec = {**service, **IPVS_DEST, **IPVS_NAMESPACE, **state, **drain}
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), DestTask)


if __name__ == "__main__":
    main()
