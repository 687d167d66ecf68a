#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of the kernel's load balancer back to 0."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_zero
short_description: Set counters of virtual services of the Linux kernel's load balancer (IPVS) to 0
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Sets the counters of connections, packets and bytes of virtual services and their dests to 0.
    Nothing else about them changes, and connections go on.
  - Where all of them are 0 already, nothing changes.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ipvs
options:
  services:
    description:
      - The virtual services whose counters are meant.
      - All of them, and the kernel's sum over them, where it is not given.
    type: list
    elements: dict
    suboptions:
      protocol:
        description:
          - The transport protocol of the virtual service.
          - V(tcp) where a service is named by address and this is not given.
        type: str
        choices: [tcp, udp, sctp]
        aliases: [proto]
      address:
        description:
          - The virtual address. A service is named either by it, with protocol and port, or by fwmark.
        type: str
        aliases: [addr]
      port:
        description:
          - The port.
        type: int
      fwmark:
        description:
          - The firewall mark.
        type: int
      family:
        description:
          - The address family of a service that is named by fwmark; V(ipv4) where it is not given.
        type: str
        choices: [ipv4, ipv6]
seealso:
  - module: pocket.cloud.ipvs_info
"""

EXAMPLES = r"""
- name: Count anew
  hosts: directors
  become: true
  tasks:
    - name: Set the counters of the web service to 0
      pocket.cloud.ipvs_zero:
        services:
          - address: 192.0.2.10
            port: 80
"""

RETURN = r"""
zeroed:
  description: The services whose counters were not 0; the diff tells how far they had counted, dests included.
  returned: success
  type: list
  elements: str
  sample:
    - tcp 192.0.2.10:80
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_NAMESPACE, IPVS_SERVICE_IDENTITY
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.config_task import ZeroTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    services = {"type": "list", "elements": "dict", "options": IPVS_SERVICE_IDENTITY}
    spec = {"services": services, **IPVS_NAMESPACE}
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), ZeroTask)


if __name__ == "__main__":
    main()
