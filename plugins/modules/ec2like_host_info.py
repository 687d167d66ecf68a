#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a KVM host is and has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_host_info
short_description: Tell what a KVM host is and has, and whether KVM really works there
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Returns how instances are accelerated on the target and why, its processors and memory, the versions of libvirt and
    QEMU, and the instance types known there.
  - A host may have a C(/dev/kvm) that opens and answers, yet boots no kernel. So the newest kernel in C(/boot) is
    booted under KVM, which takes a second or two where it works and at most 30 seconds where it does not. Only where
    the kernel speaks on its console, KVM is taken to work. The outcome is kept in
    C(/run/pocket-cloud/acceleration.json) until the host reboots.
  - Works on a host on which neither libvirt nor QEMU is installed.
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.uri
options:
  refresh:
    description:
      - Whether to try KVM again even where the outcome of this boot's trial is known, such as after a module option of
        KVM was changed.
    type: bool
    default: false
seealso:
  - module: pocket.cloud.ec2like_instance
"""

EXAMPLES = r"""
- name: Ask what the KVM host has
  pocket.cloud.ec2like_host_info:
  register: kvm_host

- name: Warn where instances will be slow
  ansible.builtin.debug:
    msg: "Instances are emulated, because {{ kvm_host.host.accel_reason }}."
  when: kvm_host.host.accel == 'tcg'
"""

RETURN = r"""
host:
  description: The host.
  returned: success
  type: dict
  contains:
    accel:
      description: What O(pocket.cloud.ec2like_instance#module:accel=auto) takes here, V(kvm) or V(tcg).
      returned: always
      type: str
      sample: kvm
    accel_reason:
      description: Why, as a sentence without a full stop.
      returned: always
      type: str
      sample: the kernel /boot/vmlinuz-6.1.0-18-amd64 boots under KVM
    vcpus:
      description: Number of processors that the target may use.
      returned: always
      type: int
      sample: 8
    memory_mib:
      description: The host's memory in MiB.
      returned: always
      type: int
      sample: 32061
    memory_available_mib:
      description: How much of it could be had without swapping, by the kernel's estimate, in MiB.
      returned: always
      type: int
      sample: 30417
    libvirt_version:
      description: The version of the libvirt daemon, none where none answers.
      returned: always
      type: str
      sample: 9.0.0
    libvirt_reason:
      description: Why no libvirt daemon answers, empty where one does.
      returned: always
      type: str
      sample: ''
    qemu_version:
      description: The version of QEMU, none where it is not installed.
      returned: always
      type: str
      sample: 7.2.22
    security_model:
      description:
        - What keeps the QEMU of each instance to that instance's own files, V(apparmor) or V(selinux). V(none) where
          there are but the permissions of files, and none where no libvirt answers.
      returned: always
      type: str
      sample: apparmor
    network_filters:
      description:
        - What of network filters the host can enforce. C(spoofing) is whether instances are kept from sending with
          addresses of others, C(security_groups) whether they can be given such; C(spoofing_reason) and
          C(security_groups_reason) say why not, empty where they can.
      returned: always
      type: dict
      sample: {spoofing: true, spoofing_reason: '', security_groups: true, security_groups_reason: ''}
    store:
      description: The store's directory.
      returned: always
      type: str
      sample: /var/lib/pocket-cloud
    orphans:
      description:
        - What is left of instances whose domains somebody undefined with C(virsh), each with C(instance_id),
          C(directory), which has its disk, and C(reservations), each with C(network) and C(address). The module
          M(pocket.cloud.ec2like_instance) takes away what is left of an id, by
          O(pocket.cloud.ec2like_instance#module:instance_ids)
          and O(pocket.cloud.ec2like_instance#module:state=terminated).
        - None where libvirt does not tell.
      returned: always
      type: list
      elements: dict
      sample: []
    instance_types:
      description:
        - The instance types that are known here, each with C(vcpus) and C(memory_mib). EC2's, and the operator's own
          from C(instance-types.json) in the store.
      returned: always
      type: dict
      sample:
        t3.nano:
          vcpus: 2
          memory_mib: 512
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.host import HostInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {**EC2LIKE, "refresh": {"type": "bool", "default": False}}
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), HostInfoTask)


if __name__ == "__main__":
    main()
