#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeouts and settings of the kernel's load balancer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_config
short_description: Set timeouts and sysctls of the Linux kernel's load balancer (IPVS)
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Sets after how long connections expire, and the settings below C(net.ipv4.vs), now and for every boot.
  - What is not stated stays as it is. What was set is read back; a value that the kernel did not keep fails the task.
  - For the next boot they are kept in the declaration C(ipvs_config) below C(/etc/pocket-cloud/director.d), which the
    unit that the role P(pocket.cloud.lvs_director#role) installs restores, as M(pocket.cloud.ipvs_restore) describes.
    Without that unit nothing does.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ipvs
  - pocket.cloud.ipvs.settings
requirements:
  - ip on the target (Debian's C(iproute2)).
options:
  persistent:
    description:
      - Whether to keep the settings for the next boot, too.
    type: bool
    default: true
seealso:
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_restore
"""

EXAMPLES = r"""
- name: Make directors forget
  hosts: directors
  become: true
  tasks:
    - name: Expire what is silent earlier, and let drains end in spite of persistence
      pocket.cloud.ipvs_config:
        timeouts:
          tcp: 600
          tcp_fin: 30
        sysctls:
          expire_quiescent_template: 1
          expire_nodest_conn: 1
"""

RETURN = r"""
timeouts:
  description: The timeouts of connections after the task, in check mode as they would be, in seconds.
  returned: success
  type: dict
  sample: {tcp: 600, tcp_fin: 30, udp: 300}
sysctls:
  description: The settings below C(net.ipv4.vs) after the task, in check mode as they would be, as text.
  returned: success
  type: dict
  sample: {expire_nodest_conn: "1", expire_quiescent_template: "1"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import IPVS_NAMESPACE, IPVS_SETTINGS
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.config_task import ConfigTask
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {**IPVS_SETTINGS, **IPVS_NAMESPACE, "persistent": {"type": "bool", "default": True}}
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), ConfigTask)


if __name__ == "__main__":
    main()
