#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List instances."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_instance_info
short_description: List the EC2-like instances of a KVM host
version_added: 0.1.0
description:
  - Returns the instances of the target that filters select, in EC2's shape.
  - Terminated instances are listed for an hour.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  instance_ids:
    description: The instances to list, by id; one that is not there fails the task.
    type: list
    elements: str
  filters:
    description:
      - What selects the instances, as a dictionary of EC2's filter names and values. All names must match, of several
        values of a name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(block-device-mapping.delete-on-termination), V(block-device-mapping.device-name),
        V(block-device-mapping.volume-id),
        V(image-id), V(instance.group-id), V(instance.group-name), V(instance-id),
        V(instance-state-code), V(instance-state-name), V(instance-type),
        V(ipv6-address), V(key-name), V(launch-index), V(launch-time), V(network),
        V(network-interface.addresses.private-ip-address), V(network-interface.ipv6-addresses.ipv6-address),
        V(network-interface.mac-address),
        V(private-dns-name), V(private-ip-address), V(reservation-id), V(tag-key) and V(tag:KEY). Any other is an error.
    type: dict
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.info
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
seealso:
  - module: pocket.cloud.ec2like_instance
"""

EXAMPLES = r"""
- name: List all instances
  pocket.cloud.ec2like_instance_info:
  register: all

- name: Find the running web servers
  pocket.cloud.ec2like_instance_info:
    filters:
      tag:pool: web
      instance-state-name: [pending, running]
  register: web

- name: Show their addresses
  ansible.builtin.debug:
    msg: "{{ web.instances | map(attribute='private_ip_address') }}"
"""

RETURN = r"""
instances:
  description: The instances, the oldest first, terminated ones last.
  returned: success
  type: list
  elements: dict
  contains:
    instance_id:
      description: The id, C(i-) and 17 hexadecimal digits; also the name of the libvirt domain.
      type: str
      sample: i-0f3a9c2b7d1e45608
    image_id:
      description: The image it was launched from.
      type: str
      sample: ami-7c1fd8fc3de4b4bc1
    instance_type:
      description: The type it was launched as; none when vCPUs and memory were given.
      type: str
      sample: t3.nano
    vcpus:
      description: Virtual processors.
      type: int
    memory_mib:
      description: Memory in MiB.
      type: int
    state:
      description: EC2's C(code) and C(name).
      type: dict
      sample: {code: 16, name: running}
    state_transition_reason:
      description:
        - Why it is stopped or terminated, if this collection did it or its guest; why its machine stands still, where
          it is paused; empty otherwise.
      type: str
      sample: User initiated shutdown
    launch_time:
      description: When it was launched, ISO 8601 in UTC.
      type: str
      sample: "2026-11-22T13:00:00Z"
    reservation_id:
      description: What the instances of one launch have in common.
      type: str
    ami_launch_index:
      description: Its number among those of one launch, from 0.
      type: int
    tags:
      description: Its tags.
      type: dict
    private_ip_address:
      description: Its IPv4 address.
      type: str
      sample: 10.80.0.2
    private_dns_name:
      description: The name by which the DNS server of its network knows it.
      type: str
    ipv6_address:
      description: The IPv6 address of its primary interface; none where it has none.
      type: str
    network:
      description: The libvirt network its primary interface is in.
      type: str
    network_interfaces:
      description:
        - Its interfaces, the primary one first, each with C(device_index), C(network), C(mac_address),
          C(private_ip_address) and C(ipv6_address).
        - C(given_by) is how the guest learns its IPv4 address, C(dhcp) or C(seed).
        - C(address_source) and C(ipv6_address_source) are what vouches for the address. C(reservation) and C(seed) are
          what was planned, C(lease) that the guest took it by DHCP, C(agent) that its guest agent tells of it, C(arp)
          and C(ndp) that the host's neighbour table knows it.
      type: list
      elements: dict
    placement:
      description: Where it runs. C(host) is the host's name, C(accel) is C(kvm) or C(tcg).
      type: dict
    root_device_name:
      description: The device name of its root disk.
      type: str
      sample: /dev/vda
    block_device_mappings:
      description:
        - Its volumes, each with C(device_name) and C(ebs), which has C(volume_id), C(status) and
          C(delete_on_termination).
      type: list
      elements: dict
    machine:
      description:
        - What it runs on, with C(machine_type), C(firmware), C(secure_boot), C(tpm), C(cpu_model) and C(huge_pages) as
          the options of M(pocket.cloud.ec2like_instance) are.
      type: dict
    user_data_sha256:
      description: The SHA-256 of its user data; none when it has none.
      type: str
    key_name:
      description: The key pair whose public key its guest was given; none when it was given none.
      type: str
    client_token:
      description: The token of the launch it is from, if that had one.
      type: str
    security_groups:
      description: Its security groups, each with C(group_id) and C(group_name).
      type: list
      elements: dict
    source_dest_check:
      description: Whether what it sends must come from its own addresses.
      type: bool
    termination_protection:
      description: Whether it may not be terminated.
      type: bool
    instance_initiated_shutdown_behavior:
      description: What becomes of it when its guest shuts itself down, V(stop) or V(terminate).
      type: str
    restart_policy:
      description: When it starts as its host boots, V(running), V(always) or V(never).
      type: str
instance_ids:
  description: The ids of RV(instances).
  returned: success
  type: list
  elements: str
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: InvalidInstanceID.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.info_task import InstanceInfoTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    spec = {
        **EC2LIKE,
        "instance_ids": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
    }
    run(Ec2likeModule(argument_spec=spec, supports_check_mode=True), InstanceInfoTask)


if __name__ == "__main__":
    main()
