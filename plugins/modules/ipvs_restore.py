#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a director restores at boot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_restore
short_description: Declare the virtual services and addresses that a director restores at boot
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Keeps a declaration of virtual services, virtual addresses, settings and sync daemons on the director, in
    C(/etc/pocket-cloud/director.d), together with a small program in C(/usr/local/lib/pocket-cloud) that restores all
    declarations.
    Restoring compares with what is there, and adds and edits what differs; it never flushes.
  - Unless O(apply=false), also brings the running kernel and the interfaces to what is declared.
  - What the same declaration held before and holds no more is removed. Services, dests, addresses and sync daemons that
    were not declared here are left alone. Settings that are no more declared stay as they are.
  - The unit C(pocket-cloud-director.service), which the role P(pocket.cloud.lvs_director#role) installs, runs the
    program at boot; without it nothing does. By hand it is
    C(PYTHONPATH=/usr/local/lib/pocket-cloud python3 -m pocket_cloud._ipvs.restore), with C(--check) to see what it
    would write.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ipvs
  - pocket.cloud.ipvs.services
  - pocket.cloud.ipvs.settings
  - pocket.cloud.ipvs.sync_daemons
requirements:
  - ip on the target (Debian's C(iproute2)).
options:
  name:
    description:
      - The name of the declaration; a director can have many. No two may hold the same virtual service.
      - It consists of letters, digits, dots, hyphens and underscores and is part of a file name.
    type: str
    required: true
  addresses:
    description:
      - The virtual addresses that the director must have on its interfaces.
      - One that was added for a declaration is removed when it is no more declared; one that was there before stays.
    type: list
    elements: dict
    suboptions:
      address:
        description:
          - The address with its prefix length, such as V(192.0.2.10/32).
        type: str
        required: true
      interface:
        description:
          - The name of the interface that gets it.
        type: str
        required: true
  apply:
    description:
      - Whether to bring the running kernel and the interfaces to the declaration now; else only the files are kept.
    type: bool
    default: true
  state:
    description:
      - V(present) keeps the declaration.
      - V(absent) removes it, and unless O(apply=false) also the services, dests and addresses that it held.
    type: str
    choices: [present, absent]
    default: present
notes:
  - In check mode on a host that has no IPVS yet, the module tells what it would write once it is there. A real run
    fails there before it writes.
seealso:
  - module: pocket.cloud.ipvs_service
  - module: pocket.cloud.ipvs_info
"""

EXAMPLES = r"""
- name: Balance web traffic, now and after every boot
  hosts: directors
  become: true
  tasks:
    - name: Declare the web service and its address
      pocket.cloud.ipvs_restore:
        name: web
        addresses:
          - address: 192.0.2.10/32
            interface: eth0
        services:
          - protocol: tcp
            address: 192.0.2.10
            port: 80
            scheduler: wrr
            dests:
              - address: 10.0.0.11
                forwarding: masquerade
                weight: 2
              - address: 10.0.0.12
                forwarding: masquerade

    - name: Take the declaration of a former service back, with all it held
      pocket.cloud.ipvs_restore:
        name: mail
        state: absent
"""

RETURN = r"""
declaration:
  description: The declaration as it is kept, in canonical form and with only what was stated. Null where it is absent.
  returned: success
  type: dict
  sample:
    name: web
    namespace: null
    services:
      - protocol: tcp
        address: 192.0.2.10
        port: 80
        family: ipv4
        scheduler: wrr
        dests:
          - address: 10.0.0.11
            port: 80
            forwarding: masquerade
            weight: 2
    addresses:
      - address: 192.0.2.10/32
        interface: eth0
file:
  description: The file that holds the declaration.
  returned: success
  type: str
  sample: /etc/pocket-cloud/director.d/web.json
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import (
    IPVS_DAEMON,
    IPVS_NAMESPACE,
    IPVS_SERVICE,
    IPVS_SETTINGS,
    IPVS_STATE,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.restore_task import RestoreTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    address = {"address": {"type": "str", "required": True}, "interface": {"type": "str", "required": True}}
    spec = {
        "name": {"type": "str", "required": True},
        "services": {"type": "list", "elements": "dict", "options": IPVS_SERVICE},
        "addresses": {"type": "list", "elements": "dict", "options": address},
        "apply": {"type": "bool", "default": True},
        "sync_daemons": {"type": "list", "elements": "dict", "options": IPVS_DAEMON},
        **IPVS_SETTINGS,
        **IPVS_NAMESPACE,
        **IPVS_STATE,
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), RestoreTask)


if __name__ == "__main__":
    main()
