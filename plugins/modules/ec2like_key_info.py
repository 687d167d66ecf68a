#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List key pairs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_key_info
short_description: List the key pairs of EC2-like instances
version_added: 0.1.0
description:
  - Returns the key pairs that M(pocket.cloud.ec2like_key) imported or created on the target, in EC2's shape. None of
    them has its private key here.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  names:
    description: The key pairs to list, by name; one that is not there fails the task.
    type: list
    elements: str
  ids:
    description: The key pairs to list, by id; one that is not there fails the task.
    type: list
    elements: str
  filters:
    description:
      - What selects the key pairs, as a dictionary of EC2's filter names and values. All names must match, of several
        values of a name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(fingerprint), V(key-name), V(key-pair-id), V(key-type), V(tag-key) and V(tag:KEY). Any other is an
        error.
    type: dict
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
seealso:
  - module: pocket.cloud.ec2like_key
"""

EXAMPLES = r"""
- name: List the key pairs of the operators
  pocket.cloud.ec2like_key_info:
    filters:
      tag:team: operations
  register: found

- name: Show their fingerprints
  ansible.builtin.debug:
    msg: "{{ found.keypairs | items2dict('key_name', 'key_fingerprint') }}"
"""

RETURN = r"""
keypairs:
  description: The key pairs, by name.
  returned: success
  type: list
  elements: dict
  contains:
    key_name:
      description: Its name.
      type: str
      sample: admin
    key_pair_id:
      description: Its id, C(key-) and 17 hexadecimal digits.
      type: str
      sample: key-0f3a9c2b7d1e45608
    key_type:
      description: V(rsa) or V(ed25519).
      type: str
      sample: ed25519
    key_fingerprint:
      description: Its fingerprint, as RV(pocket.cloud.ec2like_key#module:key.key_fingerprint) tells.
      type: str
    public_key:
      description: The public key, as OpenSSH writes it, without a comment.
      type: str
    create_time:
      description: When it was imported or created, ISO 8601 in UTC.
      type: str
      sample: "2026-11-22T13:00:00Z"
    tags:
      description: Its tags.
      type: dict
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: InvalidKeyPair.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_STORE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.key_task import KeyInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE_STORE,
        "names": {"type": "list", "elements": "str"},
        "ids": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), KeyInfoTask)


if __name__ == "__main__":
    main()
