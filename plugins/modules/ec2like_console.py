#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The console of an instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_console
short_description: Read an instance's console, or take a screenshot
version_added: 0.1.0
description:
  - Returns what the guest of an instance wrote on its serial port, as EC2's GetConsoleOutput does. It is kept while the
    instance exists, stopped or running, over all its boots. libvirt's log daemon keeps the last 8 MiB, as it is set
    up by default.
  - On request it also writes a picture of the screen to a file on the target, as EC2's GetConsoleScreenshot does, of an
    instance that was launched with a graphics card.
  - What a guest prints may be secret. Where it is, put C(no_log) on the task.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  instance_id:
    description: The instance.
    type: str
    required: true
  lines:
    description: How many lines of the end to return, at least 1; all of them where it is not given.
    type: int
  raw:
    description:
      - Whether to return what moves a terminal, too, such as colours, and other characters that are not printable.
    type: bool
    default: false
  screenshot:
    description:
      - The file on the target to which the picture is written, in the format PNG. An absolute path that ends in
        C(.png), in a directory that exists. Only its owner, who is the user of the task, can read it.
      - The task reports a change where the file did not hold the same picture already.
      - The instance must run, and must have been launched with
        O(pocket.cloud.ec2like_instance#module:video) other than V(none).
    type: path
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
seealso:
  - module: pocket.cloud.ec2like_instance
"""

EXAMPLES = r"""
- name: Read the end of the console
  pocket.cloud.ec2like_console:
    instance_id: i-0f3a9c2b7d1e45608
    lines: 20
  register: console

- name: Show it
  ansible.builtin.debug:
    var: console.output

- name: Take a picture of the screen
  pocket.cloud.ec2like_console:
    instance_id: i-0f3a9c2b7d1e45608
    screenshot: /var/tmp/screen.png
"""

RETURN = r"""
instance_id:
  description: The instance.
  returned: success
  type: str
  sample: i-0f3a9c2b7d1e45608
output:
  description: What the guest wrote, of O(lines) lines where they were given; empty where it never ran.
  returned: success
  type: str
timestamp:
  description: When it last wrote, ISO 8601 in UTC; none where it never did.
  returned: success
  type: str
  sample: "2026-11-22T13:00:00Z"
screenshot:
  description: The picture, none where O(screenshot) was not given.
  returned: success
  type: dict
  contains:
    path:
      description: The file.
      type: str
    width:
      description: Points in a row.
      type: int
    height:
      description: Rows.
      type: int
    size_bytes:
      description: The file's size.
      type: int
    sha256:
      description: The SHA-256 of its content.
      type: str
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: InvalidInstanceID.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.console_task import ConsoleTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE,
        "instance_id": {"type": "str", "required": True},
        "lines": {"type": "int"},
        "raw": {"type": "bool", "default": False},
        "screenshot": {"type": "path"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), ConsoleTask)


if __name__ == "__main__":
    main()
