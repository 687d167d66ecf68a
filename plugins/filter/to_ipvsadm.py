# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write virtual services for ipvsadm."""

from __future__ import annotations

DOCUMENTATION = r"""
name: to_ipvsadm
short_description: Write virtual services for ipvsadm
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Turns virtual services as M(pocket.cloud.ipvs_info) returns them into the text that C(ipvsadm -R) takes.
  - Read back by P(pocket.cloud.from_ipvsadm#filter), the text gives the same services.
options:
  _input:
    description:
      - The virtual services, each with its C(dests), such as RV(pocket.cloud.ipvs_info#module:services).
      - What is not stated has the default of M(pocket.cloud.ipvs_service). C(stats) are ignored.
    type: list
    elements: dict
    required: true
notes:
  - What no director could use is an error. It names the item, the value
    and what would be right.
  - A persistence netmask without a persistence timeout has no effect, and is left out.
  - C(ipvsadm) takes a persistence timeout of at most 31 days; a longer one is an error.
seealso:
  - plugin: pocket.cloud.from_ipvsadm
    plugin_type: filter
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_table
  - module: pocket.cloud.ipvs_restore
"""

EXAMPLES = r"""
- name: Keep a copy of the table that ipvsadm can read
  hosts: directors
  become: true
  tasks:
    - name: Read the table
      pocket.cloud.ipvs_info:
      register: ipvs

    - name: Write it down
      ansible.builtin.copy:
        content: "{{ ipvs.services | pocket.cloud.to_ipvsadm }}"
        dest: /etc/ipvsadm.rules
        mode: "0644"
"""

RETURN = r"""
_value:
  description:
    - The text, one command a line, in the order of the list.
    - Thresholds that the list states are in it, which C(ipvsadm -S) would leave out.
  type: str
  sample: |
    -A -t 192.0.2.10:80 -s wrr
    -a -t 192.0.2.10:80 -r 10.0.0.11:80 -m -w 1 -x 0 -y 0
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.ipvsadm_text import write_ipvsadm
from ansible_collections.pocket.cloud.plugins.plugin_utils._filters import as_filter


class FilterModule:
    """The filter to_ipvsadm."""

    def filters(self) -> dict[str, Callable[[Any], Any]]:
        """The filter by its name."""
        return as_filter("to_ipvsadm", write_ipvsadm)
