#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_image_info
short_description: List the images of a KVM host and what uses them
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Returns the registered images of the target that filters select, in EC2's shape.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
options:
  image_ids:
    description: The images to list, by id; one that is not there fails the task.
    type: list
    elements: str
  filters:
    description:
      - What selects the images, as a dictionary of EC2's filter names and values. All names must match, of several
        values of a name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(creation-date), V(description), V(image-id), V(name), V(source-instance-id) and V(state). Any other
        is an error.
    type: dict
seealso:
  - module: pocket.cloud.ec2like_image
"""

EXAMPLES = r"""
- name: Find the images of one kind
  pocket.cloud.ec2like_image_info:
    filters:
      name: web-server-*
  register: servers

- name: Show those that nobody uses
  ansible.builtin.debug:
    msg: "{{ servers.images | selectattr('instance_count', 'equalto', 0) | map(attribute='name') }}"
"""

RETURN = r"""
images:
  description:
    - The images, by name, each as RV(pocket.cloud.ec2like_image#module:image) describes it. C(state) is V(available),
      or V(failed) where the file is missing or damaged.
    - C(instance_ids) are the instances whose disks are linked clones of the image, C(instance_count) is their number.
  returned: success
  type: list
  elements: dict
image_ids:
  description: The ids of RV(images), each once.
  returned: success
  type: list
  elements: str
error_code:
  description: EC2's code for the error, where EC2 has one.
  returned: failure
  type: str
  sample: InvalidAMIID.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_STORE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.image_info import ImageInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE_STORE,
        "image_ids": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), ImageInfoTask)


if __name__ == "__main__":
    main()
