# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances and networks as the tests of the EC2 half need them."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.machine import Machine
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import (
    Instance,
    Interface,
    mac_address,
    network_uuid,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import Network

# What XML 1.0 can carry and EC2 allows: no control characters.
printable = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("<>&\"' ]")
)


def instance_id(number: int) -> str:
    return f"i-{number:017x}"


def network(name: str = "pocket", cidr: str = "10.80.0.1/24") -> Network:
    return Network(name, f"{name}0", ipaddress.IPv4Interface(cidr), uuid=network_uuid(name), active=True)


def interfaces() -> st.SearchStrategy[Interface]:
    return st.builds(
        Interface,
        network=printable.filter(bool),
        mac_address=st.integers(0, 9).map(lambda index: mac_address("i-0", index)),
        private_ip_address=st.none() | st.ip_addresses(v=4).map(str),
        ipv6_address=st.none() | st.ip_addresses(v=6).map(str),
        given_by=st.sampled_from(["dhcp", "seed"]),
    )


def machines() -> st.SearchStrategy[Machine]:
    return st.builds(
        Machine,
        machine_type=st.sampled_from(["q35", "pc-i440fx-7.2"]),
        firmware=st.sampled_from(["bios", "uefi"]),
        tpm=st.booleans(),
        cpu_model=st.sampled_from(["host-passthrough", "host-model", "maximum", "qemu64"]),
        huge_pages=st.booleans(),
    ) | st.just(Machine(firmware="uefi", secure_boot=True))


def instances() -> st.SearchStrategy[Instance]:
    return st.builds(
        Instance,
        instance_id=st.integers(0, 16**17 - 1).map(instance_id),
        image_id=st.just("ami-" + "0" * 17),
        vcpus=st.integers(1, 64),
        memory_mib=st.integers(32, 1 << 20),
        interfaces=st.lists(interfaces(), min_size=1, max_size=3).map(tuple),
        launch_time=st.just("2026-11-22T13:00:00Z"),
        reservation_id=st.just("r-" + "1" * 17),
        instance_type=st.none() | printable,
        ami_launch_index=st.integers(0, 999),
        tags=st.dictionaries(printable.filter(bool), printable, max_size=5),
        accel=st.sampled_from(["kvm", "tcg"]),
        user_data_sha256=st.none() | st.just("0" * 64),
        key_name=st.none() | printable.filter(bool),
        client_token=st.none() | st.just("token"),
        security_groups=st.lists(st.just("sg-" + "2" * 17) | st.just("sg-" + "3" * 17), max_size=3).map(tuple),
        source_dest_check=st.booleans(),
        termination_protection=st.booleans(),
        shutdown_behavior=st.sampled_from(["stop", "terminate"]),
        restart_policy=st.sampled_from(["running", "always", "never"]),
        machine=machines(),
        phase=st.sampled_from(["launching", "launched", "terminating"]),
        state=st.sampled_from(["running", "stopped"]),
        state_reason=printable,
    )
