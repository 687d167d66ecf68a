# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write virtual services for keepalived.conf."""

from __future__ import annotations

DOCUMENTATION = r"""
name: to_keepalived
short_description: Write virtual services for keepalived.conf
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Turns virtual services as M(pocket.cloud.ipvs_info) returns them into C(virtual_server) blocks for keepalived.
  - Read back by P(pocket.cloud.from_keepalived#filter), the text gives the same services.
options:
  _input:
    description:
      - The virtual services, each with its C(dests), such as RV(pocket.cloud.ipvs_info#module:services).
      - What is not stated has the default of M(pocket.cloud.ipvs_service). C(stats) are ignored.
    type: list
    elements: dict
    required: true
notes:
  - What no director could use, and what keepalived cannot hold, is an error. It names the item, the value
    and what would be right.
  - A virtual service without dests is an error, for keepalived ignores it.
  - A persistence netmask without a persistence timeout has no effect, and is left out.
seealso:
  - plugin: pocket.cloud.from_keepalived
    plugin_type: filter
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_table
  - module: pocket.cloud.ipvs_restore
"""

EXAMPLES = r"""
- name: Give what a director has to keepalived
  hosts: directors
  become: true
  tasks:
    - name: Read the table
      pocket.cloud.ipvs_info:
      register: ipvs

    - name: Write it down
      ansible.builtin.copy:
        content: "{{ ipvs.services | pocket.cloud.to_keepalived }}"
        dest: /etc/keepalived/conf.d/virtual-servers.conf
        mode: "0644"
"""

RETURN = r"""
_value:
  description:
    - The text, one C(virtual_server) block for each virtual service, in the order of the list. It holds no checkers.
  type: str
  sample: |
    virtual_server 192.0.2.10 80 {
        protocol TCP
        lvs_sched wrr
        real_server 10.0.0.11 80 {
            weight 1
            lvs_method NAT
        }
    }
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.keepalived_text import write_keepalived
from ansible_collections.pocket.cloud.plugins.plugin_utils._filters import as_filter


class FilterModule:
    """The filter to_keepalived."""

    def filters(self) -> dict[str, Callable[[Any], Any]]:
        """The filter by its name."""
        return as_filter("to_keepalived", write_keepalived)
