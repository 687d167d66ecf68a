# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor: a module that imports what the IPVS modules need of others, and does nothing."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Import and end."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    from pyroute2.netlink.nlsocket import NetlinkSocket

    module.exit_json(changed=False, socket=NetlinkSocket.__name__)


if __name__ == "__main__":
    main()
