# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with as many instances as one likes, in libvirt's test driver: a real library, and no daemon or guest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.domain_xml import Files, domain_xml
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, Interface, mac_address
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.request import Template

_NODE = "<node><cpu><mhz>2000</mhz><nodes>1</nodes><sockets>1</sockets><cores>2</cores></cpu></node>"
_NETWORK = (
    "<network><name>pocket</name><bridge name='pocket0'/><forward mode='nat'/>"
    "<ip address='10.80.0.1' netmask='255.255.0.0'><dhcp>{hosts}</dhcp></ip></network>"
)
# A domain of a file runs when the driver opens it, unless it says that it is off, which is state 5.
_OFF = "<test:runstate xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>5</test:runstate></domain>"


def many(count: int) -> Iterator[Instance]:
    """So many instances, every tenth stopped, in four pools, with names of their own."""
    for number in range(count):
        instance_id = f"i-{number:017x}"
        address = f"10.80.{number // 250}.{number % 250 + 2}"
        yield Instance(
            instance_id=instance_id,
            image_id="ami-" + "0" * 17,
            instance_type="t3.nano",
            vcpus=2,
            memory_mib=512,
            interfaces=(Interface("pocket", mac_address(instance_id), address),),
            launch_time="2026-11-22T13:00:00Z",
            reservation_id="r-" + "1" * 17,
            ami_launch_index=number,
            tags={"Name": f"web-{number}", "pool": f"pool{number % 4}"},
            state="stopped" if number % 10 == 9 else "running",
        )


def write_host(path: Path, instances: Iterable[Instance]) -> str:
    """Write the file from which the driver takes the host, and return its URI."""
    instances = list(instances)
    hosts = "".join(
        f"<host mac='{one.mac_address}' name='{one.instance_id}' ip='{one.private_ip_address}'/>" for one in instances
    )
    domains = "".join(map(_domain, instances))
    path.write_text(_NODE.replace("</node>", f"{_NETWORK.format(hosts=hosts)}{domains}</node>"), encoding="utf-8")
    return f"test://{path}"


def _domain(instance: Instance) -> str:
    files = Files.of(Path("/var/lib/pocket-cloud/instances") / instance.instance_id)
    xml = domain_xml(instance, files, Template()).replace('<domain type="qemu">', '<domain type="test">', 1)
    for name in ("console", "seed", "disk"):
        xml = xml.replace(str(getattr(files, name)), f"/nowhere/{name}")
    return xml.replace("</domain>", _OFF, 1) if instance.state == "stopped" else xml
