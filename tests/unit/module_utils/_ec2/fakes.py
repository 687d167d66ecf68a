# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A KVM host in memory: what libvirt has, and a store in a directory of the test's.

Every write is counted by one `Guard`, which can forbid all of them (check mode) or kill the run at the n-th.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._argspec import EC2LIKE_INSTANCE
from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import acceleration, disk_files, images, lifecycle, seed
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.capacity import HostSize
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.database import Database, Records
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.disks import Disk
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.domain_xml import (
    Files,
    domain_xml,
    instance_of,
    with_metadata,
    with_size,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.hypervisor import Hypervisor, with_phase
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.images import GIB, Image, ImageSource
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.instance_task import InstanceTask
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.lifecycle import Lifecycle
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.machine import Abilities
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import Instance, network_uuid
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_filters import Enforcement, with_filters
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import network_of, network_xml
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import (
    Address,
    AddressRange,
    Host,
    Lease,
    Network,
)
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.request import Template
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.store import Store
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.uplinks import Interface, Uplinks
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.xml_text import child, parse, text_of
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._runner import Task
from ansible_collections.pocket.cloud.tests.unit.disks import qcow2

IMAGE_ID = "ami-0123456789abcdef0"
PARAMS: dict[str, Any] = {
    **{name: option.get("default") for name, option in EC2LIKE_INSTANCE.items()},
    "image_id": "guest",
    "accel": "tcg",
    "wait_timeout": 5,
    "stop_timeout": 0.1,
    "uri": "fake:///",
    "store": "/nowhere",
}


class Killed(BaseException):
    """The process got SIGKILL: nothing catches it."""


class Guard:
    """Counts writes. `forbidden` fails the test at the first; `left` is how many are made before the run is killed."""

    def __init__(self) -> None:
        self.forbidden = False
        self.left: int | None = None
        self.writes: list[str] = []

    def write(self, what: str) -> None:
        assert not self.forbidden, f"check mode wrote: {what}"
        if self.left is not None:
            if self.left == 0:
                raise Killed(what)
            self.left -= 1
        self.writes.append(what)


class FakeHypervisor(Hypervisor):
    """Domains and networks in memory; definitions go through the real XML."""

    def __init__(self, guard: Guard) -> None:
        super().__init__("fake:///")
        self.guard = guard
        self.domains: dict[str, str] = {}  # id -> definition
        self.running: set[str] = set()
        self.by_guest: set[str] = set()  # whose guest shut itself down
        self.hibernated: set[str] = set()
        self.paused: dict[str, str] = {}  # id -> why its machine stands still
        self.full: dict[str, str] = {}  # id -> what makes it stand still again when it is resumed
        self.at_boot: set[str] = set()
        self.boots = 1
        self.size = HostSize(cpus=4, memory_mib=1 << 20)
        self.deaf: set[str] = set()  # guests that do not hear the power button
        self.broken: dict[str, str] = {}  # what fails for whom
        self.nets: dict[str, Network] = {}
        self.given: list[Lease] = []
        self.agents: dict[str, list[str]] = {}  # what guest agents tell
        self.table: dict[Address, str] = {}  # the neighbour table
        self.link: dict[Address, str] = {}  # who answers questions for an address
        self.asked: list[tuple[str, list[str]]] = []
        self.able = Abilities(
            firmware=frozenset({"bios"}),
            cpu_modes=frozenset({"maximum", "host-model"}),
            cpu_models={"qemu64": True, "Haswell": False},
        )
        self.guest_files: dict[tuple[str, str], str] = {}
        self.foreign: dict[str, bool] = {}
        self.interfaces: dict[str, Interface] = {}
        self.filters: dict[str, str] | None = {}  # none: a libvirt that knows no filters
        self.enforced = Enforcement()
        self.pictures: dict[str, bytes] = {}  # id -> what is on its screen
        self.held: dict[tuple[str, str], Path] = {}  # what machines have that no definition says

    def _fail(self, what: str, subject: str) -> None:
        self.guard.write(f"{what} {subject}")
        if self.broken.get(what) == subject:
            raise PocketError(f"Cannot {what} {subject}: libvirt says: broken")

    def instances(self) -> list[Instance]:
        found = []
        for instance_id, xml in self.domains.items():
            instance = instance_of(xml, "running" if instance_id in self.running else "stopped")
            assert instance is not None
            paused = self.paused.get(instance_id, "") if instance_id in self.running else ""
            at_boot = instance_id in self.at_boot
            instance = replace(instance, host=self.host_name(), paused=paused, starts_at_boot=at_boot)
            by_guest, hibernated = instance_id in self.by_guest, instance_id in self.hibernated
            found.append(with_phase(instance, by_guest, hibernated, self.boot()))
        return sorted(found, key=lambda one: (one.launch_time, one.ami_launch_index, one.instance_id))

    def instance(self, instance_id: str) -> Instance | None:
        return next((one for one in self.instances() if one.instance_id == instance_id), None)

    def exists(self, instance_id: str) -> bool:
        return instance_id in self.domains

    def mentioned(self, instance_ids: Collection[str]) -> set[str]:
        return {one for one in instance_ids if any(one in xml for xml in self.domains.values())}

    def is_running(self, instance_id: str) -> bool:
        return instance_id in self.running

    def arp_addresses(self, instance_id: str) -> list[str]:
        return []

    def agent_addresses(self, instance_id: str) -> list[str]:
        return self.agents.get(instance_id, [])

    def neighbours(self) -> dict[Address, str]:
        return dict(self.table)

    def host_addresses(self) -> dict[Address, str]:
        own = [address for one in self.interfaces.values() if one.kind != "loopback" for address in one.addresses]
        return {address.ip: "52:54:00:ff:ff:ff" for address in own}

    def who_has(self, name: str, addresses: Iterable[ipaddress.IPv4Address]) -> dict[Address, str]:
        self.asked.append((name, sorted(map(str, addresses))))
        return {address: mac for address, mac in self.link.items() if address in set(addresses)}

    def abilities(self, machine_type: str, accel: str) -> Abilities:
        return self.able

    def guest_file(self, instance_id: str, path: str) -> str | None:
        return self.guest_files.get((instance_id, path))

    def define(self, instance: Instance, files: Files, template: Template) -> None:
        self._fail("define", instance.instance_id)
        xml = domain_xml(instance, files, template)
        filtered = instance.guarded and self.has_filters()
        self.domains[instance.instance_id] = with_filters(xml, instance) if filtered else xml

    def attach_filters(self, instance: Instance) -> None:
        self._fail("attach", instance.instance_id)
        self.domains[instance.instance_id] = with_filters(self.domains[instance.instance_id], instance)

    def describe(self, instance: Instance) -> None:
        self._fail("describe", instance.instance_id)
        self.domains[instance.instance_id] = with_metadata(self.domains[instance.instance_id], instance)

    def redefine(self, instance: Instance) -> None:
        self._fail("redefine", instance.instance_id)
        assert instance.instance_id not in self.running | self.hibernated
        xml = with_metadata(self.domains[instance.instance_id], instance)
        self.domains[instance.instance_id] = with_size(xml, instance)

    def start(self, instance: Instance) -> None:
        instance_id = instance.instance_id
        self._fail("start", instance_id)
        assert instance_id in self.domains
        wanted = [ref.get("filter") for ref in parse(self.domains[instance_id]).iter("filterref")]
        assert not set(wanted) - (self.filters or {}).keys()
        self.running.add(instance_id)
        self.by_guest.discard(instance_id)
        self.hibernated.discard(instance_id)
        self._at_boot(instance, instance.restart_policy != "never")
        for _network, host in Host.of(instance):
            if host.address.version == 4:
                self.given = [one for one in self.given if one.mac_address != host.mac_address]
                self.given.append(Lease(host.mac_address, host.address, len(self.guard.writes)))

    def resume(self, instance: Instance) -> None:
        self._fail("resume", instance.instance_id)
        if instance.instance_id not in self.full:
            del self.paused[instance.instance_id]

    def disk_errors(self, instance_id: str) -> str:
        return self.full.get(instance_id, "")

    def _at_boot(self, instance: Instance, wanted: bool) -> None:
        (self.at_boot.add if wanted else self.at_boot.discard)(instance.instance_id)

    def set_start_at_boot(self, instance: Instance) -> None:
        self._fail("set start at boot", instance.instance_id)
        running = instance.restart_policy == "running" and instance.state != "stopped"
        self._at_boot(instance, running or instance.restart_policy == "always")

    def press_power_button(self, instance: Instance) -> None:
        self._fail("press", instance.instance_id)
        self.paused.pop(instance.instance_id, None)
        self._at_boot(instance, instance.restart_policy == "always")
        if instance.instance_id not in self.deaf:
            self.shut_itself_down(instance.instance_id)

    def shut_itself_down(self, instance_id: str) -> None:
        self.running.discard(instance_id)
        self.by_guest.add(instance_id)

    def power_off(self, instance: Instance) -> None:
        self._fail("power off", instance.instance_id)
        self.paused.pop(instance.instance_id, None)
        self._at_boot(instance, instance.restart_policy == "always")
        self.running.discard(instance.instance_id)

    def hibernate(self, instance: Instance) -> None:
        self._fail("hibernate", instance.instance_id)
        self._at_boot(instance, instance.restart_policy == "always")
        self.running.discard(instance.instance_id)
        self.hibernated.add(instance.instance_id)

    def cpu_seconds(self, instance_id: str) -> float:
        return time.monotonic()  # as busy as can be

    def host_name(self) -> str:
        return "kvm1"

    def boot(self) -> str | None:
        return f"boot-{self.boots}"

    def reboot(self) -> None:
        """As the power goes and comes back: libvirt knows no more who ended what."""
        self.boots += 1
        self.by_guest.clear()
        self.running = set(self.at_boot)
        self.hibernated -= self.running

    def host_size(self) -> HostSize:
        return self.size

    def undefine(self, instance_id: str) -> None:
        self._fail("undefine", instance_id)
        assert instance_id not in self.running
        del self.domains[instance_id]
        self.at_boot.discard(instance_id)

    def has_screen(self, instance_id: str) -> bool:
        return "<video>" in self.domains[instance_id]

    def screenshot(self, instance_id: str) -> bytes:
        return self.pictures[instance_id]

    # Disks

    def attach_disk(self, instance_id: str, xml: str) -> None:
        self._fail("attach", instance_id)
        domain = parse(self.domains[instance_id])
        child(domain, "devices").append(parse(xml))
        self.domains[instance_id] = text_of(domain)

    def holders(self, path: Path) -> dict[str, str]:
        return {domain: device for (domain, device), held in self.held.items() if held == path}

    def detach_disk(self, instance_id: str, device_name: str, timeout: float) -> None:
        self._fail("detach", instance_id)
        self.held.pop((instance_id, device_name), None)
        domain = parse(self.domains[instance_id])
        devices = child(domain, "devices")
        for disk in devices.findall(f"disk/target[@dev='{device_name}']/.."):
            devices.remove(disk)
        self.domains[instance_id] = text_of(domain)

    def resize_disk(self, instance_id: str, device_name: str, size: int) -> None:
        self._fail("resize", instance_id)
        assert instance_id in self.running
        qcow2(self._disk_of(instance_id, device_name).path, size)

    def back_up(
        self,
        instance_id: str,
        device_name: str,
        target: Path,
        freeze: bool = False,
        progress: Callable[[int], None] = lambda _percent: None,
    ) -> None:
        self._fail("freeze and back up" if freeze else "back up", instance_id)
        assert instance_id in self.running
        progress(50)
        size = disk_files.size_gib(self._disk_of(instance_id, device_name).path, "qcow2")
        qcow2(target, (size or 1) * GIB)

    def abort_backup(self, instance_id: str, target: Path) -> None:
        self._fail("abort", instance_id)

    def _disk_of(self, instance_id: str, device_name: str) -> Disk:
        instance = next(one for one in self.instances() if one.instance_id == instance_id)
        return next(disk for disk in instance.disks if disk.device_name == device_name)

    # Filters

    def network_filters(self) -> dict[str, str] | None:
        return None if self.filters is None else dict(self.filters)

    def enforcement(self) -> Enforcement:
        return self.enforced

    def define_filter(self, name: str, xml: str) -> None:
        self._fail("define", name)
        assert self.filters is not None
        self.filters[name] = xml
        missing = {ref.get("filter") for ref in parse(xml).iterfind("filterref")} - self.filters.keys()
        assert not missing

    def remove_filter(self, name: str) -> None:
        self._fail("remove", name)
        assert self.filters is not None
        users = [one for one, xml in self.filters.items() if f'filterref filter="{name}"' in xml]
        assert not users
        assert not [one for one in self.running if f'filter="{name}"' in self.domains[one]]
        self.filters.pop(name, None)

    # Networks

    def networks(self) -> list[Network]:
        return sorted(self.nets.values(), key=lambda network: network.name)

    def active_networks(self) -> set[str]:
        return {network.name for network in self.nets.values() if network.active}

    def leases(self, name: str) -> list[Lease]:
        return list(self.given)

    def attached(self, name: str) -> dict[str, bool]:
        mine = {one.instance_id: one.instance_id in self.running for one in self.instances() if one.network == name}
        return {**mine, **self.foreign}

    def reserve(self, name: str, host: Host) -> None:
        self._fail("reserve", host.name)
        if host.address.version == 6 and not self.nets[name].serves_dhcp6:
            return
        assert self.nets[name].dhcp or host.address.version == 6
        hosts = [*self.nets[name].hosts, host]
        assert len({one.address for one in hosts}) == len(hosts)
        self.nets[name] = replace(self.nets[name], hosts=tuple(hosts))

    def release(self, name: str, host: Host) -> None:
        self._fail("release", host.name)
        self.given = [one for one in self.given if one.mac_address != host.mac_address]
        network = self.nets[name]
        hosts = tuple(one for one in network.hosts if one.mac_address != host.mac_address)
        self.nets[name] = replace(network, hosts=hosts)

    def define_network(self, network: Network) -> None:
        self._fail("define", network.name)
        old = self.nets.get(network.name)
        active = old.active if old else False
        made = network_of(network_xml(network), active=active, autostart=old.autostart if old else False)
        if old and active:
            outdated = old.started_with != made.started_with
            made = replace(made, live_bridge=old.live_bridge, live_range=old.live_range, outdated=outdated)
        self.nets[network.name] = made

    def set_dhcp_range(self, name: str, addresses: AddressRange | None) -> None:
        self._fail("range", name)
        changed = replace(self.nets[name], dhcp_range=addresses)
        self.nets[name] = replace(changed, xml=network_xml(changed))
        if changed.active:
            self.guard.write(f"serve {name}")
            self.nets[name] = replace(self.nets[name], live_range=addresses)

    def set_autostart(self, name: str, autostart: bool) -> None:
        self._fail("autostart", name)
        self.nets[name] = replace(self.nets[name], autostart=autostart)

    def start_network(self, name: str) -> None:
        self._fail("start", name)
        network = self.nets[name]
        live = replace(network, live_bridge=network.bridge, live_range=network.dhcp_range)
        self.nets[name] = replace(live, active=True, outdated=False)

    def stop_network(self, name: str) -> None:
        self._fail("stop", name)
        for one, interface in self.interfaces.items():  # a bridge that goes sets its ports free
            if interface.master == self.nets[name].live_bridge:
                self.interfaces[one] = replace(interface, master=None)
        self.nets[name] = replace(self.nets[name], active=False, outdated=False, live_bridge="", live_range=None)

    def undefine_network(self, name: str) -> None:
        self._fail("undefine", name)
        del self.nets[name]


class FakeUplinks(Uplinks):
    """Interfaces in memory, hooks in a directory of the test's."""

    def __init__(self, guard: Guard, hooks: Path) -> None:
        super().__init__(hooks)
        self.guard = guard
        self.found = {
            "lo": Interface("lo", (ipaddress.ip_interface("127.0.0.1/8"),), kind="loopback"),
            "eth0": Interface("eth0", (ipaddress.ip_interface("192.0.2.7/24"),)),
            "eth1": Interface("eth1"),
        }
        self.known_routes: dict[ipaddress.IPv4Network, str] = {}

    def interfaces(self) -> dict[str, Interface]:
        return dict(self.found)

    def routes(self) -> dict[ipaddress.IPv4Network, str]:
        return dict(self.known_routes)

    def attach(self, uplink: str, bridge: str) -> None:
        self.guard.write(f"attach {uplink}")
        self.found[uplink] = replace(self.found[uplink], master=bridge)

    def detach(self, uplink: str) -> None:
        self.guard.write(f"detach {uplink}")
        self.found[uplink] = replace(self.found[uplink], master=None)

    def write_hook(self, network: str, text: str | None) -> None:
        self.guard.write(f"hook {network}")
        super().write_hook(network, text)


class GuardedRecords(Records):
    """Records whose writes are counted."""

    def __init__(self, guard: Guard, database: Database, kind: str) -> None:
        super().__init__(database, kind)
        self.guard = guard

    def put(self, identity: str, record: Mapping[str, Any]) -> None:
        self.guard.write(f"put {identity}")
        super().put(identity, record)

    def delete(self, identity: str) -> None:
        self.guard.write(f"delete {identity}")
        super().delete(identity)


class GuardedStore(Store):
    """A store whose writes are counted. In check mode not even its lock may be taken."""

    def __init__(self, guard: Guard, root: Path) -> None:
        super().__init__(root)
        self.guard = guard

    @contextmanager
    def lock(self, timeout: float = 300.0) -> Iterator[None]:
        assert not self.guard.forbidden, "check mode took the lock"
        with super().lock(timeout):
            yield

    def records(self, kind: str) -> GuardedRecords:
        return GuardedRecords(self.guard, self._database, kind)

    def bury(self, record: Mapping[str, Any], when: datetime) -> None:
        self.guard.write(f"bury {record['instance_id']}")
        super().bury(record, when)


class KvmHost:
    """The host in memory, and ways to call modules on it."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.guard = Guard()
        self.hypervisor = FakeHypervisor(self.guard)
        self.store = GuardedStore(self.guard, place / "store")
        self.seeds: dict[str, dict[str, Any]] = {}  # id -> what else than user data its guest is told
        self.uplinks = FakeUplinks(self.guard, place / "hooks" / "network.d")
        self.hypervisor.interfaces = self.uplinks.found
        self._fake_files(monkeypatch)
        with self.store.lock():
            self._register(place)
        self.hypervisor.nets["pocket"] = self.network()

    def network(self, name: str = "pocket", cidr: str = "10.80.0.1/24") -> Network:
        blank = Network(name, f"{name}0", ipaddress.IPv4Interface(cidr), uuid=network_uuid(name))
        return replace(network_of(network_xml(blank), active=True, autostart=True), live_bridge=f"{name}0")

    def _register(self, place: Path) -> None:
        path = self.store.image_path(IMAGE_ID, "raw")
        path.write_bytes(b"disk")
        source = ImageSource("/guest.raw", 4, None, "sha256:0")
        self.store.register(Image(IMAGE_ID, "guest", path, "raw", 4, 1, "2026-01-01T00:00:00Z", source))

    def _fake_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """qemu-img and genisoimage are not what is under test; that their files are there is."""

        def write(what: str, path: str | os.PathLike[str], text: str) -> None:
            self.guard.write(f"{what} {Path(path).parent.name}")
            Path(path).write_text(text, encoding="utf-8")

        def overlay(image: Image, path: Any, size_gib: int | None = None) -> None:
            write("overlay", path, image.image_id)
            if size_gib is not None:
                qcow2(path, size_gib * GIB, backing=str(image.path))

        def build(path: Any, instance_id: str, hostname: str, user_data: str | None = None, **more: Any) -> None:
            write("seed", path, user_data or "")
            self.seeds[instance_id] = more

        def create(path: Path, disk_format: str, size: int) -> None:
            self.guard.write(f"create {path.name}")
            if disk_format == "qcow2":
                qcow2(path, size * GIB)
            else:
                path.touch()
                os.truncate(path, size * GIB)

        def copy(source: Path, source_format: str, path: Path, disk_format: str, size: int | None = None) -> None:
            self.guard.write(f"copy {source.name}")
            assert source.exists()
            create(path, disk_format, size or 1)

        monkeypatch.setattr(disk_files, "create", create)
        monkeypatch.setattr(acceleration, "obstacle", lambda: None)
        monkeypatch.setattr(disk_files, "grow", create)
        monkeypatch.setattr(disk_files, "copy", copy)
        monkeypatch.setattr(images, "create_overlay", overlay)
        monkeypatch.setattr(seed, "build", build)
        for name in ("make_directory", "remove_directory"):
            real = getattr(lifecycle, name)

            def counted(directory: Path, name: str = name, real: Any = real) -> None:
                self.guard.write(f"{name} {directory.name}")
                real(directory)

            monkeypatch.setattr(lifecycle, name, counted)

    def task(self, params: Mapping[str, Any]) -> Task[Any]:
        return InstanceTask(params, self.hypervisor, self.store, Lifecycle(self.hypervisor, self.store, threads=1))

    def snapshot(self) -> Any:
        """Everything that a run could leave on the host, the register of terminated instances aside."""
        root = self.store.root
        places = ("instances", "volumes", "snapshots")
        files = sorted(str(path.relative_to(root)) for place in places for path in (root / place).rglob("*"))
        return (
            sorted(self.hypervisor.domains.items()),
            sorted(self.hypervisor.running),
            dict(self.hypervisor.filters or {}),
            {name: replace(network, xml="") for name, network in self.hypervisor.nets.items()},
            files,
            self.store.records("volume").all(),
            self.store.records("snapshot").all(),
        )
