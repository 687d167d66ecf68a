#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Import, create and remove key pairs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_key
short_description: Import, create and remove key pairs of EC2-like instances
version_added: 0.1.0
description:
  - Keeps the public halves of key pairs, by name. An instance that is launched with
    O(pocket.cloud.ec2like_instance#module:key_name) lets the owner of the private half log in by ssh, as soon as
    cloud-init has run in its guest.
  - A key pair is imported where O(key_material) is given. Otherwise it is created on the target with ssh-keygen, and
    the private key is returned by the one run that creates it; it is kept nowhere.
  - Instances get the public key at their launch. A key pair that is replaced or removed later stays in their guests.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  name:
    description:
      - The name of the key pair, 1 to 255 printable ASCII characters, with no space at either end.
    type: str
    required: true
  state:
    description:
      - V(present) imports or creates the key pair where there is none of that name.
      - V(absent) forgets it.
    type: str
    choices: [present, absent]
    default: present
  key_material:
    description:
      - The public key to import, one line as OpenSSH writes it into C(id_ed25519.pub); RSA or ED25519, as in EC2.
      - A comment is not kept; guests see the key pair's O(name) in its place.
    type: str
  key_type:
    description:
      - The type of a key pair that is created, EC2's default is V(rsa). RSA keys have 2048 bits.
      - A key pair that exists with another type is replaced if O(force) allows it, and refused otherwise.
    type: str
    choices: [rsa, ed25519]
  force:
    description:
      - Whether a key pair of that name with another key is replaced. It then gets a new id.
      - By default this is refused with C(InvalidKeyPair.Duplicate).
    type: bool
    default: false
  tags:
    description:
      - Tags of the key pair. A key has 1 to 128 characters and does not begin with C(aws:), a value has up to 256.
    type: dict
  purge_tags:
    description: Whether to remove tags that O(tags) does not list, where it is given.
    type: bool
    default: false
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
requirements:
  - ssh-keygen on the target, for creating key pairs (Debian's C(openssh-client)).
seealso:
  - module: pocket.cloud.ec2like_instance
  - module: pocket.cloud.ec2like_key_info
notes:
  - Use C(no_log) for a task that creates a key pair, and for the one that writes the private key down.
  - A run that is killed after it created a key pair has told nobody the private key. Remove the pair and create it
    again.
"""

EXAMPLES = r"""
- name: Import one's own public key
  pocket.cloud.ec2like_key:
    name: admin
    key_material: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"

- name: Create a key pair
  pocket.cloud.ec2like_key:
    name: deploy
    key_type: ed25519
  no_log: true
  register: deploy

- name: Keep its private key on the controller; only the run that creates it has one
  ansible.builtin.copy:
    content: "{{ deploy.key.private_key }}"
    dest: ~/.ssh/deploy
    mode: "0600"
  delegate_to: localhost
  become: false
  no_log: true
  when: deploy.key.private_key is defined

- name: Remove it
  pocket.cloud.ec2like_key:
    name: deploy
    state: absent
"""

RETURN = r"""
key:
  description: The key pair as it is now, in check mode as it was; none where there is none.
  returned: success
  type: dict
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
      description:
        - As EC2 documents it. Of ED25519 keys, the SHA-256 digest of the public key in base 64; of RSA keys that were
          imported, the MD5 digest of the public key in DER; of RSA keys that were created, the SHA-1 digest of the
          private key in DER (PKCS#8).
      type: str
      sample: 1f:51:ae:28:bf:89:e9:d8:1f:25:5d:37:2d:7d:b8:ca:9f:f5:f1:6f
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
    private_key:
      description: The private key, in OpenSSH's format or, of RSA keys, in PEM.
      type: str
      returned: when this run created it
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: InvalidKeyPair.Duplicate
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_STORE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.key_task import KeyTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE_STORE,
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "key_material": {"type": "str", "no_log": False},
        "key_type": {"type": "str", "choices": ["rsa", "ed25519"], "no_log": False},
        "force": {"type": "bool", "default": False},
        "tags": {"type": "dict"},
        "purge_tags": {"type": "bool", "default": False},
    }
    exclusive = [("key_material", "key_type")]
    run(Ec2likeModule(argument_spec=spec, mutually_exclusive=exclusive, supports_check_mode=True), KeyTask)


if __name__ == "__main__":
    main()
