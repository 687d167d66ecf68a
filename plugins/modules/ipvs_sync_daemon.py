#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemons that copy connections from one director to another."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_sync_daemon
short_description: Manage a daemon that copies connections between directors (IPVS)
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Starts, changes and stops the kernel's daemon that sends the connections of this director to others (the master), or
    the one that receives them (the backup). One of each can run in a network namespace, also both.
  - The kernel cannot change a daemon that runs, so a change stops it and starts it again. Connections go on meanwhile.
  - To have it started at boot, declare it with O(pocket.cloud.ipvs_restore#module:sync_daemons).
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ipvs
  - pocket.cloud.ipvs.daemon
options:
  daemon:
    description:
      - Which daemon is meant. The V(master) sends connections, the V(backup) receives them.
      - V(both) is one of each, with the same settings, for directors that share the work.
    type: str
    choices: [master, backup, both]
    required: true
  state:
    description:
      - V(present) makes sure that the daemon runs with what is stated.
      - V(absent) stops it; the other options do not matter then.
    type: str
    choices: [present, absent]
    default: present
notes:
  - The kernel runs no daemon while a dest is of another address family than its service, and takes no such dest while
    a daemon runs.
seealso:
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_restore
"""

EXAMPLES = r"""
- name: Let a standby director know the connections of the first
  hosts: directors
  become: true
  tasks:
    - name: Send on the first one, receive on the others
      pocket.cloud.ipvs_sync_daemon:
        daemon: "{{ 'master' if inventory_hostname == groups['directors'][0] else 'backup' }}"
        interface: eth1
        sync_id: 7

    - name: Let directors that are all active know the connections of each other
      pocket.cloud.ipvs_sync_daemon:
        daemon: both
        interface: eth1
        group: ff02::81
"""

RETURN = r"""
daemon:
  description:
    - The daemon as it runs after the task, in check mode as it would run. Null where it does not run.
    - In check mode C(sync_maxlen) may be null, for the kernel derives it from the interface.
  returned: unless O(daemon=both)
  type: dict
  sample: {daemon: master, interface: eth1, sync_id: 7, sync_maxlen: 1472, group: 224.0.0.81, port: 8848, ttl: 1}
daemons:
  description: Those of the meant daemons that run after the task, in check mode those that would run.
  returned: success
  type: list
  elements: dict
  sample:
    - {daemon: master, interface: eth1, sync_id: 7, sync_maxlen: 1472, group: 224.0.0.81, port: 8848, ttl: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_DAEMON, IPVS_NAMESPACE, IPVS_STATE
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.config_task import DaemonTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    daemon = {"daemon": {"type": "str", "choices": ["master", "backup", "both"], "required": True}}
    spec = {**IPVS_DAEMON, **IPVS_NAMESPACE, **IPVS_STATE, **daemon}
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), DaemonTask)


if __name__ == "__main__":
    main()
