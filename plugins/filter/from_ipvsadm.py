# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what ipvsadm has saved."""

from __future__ import annotations

DOCUMENTATION = r"""
name: from_ipvsadm
short_description: Read what ipvsadm has saved
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Turns what C(ipvsadm -Sn) prints, or a file that C(ipvsadm -R) takes, into a list of virtual services as
    M(pocket.cloud.ipvs_info) returns it.
  - Takes the commands C(-A), C(-a), C(-E) and C(-e) with all their options, short or long, comments and empty lines.
options:
  _input:
    description:
      - The text. Addresses and ports are numbers, as C(ipvsadm -Sn) prints them; names are refused.
    type: str
    required: true
notes:
  - What no director could use, and what cannot be read, is an error. It names the line, the word and
    what would be right.
  - Defaults are those of ipvsadm, which are scheduler C(wlc), forwarding C(direct), weight 1
    and, for a persistence without timeout, 300 seconds.
  - C(ipvsadm -S) does not print all that the kernel has. It leaves out thresholds, timeouts and daemons, and the flag
    C(flag-3) of the schedulers C(sh) and C(mh). M(pocket.cloud.ipvs_info) leaves out nothing.
seealso:
  - plugin: pocket.cloud.to_ipvsadm
    plugin_type: filter
  - module: pocket.cloud.ipvs_info
  - module: pocket.cloud.ipvs_table
  - module: pocket.cloud.ipvs_restore
"""

EXAMPLES = r"""
- name: Take over what a director of old has saved
  hosts: directors
  become: true
  tasks:
    - name: Read the saved rules
      ansible.builtin.slurp:
        src: /etc/ipvsadm.rules
      register: saved

    - name: Restore the same services at every boot from now on
      pocket.cloud.ipvs_restore:
        name: web
        services: "{{ saved.content | b64decode | pocket.cloud.from_ipvsadm }}"
"""

RETURN = r"""
_value:
  description:
    - The virtual services, sorted as M(pocket.cloud.ipvs_info) sorts them.
    - Each holds its identity, all its settings and its C(dests) under the names of the options of
      M(pocket.cloud.ipvs_service). The list can be given unchanged to M(pocket.cloud.ipvs_table).
    - C(upper_threshold) and C(lower_threshold) are there only where the text states them, so that they stay as they
      are in the kernel; C(ipvsadm -S) leaves them out.
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.0.2.10
      port: 80
      family: ipv4
      scheduler: wrr
      scheduler_flags: []
      persistence_timeout: 0
      persistence_netmask: 255.255.255.255
      persistence_engine: none
      one_packet: false
      dests:
        - address: 10.0.0.11
          port: 80
          forwarding: masquerade
          weight: 1
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.ipvsadm_text import read_ipvsadm
from ansible_collections.pocket.cloud.plugins.plugin_utils._filters import as_filter


class FilterModule:
    """The filter from_ipvsadm."""

    def filters(self) -> dict[str, Callable[[Any], Any]]:
        """The filter by its name."""
        return as_filter("from_ipvsadm", read_ipvsadm)
