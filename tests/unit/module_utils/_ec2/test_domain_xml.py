# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.domain_xml import (
    METADATA_URI,
    Files,
    domain_xml,
    instance_of,
    with_metadata,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import (
    Instance,
    Interface,
    mac_address,
    machine_uuid,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.request import Template
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.tests.unit.module_utils._ec2.strategies import instance_id, instances

FILES = Files.of(Path("/var/lib/pocket-cloud/instances/<i>"))


@given(instances(), instances())
def test_an_instance_comes_back_as_it_went(instance: Instance, other: Instance) -> None:
    xml = domain_xml(instance, FILES, Template())
    assert instance_of(xml, instance.state) == instance
    edited = replace(other, vcpus=instance.vcpus, memory_mib=instance.memory_mib, machine=instance.machine)
    assert instance_of(with_metadata(xml, edited), other.state) == edited


@given(instances())
def test_the_confinement_that_libvirt_gives_by_itself_stays(instance: Instance) -> None:
    """Without a word on it, sVirt labels and AppArmor profiles each machine; so it does the files of each disk."""
    root = ET.fromstring(domain_xml(instance, FILES, Template()))
    assert [one.tag for one in root.iter() if one.tag in ("seclabel", "commandline")] == []
    assert all(one.get("relabel") is None for one in root.iter())


def test_the_one_interface_of_older_metadata_is_still_read() -> None:
    told = (
        'id="i-00000000000000001" ami-launch-index="0" image-id="ami-0" network="pocket" phase="launched" '
        'mac-address="52:54:00:00:00:01" private-ip-address="10.80.0.2" launch-time="2026-01-01T00:00:00Z" '
        'reservation-id="r-0" accel="tcg" state-reason=""'
    )
    about = f"<instance xmlns='{METADATA_URI}' {told}><tag key='a' value='b'/></instance>"
    xml = f"<domain><metadata>{about}</metadata></domain>"
    instance = instance_of(xml, "running")
    assert instance is not None
    assert instance.interfaces == (Interface("pocket", "52:54:00:00:00:01", "10.80.0.2"),)
    assert (instance.network, instance.private_ip_address, instance.address_source) == (
        "pocket",
        "10.80.0.2",
        "reservation",
    )
    assert instance_of(with_metadata(xml, instance), "running") == instance


def test_a_domain_of_somebody_else_is_no_instance() -> None:
    assert instance_of("<domain><name>i-x</name><metadata/></domain>", "running") is None


@given(instances())
def test_the_domain_holds_the_instance(instance: Instance) -> None:
    root = ET.fromstring(domain_xml(instance, FILES, Template()))
    assert root.findtext("name") == instance.instance_id
    assert root.findtext("memory") == str(instance.memory_mib)
    source = root.find("devices/disk/source")
    assert source is not None
    assert source.get("file") == "/var/lib/pocket-cloud/instances/<i>/disk.qcow2"
    cards = [(card.find("source"), card.find("mac")) for card in root.iterfind("devices/interface[@type='network']")]
    shown = [
        (source.get("network"), mac.get("address")) for source, mac in cards if source is not None and mac is not None
    ]
    assert shown == [(one.network, one.mac_address) for one in instance.interfaces]


def test_a_machine_is_never_taken_for_one_of_aws() -> None:
    ids = [instance_id(number) for number in range(20000)]
    assert not any(machine_uuid(one).startswith("ec2") for one in ids)
    assert len({machine_uuid(one) for one in ids}) == len(ids)
    assert all(mac_address(one).startswith("52:54:00:") for one in ids[:10])


@pytest.mark.parametrize(
    "text",
    [
        f"<instance xmlns='{METADATA_URI}' id='i-1'/>",
        "<instance",
        "<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]><instance id='&y;'/>",
    ],
)
def test_metadata_that_cannot_be_understood_is_an_error_with_a_sentence(text: str) -> None:
    with pytest.raises(PocketError, match=r"by hand|cannot be read"):
        instance_of(f"<domain><metadata>{text}</metadata></domain>", "running")
