# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New instances: their size, their ids, their addresses, all settled before the first is made. Pure.

PRIVATE to the collection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .._errors import PocketError
from .addresses import active_network, plan_interfaces
from .block_devices import check_root, deleted_with, new_volumes
from .filters import matches
from .images import Image
from .interfaces import mac_address
from .machine import new_machine
from .model import Instance, instance_type_size
from .protection import protection_stated
from .request import Current, Launch, Request, Template
from .volumes import disk_of

__all__ = ["DEFAULT_TYPE", "active_network", "check_selection", "fitting", "new_instances", "size_of"]

DEFAULT_TYPE = "t2.micro"


def new_instances(current: Current, request: Request, missing: int) -> list[Launch]:
    """Return `missing` new instances as `request` describes them; raises PocketError where they cannot be made."""
    template = request.template
    image = _image(current, template)
    _check(current, template, image)
    protection = protection_stated(current, template)
    vcpus, memory_mib = size_of(current, template)
    machine = new_machine(template.machine, current.accel, current.abilities, missing * memory_mib)
    ids = _unused_ids(current, request, missing)
    launches = []
    for index, (instance_id, interfaces) in enumerate(zip(ids, plan_interfaces(current, template, ids))):
        now = request.drawn.launch_time
        volumes = new_volumes(instance_id, template.volumes or (), current.shelf, now)
        instance = Instance(
            instance_id=instance_id,
            image_id=image.image_id,
            instance_type=None if template.vcpus else template.instance_type or DEFAULT_TYPE,
            vcpus=vcpus,
            memory_mib=memory_mib,
            interfaces=interfaces,
            launch_time=now,
            reservation_id=request.drawn.reservation_id,
            ami_launch_index=index,
            tags=request.tags,
            accel=current.accel,
            machine=machine,
            user_data_sha256=_digest(template.user_data),
            client_token=template.client_token,
            termination_protection=bool(template.termination_protection),
            shutdown_behavior=template.instance_initiated_shutdown_behavior or "stop",
            restart_policy=template.restart_policy or "running",
            key_name=template.key_name,
            disks=tuple(disk_of(volume) for volume in volumes),
            volumes_deleted_on_termination=deleted_with(volumes),
            **protection,
        )
        launches.append(Launch(instance, image, template, tuple(volumes)))
    check_selection(launches[0].instance.with_state("running"), request)
    return launches


def fitting(current: Current, request: Request, most: int, beside: Iterable[Instance]) -> int:
    """Return how many of `most` instances the host has room for; raises where they are fewer than there must be.

    :param beside: the instances there will be beside them, as this run leaves them.
    """
    if current.capacity is None:
        return most
    size = size_of(current, request.template)
    left = current.capacity.room.left((one.vcpus, one.memory_mib) for one in beside if one.state != "stopped")
    least = request.min_count or most
    fits = min(most, left.fits(size))
    if fits < least:
        raise current.capacity.insufficient(f"{least} instances of {size[0]} vCPUs and {size[1]} MiB each", left)
    return fits


def _digest(user_data: str | None) -> str | None:
    if user_data is None:
        return None
    return hashlib.sha256(user_data.encode(errors="surrogateescape")).hexdigest()


def _check(current: Current, template: Template, image: Image) -> None:
    """Refuse what this host cannot give to new instances."""
    _check_accel(current)
    check_root(template.root, image)
    _check_key(current, template)


def _check_accel(current: Current) -> None:
    if current.no_kvm:
        raise PocketError(
            f"accel: kvm cannot be had on this host, for {current.no_kvm}; state accel: auto, or tcg to emulate",
            code="Unsupported",
        )


def _image(current: Current, template: Template) -> Image:
    if isinstance(current.image, PocketError):
        raise current.image
    if current.image is None:
        raise PocketError(
            "image_id is missing: instances are to be launched; give the id or the name of an image that "
            "ec2like_image registered",
            code="MissingParameter",
        )
    return current.image


def _check_key(current: Current, template: Template) -> None:
    if template.key_name is not None and template.key_name not in current.key_pairs:
        known = ", ".join(current.key_pairs) or "none"
        raise PocketError(
            f"key_name: there is no key pair {template.key_name!r} in the store (there are: {known}); import or create "
            "it with ec2like_key",
            code="InvalidKeyPair.NotFound",
        )


def size_of(current: Current, template: Template) -> tuple[int, int]:
    """Return the vCPUs and MiB that `template` states."""
    if template.vcpus and template.memory_mib:
        return template.vcpus, template.memory_mib
    return instance_type_size(template.instance_type or DEFAULT_TYPE, current.own_types)


def _unused_ids(current: Current, request: Request, missing: int) -> list[str]:
    """Return drawn ids whose MAC address, which has 24 bits of the id, nobody has."""
    drawn = set(request.drawn.instance_ids)  # a launch that is taken up may find remains of its own
    others = [instance for instance in current.instances if instance.instance_id not in drawn]
    macs = {interface.mac_address for instance in others for interface in instance.interfaces}
    hosts = [host for network in current.networks for host in network.hosts if host.instance_id not in drawn]
    macs |= {host.mac_address for host in hosts}
    chosen: list[str] = []
    for instance_id in request.drawn.instance_ids:
        own = {mac_address(instance_id, index) for index in range(len(request.template.interfaces))}
        if not own & macs and len(chosen) < missing:
            macs |= own
            chosen.append(instance_id)
    if len(chosen) < missing:
        raise PocketError(f"{missing} new MAC addresses were wanted, but most of those drawn are taken; run it again")
    return chosen


def check_selection(instance: Instance, request: Request) -> None:
    """Refuse an exact count of instances that then would not count: each run would launch others in their place.

    :param instance: as the run would leave it.
    """
    if request.exact_count is None or request.filters is None or matches(instance, request.filters):
        return
    shown = {name: list(values) for name, values in request.filters.items()}
    raise PocketError(
        f"filters: instances with the tags {dict(instance.tags)} that are {instance.state} do not match {shown}; the "
        "next run would launch others in their place, so give the tags and the state that the filters ask for",
        code="InvalidParameterCombination",
    )
