# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the virtual services of ldirectord.cf."""

from __future__ import annotations

DOCUMENTATION = r"""
name: from_ldirectord
short_description: Read the virtual services of ldirectord.cf
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Turns the C(virtual) lines of an C(ldirectord.cf), with the C(real) lines below them, into a list of virtual
    services as M(pocket.cloud.ipvs_info) returns it.
  - What is not about IPVS, such as checks, C(fallback) or C(quiescent), is kept aside.
options:
  _input:
    description:
      - The text of the file. Addresses and ports are numbers; names are refused.
    type: str
    required: true
notes:
  - What no director could use, and what cannot be read, is an error. It names the line, the word and
    what would be right.
  - Defaults are those of ldirectord, which are scheduler C(wrr), weight 1, and protocol UDP for port 53, else TCP.
  - RV(_value.aside) holds what the text does, which may be secrets such as C(passwd).
seealso:
  - plugin: pocket.cloud.from_keepalived
    plugin_type: filter
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_table
  - module: pocket.cloud.ipvs_restore
"""

EXAMPLES = r"""
- name: Take over the virtual services of ldirectord
  hosts: directors
  become: true
  vars:
    found: "{{ lookup('ansible.builtin.file', 'ldirectord.cf') | pocket.cloud.from_ldirectord }}"
  tasks:
    - name: Have the services
      pocket.cloud.ipvs_table:
        services: "{{ found.services }}"
"""

RETURN = r"""
_value:
  description: The virtual services, and what the text holds besides.
  type: dict
  contains:
    services:
      description:
        - The virtual services, sorted as M(pocket.cloud.ipvs_info) sorts them.
        - Each holds its identity, all its settings and its C(dests) under the names of the options of
          M(pocket.cloud.ipvs_service). The list can be given unchanged to M(pocket.cloud.ipvs_table).
      type: list
      elements: dict
    aside:
      description:
        - What the text holds besides, in its order. What is in neither list are comments only.
      type: list
      elements: dict
      contains:
        line:
          description: The line on which it begins, counted from 1.
          type: int
        path:
          description: The blocks in which it stands, from the outermost on; empty for what stands outside of all.
          type: list
          elements: str
        text:
          description: The text as it stands there.
          type: str
  sample:
    services:
      - fwmark: 7
        family: ipv4
        scheduler: wrr
        scheduler_flags: []
        persistence_timeout: 0
        persistence_netmask: 255.255.255.255
        persistence_engine: none
        one_packet: false
        dests:
          - address: 10.0.0.11
            port: 0
            forwarding: direct
            weight: 1
            upper_threshold: 0
            lower_threshold: 0
    aside:
      - line: 4
        path: [virtual=7]
        text: checktype=connect
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.ldirectord_text import read_ldirectord
from ansible_collections.pocket.cloud.plugins.plugin_utils._filters import as_filter


class FilterModule:
    """The filter from_ldirectord."""

    def filters(self) -> dict[str, Callable[[Any], Any]]:
        """The filter by its name."""
        return as_filter("from_ldirectord", read_ldirectord)
