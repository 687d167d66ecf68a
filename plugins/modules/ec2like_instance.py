#!/usr/bin/python
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Launch, start, stop, restart and terminate instances."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2like_instance
short_description: Launch, start, stop, restart and terminate EC2-like instances on a KVM host
version_added: 0.1.0
description:
  - Runs instances on the libvirt of the target, with the words and the behaviour of EC2.
  - An instance is a libvirt domain with a linked clone of an image as its disk. Its id, MAC address and IP address are
    settled before it boots and stay the same for life, however often it is stopped and started.
  - Runs that change instances of one store wait for each other, so two plays at once count right. A run that was
    killed, wherever it was, is cleaned up after by the next run that changes something or is asked to.
author:
  - pocket.cloud contributors (@pocket-cloud)
options:
  state:
    description:
      - V(present) launches the instances that are missing and leaves those that exist as they are, running or stopped.
        One that a run which died had stopped for a change, or for an image of it, is started again.
      - V(running) (or V(started)) launches as V(present) does, starts those that are stopped, and resumes those whose
        machine stands still, by C(virsh suspend), because their guest suspended itself, or because their disk's file
        system was full. One that stands still again at once fails the task, which names the disk.
      - V(stopped) presses the power button and waits for O(stop_timeout); a guest that is still running then is
        powered off. RV(instances[].state_transition_reason) says which. Disk, id and addresses stay.
      - V(restarted) (or V(rebooted)) stops and starts, softly for O(stop_timeout) and then hard; disk, id and addresses
        stay, and an instance that terminates when its guest shuts down is not terminated by it. A hibernated one goes
        on from where it was.
      - V(terminated) (or V(absent)) takes the instances away with their disks. Those that are terminated already count
        as done. Of one whose domain somebody undefined, it takes away what is left, where O(instance_ids) names it;
        M(pocket.cloud.ec2like_host_info) lists such. Volumes stay then.
    type: str
    choices: [present, running, started, stopped, restarted, rebooted, terminated, absent]
    default: present
  instance_ids:
    description:
      - The instances meant, by id. One that does not exist fails the task before anything is done to any of them.
    type: list
    elements: str
  filters:
    description:
      - What selects the instances meant, as a dictionary of EC2's filter names and values. All names must match, of
        several values of a name any; C(*) and C(?) are wildcards, a backslash takes their meaning off.
      - Known are V(block-device-mapping.delete-on-termination), V(block-device-mapping.device-name),
        V(block-device-mapping.volume-id),
        V(image-id), V(instance.group-id), V(instance.group-name), V(instance-id),
        V(instance-state-code), V(instance-state-name), V(instance-type),
        V(ipv6-address), V(key-name), V(launch-index), V(launch-time), V(network),
        V(network-interface.addresses.private-ip-address), V(network-interface.ipv6-addresses.ipv6-address),
        V(network-interface.mac-address),
        V(private-dns-name), V(private-ip-address), V(reservation-id), V(tag-key) and V(tag:KEY).
      - By default those instances are meant that have all of O(tags) and O(name). Terminated ones never are.
    type: dict
  name:
    description:
      - The tag V(Name) of the instances.
      - Without O(count), O(exact_count), O(instance_ids) and O(filters), one instance of this name (and of these
        O(tags)) is launched if there is none.
    type: str
  tags:
    description:
      - Tags of the instances. A key has 1 to 128 characters and does not begin with C(aws:), a value has up to 256;
        control characters are refused.
      - Where O(instance_ids) or O(filters) select the instances, these tags are set on them.
    type: dict
  purge_tags:
    description: Whether to remove tags that O(tags) does not list, other than V(Name). Without O(tags), none is.
    type: bool
    default: false
  count:
    description:
      - How many instances to launch, whatever exists, 1 to 1000. A second run launches as many again, unless a
        O(client_token) says that it is the same launch.
    type: int
  min_count:
    description:
      - How few instances will do, with O(max_count). Where the host has room for fewer, or fewer could be made, none is
        left of them.
    type: int
  max_count:
    description:
      - How many instances to launch at most, whatever exists; as many are as the host has room for.
      - Room is what the host's operator lets instances have of its memory and processors, by the file
        C(capacity.json) in the O(store) with C(memory_overcommit) (times the host's memory, by default 1.0),
        C(memory_reserved_mib) (kept for the host, by default 256) and C(vcpus_per_cpu) (by default any number).
        It binds every launch and every start; more is the error C(InsufficientInstanceCapacity). C(boots_at_once) in
        the same file is how many emulated guests boot at a time, by default three for every two processors.
    type: int
  client_token:
    description:
      - A text of up to 64 ASCII characters by which a launch of O(count), or of O(min_count) to O(max_count), is known
        again. A second run with the same token and the same parameters launches nothing and returns the same
        reservation; one that was killed half-way is finished, within 30 days.
      - With other parameters it is the error C(IdempotentParameterMismatch); once all of its instances are terminated,
        C(IdempotentInstanceTerminated).
    type: str
  exact_count:
    description:
      - How many instances there shall be of those that O(filters) select, 0 to 1000. Missing ones are launched; of too
        many, the newest are terminated, or those that O(termination_policy) names.
      - Stopped instances count, too.
    type: int
  termination_policy:
    description: Which of too many instances O(exact_count) terminates first.
    type: str
    choices: [newest, oldest]
    default: newest
  termination_protection:
    description:
      - Whether no task may terminate the instances. By default tasks may terminate new ones, and existing ones stay as
        they are. As in EC2, a guest that shuts itself down is not kept from it, where
        O(instance_initiated_shutdown_behavior) is V(terminate).
      - V(false) together with the state V(terminated) lifts the protection and terminates.
    type: bool
  instance_initiated_shutdown_behavior:
    description:
      - What becomes of an instance whose guest shuts itself down, V(stop) or V(terminate). By default V(stop) for new
        ones.
      - A terminated one is C(shutting-down) until the next run that changes instances of the store takes it away. Only
        libvirt knows who ended a machine, and only while its daemon runs on; whatever is not certainly the guest's
        own doing, such as a host that lost its power, leaves the instance stopped.
      - Where others start an instance that this collection had stopped, such as with C(virsh start), libvirt cannot
        tell the end of that run from the stop, so it stays stopped. Only a boot of the host tells them apart.
    type: str
    choices: [stop, terminate]
  restart_policy:
    description:
      - Which instances start when their host boots. V(running), those that ran; V(always), stopped ones, too;
        V(never), none. By default V(running) for new ones.
    type: str
    choices: [running, always, never]
  allow_stop:
    description:
      - Whether running instances may be stopped and started again for a change that needs it, which is one of
        O(instance_type), O(vcpus), O(memory_mib) or O(user_data). Otherwise such a change of a running instance is the
        error C(IncorrectInstanceState), in check mode, too.
    type: bool
    default: false
  image_id:
    description:
      - The image that new instances start from, by its id or its name.
      - Needed only when instances are launched.
    type: str
    aliases: [image]
  instance_type:
    description:
      - The size of new instances, by EC2's name (V(t2.micro), V(t3.nano), V(t3.micro), V(t3.small), V(t3.medium),
        V(t3.large), V(t3.xlarge), V(m1.small), V(m5.large), V(c5.large), V(r5.large)) or by one that the operator
        defined in C(instance-types.json) in the O(store).
      - For new instances V(t2.micro) when neither this nor O(vcpus) and O(memory_mib) are given.
      - Existing instances are given the stated size, while they are stopped; see O(allow_stop). With O(exact_count) and
        without O(allow_stop) they keep what they have, and a warning names them.
    type: str
  vcpus:
    description: Virtual processors of the instances, 1 to 255; together with O(memory_mib).
    type: int
  memory_mib:
    description: Memory of the instances in MiB, 32 to 33554432 (32 TiB); together with O(vcpus).
    type: int
  user_data:
    description:
      - What instances are told at their first boot, as cloud-init understands it, up to 16 KiB.
      - It may hold secrets, so it is kept only in the instance's seed, which root and its QEMU can read. Its SHA-256
        is in RV(instances[].user_data_sha256).
      - Stated otherwise for existing instances, it is put into their seed while they are stopped; see O(allow_stop).
        Whether their guests heed it is theirs; cloud-init reads most of it once for each instance. With O(exact_count)
        and without O(allow_stop) they keep what they have, and a warning names them.
    type: str
  user_data_file:
    description:
      - The absolute path of a file on the KVM host with the user data, in place of O(user_data). A file of more than
        16 KiB, a symbolic link and what is no regular file are refused. Its content goes through no log.
    type: path
  user_data_parts:
    description:
      - User data of several parts, in place of O(user_data), such as a cloud config and a script. They become one MIME
        message for cloud-init, which may have up to 16 KiB.
    type: list
    elements: dict
    suboptions:
      content:
        description: The part's text. A script begins with C(#!), a template with C(## template:) C(jinja).
        type: str
        required: true
      content_type:
        description: What the part is, as cloud-init calls it, without C(text/).
        type: str
        required: true
        choices:
          - cloud-boothook
          - cloud-config
          - cloud-config-archive
          - jinja2
          - part-handler
          - x-include-once-url
          - x-include-url
          - x-shellscript
          - x-shellscript-per-boot
          - x-shellscript-per-instance
          - x-shellscript-per-once
      filename:
        description: The name of its file in the guest, where scripts run in the order of their names.
        type: str
  key_name:
    description:
      - The key pair, made by M(pocket.cloud.ec2like_key), whose owner new instances let in by ssh, as the user that
        their image is made for. Their guests need cloud-init.
      - Used at launch only.
    type: str
  security_groups:
    description:
      - The security groups of the instances, by id or name; M(pocket.cloud.ec2like_security_group) makes them.
        Instances that exist get them at once, running or not. An empty list takes all of them away.
      - An instance that has any answers nobody but whom their rules allow. Without any, everybody is let in.
      - Refused where the host cannot enforce them.
    type: list
    elements: str
  source_dest_check:
    description:
      - Whether what leaves an instance must come from its own MAC and IP addresses. Of new instances, V(true) where the
        host can enforce it; where it cannot, they are launched with a warning, and V(true) that is stated is refused.
        RV(pocket.cloud.ec2like_host_info#module:host.network_filters) tells which of the two a host is.
      - IPv6 router advertisements are dropped, too, for whoever sends them becomes the other instances' router. Which
        address a neighbour advertisement is about is not looked at, for libvirt cannot match that.
      - V(false) is for routers, and for real servers that answer from a virtual address, as with direct routing and
        tunnels. Existing instances have it changed at once. Routers of IPv6 are to have no O(security_groups), either.
      - Many instances are launched and terminated in less time where neither this nor O(security_groups) asks for a
        filter, for libvirt makes filters one after the other, at about a quarter of a second each.
    type: bool
  network:
    description:
      - The network of new instances, active and with an IPv4 subnet, such as M(pocket.cloud.ec2like_network) makes. Of
        new instances without O(network_interfaces), V(pocket).
    type: str
  private_ip_address:
    description:
      - The IPv4 address of the new instance, where it shall not be the lowest free one. For one instance at a time.
      - Refused where an instance, a reservation or a lease has it, or where another machine answers for it.
    type: str
  ipv6_address:
    description:
      - The IPv6 address of the new instance, where it shall not be one made of its id. For one instance at a time, in a
        network with an C(ipv6_cidr).
    type: str
  network_interfaces:
    description:
      - The network interfaces of new instances, 1 to 8, instead of O(network), O(private_ip_address) and
        O(ipv6_address). The first is the primary one, by which they are reached and go out.
      - Their MAC addresses are made of the instance's id. The guest is told of the further ones by its seed, so it
        needs cloud-init.
      - Used at launch only.
    type: list
    elements: dict
    suboptions:
      network:
        description: As O(network). V(pocket) where it is left out.
        type: str
      private_ip_address:
        description: As O(private_ip_address).
        type: str
      ipv6_address:
        description: As O(ipv6_address).
        type: str
  volumes:
    description:
      - Volumes that the instances have, as EC2's block device mappings. Those that are missing are made and attached,
        to a running instance at once; those that are not stated stay.
      - A mapping of the root device (V(/dev/sda1), V(/dev/xvda), V(/dev/vda)) with C(ebs.volume_size) is the same as
        O(root_size_gib).
    type: list
    elements: dict
    suboptions:
      device_name:
        description: V(/dev/sdf), V(/dev/xvdf), V(/dev/vdf) and V(vdf) mean the same device.
        type: str
        required: true
      volume_id:
        description: A volume that exists. Without it a new one is made as O(volumes[].ebs) says.
        type: str
      ebs:
        description: The volume.
        type: dict
        suboptions:
          volume_size:
            description:
              - Size in GiB. Required for a new volume unless O(volumes[].ebs.snapshot_id) is given.
              - A volume that is smaller grows.
            type: int
          snapshot_id:
            description: The snapshot that a new volume is a copy of.
            type: str
          disk_format:
            description: Format of the file of a new volume, V(qcow2) where it is not stated.
            type: str
            choices: [qcow2, raw]
          delete_on_termination:
            description:
              - Whether the volume goes with the instance. Where it is not stated, one that is made here does, and one
                that existed does not.
            type: bool
  root_size_gib:
    description:
      - Size of the root disk in GiB, the image's where it is not stated. At least the image's.
      - The root disk of an instance that exists grows to it, at once where it runs. It never shrinks.
    type: int
  disk_format:
    description:
      - Format of the root disk of new instances, V(qcow2) where it is not stated. A V(raw) one is a full copy.
    type: str
    choices: [qcow2, raw]
  disk_clone:
    description:
      - Whether the root disk of new instances is a V(linked) clone of the image, which is made at once and shares what
        it does not change, or a V(full) copy, which does not need the image. V(linked) where nothing is stated.
    type: str
    choices: [linked, full]
  disk_cache:
    description: QEMU's cache mode for the root disk of new instances, its own default where it is not stated.
    type: str
    choices: [default, none, writethrough, writeback, directsync, unsafe]
  disk_discard:
    description:
      - Whether room that the guest of a new instance gives back on its root disk is given back to the host, V(unmap),
        or not, V(ignore). V(unmap) where nothing is stated.
    type: str
    choices: [unmap, ignore]
  accel:
    description:
      - What new instances run on. V(auto) is KVM where it was shown to boot a kernel, else V(tcg), QEMU's emulator.
    type: str
    choices: [auto, kvm, tcg]
    default: auto
  video:
    description:
      - The graphics card of new instances, of which M(pocket.cloud.ec2like_console) can take a screenshot. Nothing
        serves it to viewers. The serial console is there in any case.
      - Used at launch only.
    type: str
    choices: [none, vga, virtio]
    default: none
  firmware:
    description:
      - What boots new instances, V(bios) by default. V(uefi) needs UEFI firmware on the host, which is in
        Debian's package C(ovmf).
      - Used at launch only, as are the other options of the machine.
    type: str
    choices: [bios, uefi]
  secure_boot:
    description:
      - Whether new instances boot only what is signed with a key that Microsoft or the distribution vouches for. Needs
        O(firmware=uefi) and an image that is made for it. By default not.
    type: bool
  tpm:
    description:
      - Whether new instances have a TPM 2.0, by default not. The host needs C(swtpm), on Debian also C(swtpm-tools).
        What the TPM keeps stays with the instance, and goes with it.
    type: bool
  cpu_model:
    description:
      - The processor that new instances see. V(host-passthrough), the host's own, is the default with KVM, and refused
        without; V(maximum), all that the emulator can do, is the default there. V(host-model) is what comes nearest to
        the host's own and can move to other hosts; anything else is the name of a model, such as V(qemu64).
    type: str
  huge_pages:
    description:
      - Whether the memory of new instances is in huge pages, by default not. The host must have reserved
        enough of them.
    type: bool
  machine_type:
    description:
      - The type of machine that new instances are, by QEMU's name, V(q35) by default. One with a version, such as
        V(pc-q35-7.2), is not needed to keep instances as they are; libvirt writes down which one it took.
    type: str
  wait:
    description: Whether to wait until the instances are ready, with the states V(present), V(running) and V(restarted).
    type: bool
    default: true
  wait_for:
    description:
      - When an instance is ready. V(running), when its machine runs; V(ip), when its guest has its address, as DHCP's
        lease, its guest agent or the host's neighbour table tells, or when it answers for its address; V(port), when
        it takes a TCP connection on O(wait_port).
      - V(ssh), when an SSH server greets on O(wait_port). V(cloud-init), when cloud-init has finished with it, as its
        console tells and, where the guest has QEMU's agent, its own record; if it failed at something, the task fails
        and says at what.
      - Instances that were ready before are looked at, too; with V(present), stopped ones are not.
      - By default V(port) where O(wait_port) is given, else V(running).
    type: str
    choices: [running, ip, port, ssh, cloud-init]
  wait_port:
    description:
      - The TCP port to connect to from the KVM host, with V(wait_for=port), and with V(wait_for=ssh), where it is 22 by
        default.
    type: int
  wait_timeout:
    description:
      - How many seconds to wait for all of them. The task then fails with the last lines of the console of one that is
        not ready, and names all of these in RV(failures); the instances stay.
      - One that stopped, or failed for good in another way, is waited for no longer; the others are.
    type: int
    default: 600
  stop_timeout:
    description: How many seconds a guest gets to shut down before it is powered off.
    type: int
    default: 60
  hibernate:
    description:
      - With the state V(stopped), writes the memory of the instances to disk in place of shutting their guests down;
        their next start goes on from there.
    type: bool
    default: false
extends_documentation_fragment:
  - pocket.cloud.attributes
  - pocket.cloud.attributes.changes
  - pocket.cloud.ec2like
  - pocket.cloud.ec2like.libvirt
requirements:
  - genisoimage and qemu-img on the target, for launches (Debian's C(genisoimage) and C(qemu-utils)).
  - iptables, ip6tables and ebtables on the target, for O(security_groups) and O(source_dest_check) (Debian's
    C(iptables)).
seealso:
  - module: pocket.cloud.ec2like_image
  - module: pocket.cloud.ec2like_instance_info
  - module: pocket.cloud.ec2like_key
  - module: pocket.cloud.ec2like_network
  - module: pocket.cloud.ec2like_security_group
notes:
  - The ids and addresses of instances that check mode would launch are not known beforehand, so
    RV(instances), RV(instance_ids) and RV(changed_ids) then leave them out; the diff shows how many there are.
"""

EXAMPLES = r"""
- name: Three web servers, whatever there was before
  pocket.cloud.ec2like_instance:
    image_id: guest
    instance_type: t3.nano
    exact_count: 3
    tags:
      pool: web
    user_data: |
      #!/bin/sh
      echo "hello from $(hostname)" > /var/www/index.html
    state: running
    wait_port: 80
  register: web

- name: One instance by name
  pocket.cloud.ec2like_instance:
    name: database
    image_id: debian-12
    vcpus: 2
    memory_mib: 2048
    private_ip_address: 10.80.0.10

- name: One in two networks, with addresses of its own choosing in the first
  pocket.cloud.ec2like_instance:
    image_id: debian-12
    name: router
    network_interfaces:
      - network: pocket
        private_ip_address: 10.80.0.11
        ipv6_address: fd00:80::11
      - network: lan

- name: One instance that is set up by a cloud config and by a script
  pocket.cloud.ec2like_instance:
    name: cache
    image_id: debian-12
    user_data_parts:
      - content_type: cloud-config
        content: |
          #cloud-config
          packages: [redis-server]
      - content_type: x-shellscript
        content: |
          #!/bin/sh
          echo "bind $(hostname -I)" >> /etc/redis/redis.conf
          systemctl restart redis-server

- name: An instance with a larger root disk and a volume that outlives it
  pocket.cloud.ec2like_instance:
    name: files
    image_id: debian-12
    root_size_gib: 20
    volumes:
      - device_name: /dev/sdf
        ebs:
          volume_size: 100
          delete_on_termination: false

- name: Restart the web servers
  pocket.cloud.ec2like_instance:
    filters:
      tag:pool: web
    state: restarted
    wait_port: 80

- name: Scale down to one; the two newest go
  pocket.cloud.ec2like_instance:
    exact_count: 1
    tags:
      pool: web

- name: Two to ten workers, as many as there is room for, once and no more
  pocket.cloud.ec2like_instance:
    min_count: 2
    max_count: 10
    client_token: nightly-2026-11-25
    image_id: debian-12
    instance_type: t3.micro
    tags:
      job: nightly
    instance_initiated_shutdown_behavior: terminate

- name: A larger database, which may be stopped for it, and not terminated
  pocket.cloud.ec2like_instance:
    name: database
    vcpus: 4
    memory_mib: 8192
    allow_stop: true
    termination_protection: true

- name: Terminate by id
  pocket.cloud.ec2like_instance:
    instance_ids: "{{ web.instance_ids }}"
    state: terminated
"""

RETURN = r"""
instances:
  description: The instances that the task is about, as they are now; in check mode, as they were.
  returned: always, on a failure as far as they are known
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
  returned: always
  type: list
  elements: str
changed_ids:
  description:
    - The ids of all that were launched, changed or terminated; in check mode, of those that would be changed or
      terminated.
  returned: success
  type: list
  elements: str
terminated_ids:
  description: The ids of those that were terminated, or would be in check mode.
  returned: success
  type: list
  elements: str
reservation_id:
  description: The reservation of the instances that were launched; none when none were.
  returned: success
  type: str
failures:
  description:
    - Each instance that something went wrong with, as C(instance_id), C(action) and C(msg). The action is C(wait) for
      those that did not get ready.
  returned: when a change of instances failed, or the wait for them
  type: list
  elements: dict
error_code:
  description: EC2's code of the error, where EC2 has one.
  returned: failure, where there is one
  type: str
  sample: InvalidInstanceID.NotFound
"""

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_INSTANCE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.instance_task import InstanceTask
from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.module_utils._runner import run


def main() -> None:
    """Carry out the module."""
    module = Ec2likeModule(
        argument_spec=EC2LIKE_INSTANCE,
        mutually_exclusive=[
            ("count", "exact_count", "instance_ids", "max_count"),
            ("count", "filters"),
            ("max_count", "filters"),
            ("instance_ids", "filters"),
            ("instance_type", "vcpus"),
            ("user_data", "user_data_file", "user_data_parts"),
            ("instance_type", "memory_mib"),
        ],
        required_together=[("vcpus", "memory_mib"), ("min_count", "max_count")],
        supports_check_mode=True,
    )
    run(module, InstanceTask)


if __name__ == "__main__":
    main()
