# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance is: its identity, its states, its sizes, its tags. PRIVATE to the collection.

Nothing in here does I/O, reads a clock or draws a random number.
"""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import PocketError
from .disks import ROOT_DEVICE, Disk
from .interfaces import Interface, mac_address
from .machine import Machine

__all__ = [
    "CHANGING",
    "HIBERNATED",
    "IMAGING",
    "INSTANCE_TYPES",
    "LAUNCHED",
    "LAUNCHING",
    "MOST_VCPUS",
    "STATE_CODES",
    "TERMINATING",
    "USER_SHUTDOWN",
    "Instance",
    "Interface",
    "check_description",
    "check_instance_id",
    "check_tags",
    "check_text",
    "filter_uuid",
    "instance_type_size",
    "mac_address",
    "machine_uuid",
    "network_uuid",
    "within_limit",
]

# EC2's codes, from the reference of InstanceState.
STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

# How far the run that launches or terminates an instance has come. Such a run holds the store's lock, so whoever
# holds the lock and meets LAUNCHING or TERMINATING has the remains of a run that died before him.
LAUNCHING = "launching"
LAUNCHED = "launched"
TERMINATING = "terminating"

# The reason that a stopped instance gives whose machine goes on from where it was at its next start.
HIBERNATED = "User initiated hibernate"
USER_SHUTDOWN = "User initiated shutdown"
CHANGING = "Stopped for a change, to be started again after it"
IMAGING = "Stopped to make an image of it"

# EC2's own names: vCPUs and memory in MiB, from the tables of instance types.
INSTANCE_TYPES: dict[str, tuple[int, int]] = {
    "t2.micro": (1, 1024),
    "t3.nano": (2, 512),
    "t3.micro": (2, 1024),
    "t3.small": (2, 2048),
    "t3.medium": (2, 4096),
    "t3.large": (2, 8192),
    "t3.xlarge": (4, 16384),
    "m1.small": (1, 1740),
    "m5.large": (2, 8192),
    "c5.large": (2, 4096),
    "r5.large": (2, 16384),
}

# Every type of machine takes as many, and libvirt gives more only to one with an IOMMU that instances do not have.
MOST_VCPUS = 255

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://pocket.cloud/")
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{17}")
# XML 1.0 cannot carry these, and EC2 does not allow them in tags either.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_DESCRIPTION_LENGTH = 255
_TAG_KEY_LENGTH = 128
_TAG_VALUE_LENGTH = 256
_TAGS = 50


@dataclass(frozen=True)
class Instance:
    """One instance, as its domain's metadata and libvirt describe it.

    :param instance_id: C(i-) and 17 hexadecimal digits; also the domain's name.
    :param instance_type: the type it was launched as, none when vCPUs and memory were given.
    :param interfaces: its network interfaces, the first of which is the primary one.
    :param launch_time: ISO 8601, UTC, whole seconds.
    :param phase: LAUNCHING, LAUNCHED or TERMINATING.
    :param state: a key of STATE_CODES.
    :param state_reason: why it is in its state, where there is something to say.
    :param paused: why its machine stands still though it is running to EC2, until somebody lets it go on.
    :param starts_at_boot: whether its host's boot starts it, none where that was not asked.
    :param reason_boot: the boot of its host in which that was noted; none where that is not known.
    :param key_name: the key pair whose public key its guest was given.
    :param client_token: the token of the call that launched it.
    :param security_groups: the ids of its security groups.
    :param group_names: their names, in the same order; a group keeps its name for life.
    :param source_dest_check: whether what it sends must come from its own addresses.
    :param termination_protection: whether it may not be terminated.
    :param shutdown_behavior: what it becomes when its guest shuts itself down: C(stop) or C(terminate).
    :param restart_policy: when it is started at the host's boot: C(running), where it ran; C(always); C(never).
    :param host: the name of the host it is on; not kept, for its host knows.
    :param disks: its disks, as its domain has them.
    :param volumes_deleted_on_termination: the ids of the volumes that go with it; of no meaning for those not attached.
    :param machine: what it runs on.
    """

    instance_id: str
    image_id: str
    vcpus: int
    memory_mib: int
    interfaces: tuple[Interface, ...]
    launch_time: str
    reservation_id: str
    instance_type: str | None = None
    ami_launch_index: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    accel: str = "tcg"
    user_data_sha256: str | None = None
    key_name: str | None = None
    client_token: str | None = None
    security_groups: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    source_dest_check: bool = True
    termination_protection: bool = False
    shutdown_behavior: str = "stop"
    restart_policy: str = "running"
    disks: tuple[Disk, ...] = field(default=(), compare=False)
    volumes_deleted_on_termination: tuple[str, ...] = ()
    phase: str = LAUNCHED
    state: str = "stopped"
    state_reason: str = ""
    paused: str = ""
    starts_at_boot: bool | None = field(default=None, compare=False)
    reason_boot: str | None = field(default=None, compare=False)
    host: str = ""
    machine: Machine = field(default_factory=Machine)

    @property
    def network(self) -> str:
        """The network of the primary interface."""
        return self.interfaces[0].network

    @property
    def mac_address(self) -> str:
        """The MAC address of the primary interface."""
        return self.interfaces[0].mac_address

    @property
    def private_ip_address(self) -> str | None:
        """The IPv4 address of the primary interface."""
        return self.interfaces[0].private_ip_address

    @property
    def ipv6_address(self) -> str | None:
        """The IPv6 address of the primary interface."""
        return self.interfaces[0].ipv6_address

    @property
    def address_source(self) -> str | None:
        """What vouches for the IPv4 address of the primary interface."""
        return self.interfaces[0].address_source

    @property
    def name(self) -> str | None:
        """The tag C(Name)."""
        return self.tags.get("Name")

    @property
    def label(self) -> str:
        """How a message names it."""
        return f"{self.instance_id} ({self.name})" if self.name else self.instance_id

    @property
    def guarded(self) -> bool:
        """Whether network filters have to do with it."""
        return self.source_dest_check or bool(self.security_groups)

    @property
    def forgotten_at_boot(self) -> bool:
        """Whether its host's boot does to it what its policy does not say, by what somebody did to its domain.

        One that was stopped by itself may still be started: nobody was there to say otherwise.
        """
        wanted = self.restart_policy == "always" or (self.restart_policy == "running" and self.state == "running")
        if self.starts_at_boot is None or (self.restart_policy == "running" and not wanted):
            return False
        return self.starts_at_boot != wanted

    @property
    def hibernated(self) -> bool:
        """Whether its next start goes on from where its machine was."""
        return self.state == "stopped" and self.state_reason.startswith(HIBERNATED)

    @property
    def changing(self) -> bool:
        """Whether a run that died had stopped it for a change or for an image, and was to start it again."""
        return self.state == "stopped" and self.state_reason.startswith((CHANGING, IMAGING))

    def with_state(self, state: str, reason: str = "") -> Instance:
        """Return a copy in the state `state`."""
        return replace(self, state=state, state_reason=reason, paused="")

    def ec2(self) -> dict[str, Any]:
        """Return EC2's description of it, members in snake case."""
        return {
            "instance_id": self.instance_id,
            "image_id": self.image_id,
            "instance_type": self.instance_type,
            "vcpus": self.vcpus,
            "memory_mib": self.memory_mib,
            "state": {"code": STATE_CODES[self.state], "name": self.state},
            "state_transition_reason": self.state_reason or self.paused,
            "launch_time": self.launch_time,
            "reservation_id": self.reservation_id,
            "ami_launch_index": self.ami_launch_index,
            "tags": dict(sorted(self.tags.items())),
            "private_ip_address": self.private_ip_address,
            "ipv6_address": self.ipv6_address,
            "private_dns_name": self.instance_id,
            "network": self.network,
            "network_interfaces": [interface.ec2(index) for index, interface in enumerate(self.interfaces)],
            "placement": {"host": self.host, "accel": self.accel},
            "machine": self.machine.ec2(),
            "user_data_sha256": self.user_data_sha256,
            "key_name": self.key_name,
            "client_token": self.client_token,
            "security_groups": self._groups(),
            "source_dest_check": self.source_dest_check,
            "termination_protection": self.termination_protection,
            "instance_initiated_shutdown_behavior": self.shutdown_behavior,
            "restart_policy": self.restart_policy,
            "root_device_name": f"/dev/{ROOT_DEVICE}",
            "block_device_mappings": self.mappings(),
        }

    def mappings(self) -> list[dict[str, Any]]:
        """Return EC2's block device mappings: of each volume the device name, and what else there is to say."""
        return [self._mapping(disk) for disk in self.disks if disk.volume_id]

    def _mapping(self, disk: Disk) -> dict[str, Any]:
        kept = disk.volume_id not in self.volumes_deleted_on_termination
        ebs = {"volume_id": disk.volume_id, "status": "attached", "delete_on_termination": not kept}
        return {"device_name": f"/dev/{disk.device_name}", "ebs": ebs}

    def _groups(self) -> list[dict[str, str | None]]:
        names = self.group_names or (None,) * len(self.security_groups)
        return [{"group_id": one, "group_name": name} for one, name in zip(self.security_groups, names)]

    def printable(self) -> dict[str, Any]:
        """Return what a diff shows of it."""
        further = [interface.network for interface in self.interfaces[1:]]
        return {
            "state": self.state,
            **({"paused": self.paused} if self.paused else {}),
            "image_id": self.image_id,
            "instance_type": self.instance_type,
            "vcpus": self.vcpus,
            "memory_mib": self.memory_mib,
            "machine": self.machine.ec2(),
            "network": self.network,
            "private_ip_address": self.private_ip_address,
            **({"further_networks": further} if further else {}),
            "tags": dict(sorted(self.tags.items())),
            "user_data_sha256": self.user_data_sha256,
            "key_name": self.key_name,
            "security_groups": list(self.group_names or self.security_groups),
            "source_dest_check": self.source_dest_check,
            "termination_protection": self.termination_protection,
            "instance_initiated_shutdown_behavior": self.shutdown_behavior,
            "restart_policy": self.restart_policy,
        }


def check_instance_id(instance_id: str, parameter: str = "instance_ids") -> str:
    """Return `instance_id`, or raise InvalidInstanceID.Malformed."""
    if not _INSTANCE_ID.fullmatch(instance_id):
        raise PocketError(
            f"{parameter}: {instance_id!r} is no instance id; one is 'i-' and 17 hexadecimal digits",
            code="InvalidInstanceID.Malformed",
        )
    return instance_id


def machine_uuid(instance_id: str) -> str:
    """Derive the domain's UUID. It never begins with C(ec2): cloud-init would take the machine for one of AWS."""
    for salt in ("", "/1", "/2", "/3", "/4", "/5", "/6", "/7"):
        derived = str(uuid.uuid5(_NAMESPACE, f"instance/{instance_id}{salt}"))
        if not derived.startswith("ec2"):
            break
    return derived


def filter_uuid(name: str) -> str:
    """Derive the UUID of a network filter."""
    return str(uuid.uuid5(_NAMESPACE, f"filter/{name}"))


def network_uuid(name: str) -> str:
    """Derive the UUID by which a network is known as one that this collection defined."""
    return str(uuid.uuid5(_NAMESPACE, f"network/{name}"))


def check_tags(tags: Mapping[str, Any] | None, parameter: str = "tags") -> dict[str, str]:
    """Return `tags` with values as text, within EC2's limits; raises InvalidParameterValue."""
    for key, value in (tags or {}).items():
        if isinstance(value, (dict, list, tuple)):
            raise _bad(f"{parameter}: the value of {str(key)!r} is {value!r}; a tag's value is a text")
    checked = within_limit({str(key): _tag_text(value) for key, value in (tags or {}).items()}, parameter)
    for key, value in checked.items():
        if not 1 <= len(key) <= _TAG_KEY_LENGTH:
            raise _bad(
                f"{parameter}: the key {_shortened(key)} has {len(key)} characters; "
                f"a tag's key has 1 to {_TAG_KEY_LENGTH}"
            )
        if len(value) > _TAG_VALUE_LENGTH:
            raise _bad(
                f"{parameter}: the value {_shortened(value)} of {key!r} has {len(value)} characters; "
                f"a tag's value has at most {_TAG_VALUE_LENGTH}"
            )
        if key.lower().startswith("aws:"):
            raise _bad(f"{parameter}: the key {key!r} begins with 'aws:', which EC2 keeps for itself; choose another")
        if _UNPRINTABLE.search(key) or _UNPRINTABLE.search(value):
            raise _bad(f"{parameter}: {key!r}: {value!r} has a control character; use printable characters and spaces")
    return checked


def within_limit(tags: dict[str, str], parameter: str = "tags") -> dict[str, str]:
    """Return `tags`, or raise TagLimitExceeded where there are more than one thing may have."""
    if len(tags) > _TAGS:
        message = f"{parameter}: {len(tags)} tags are too many; there may be {_TAGS} with the name; purge some"
        raise PocketError(message, code="TagLimitExceeded")
    return tags


def check_description(description: str | None) -> None:
    """Refuse one that is longer than EC2's may be, or that cannot be kept."""
    if description is not None:
        check_text(description, "description")
        if len(description) > _DESCRIPTION_LENGTH:
            raise _bad(f"description: {len(description)} characters are too many; it has at most {_DESCRIPTION_LENGTH}")


def check_text(text: str, parameter: str) -> None:
    """Refuse a text that neither a file's name nor the register can hold: NUL, and halves of UTF-16's pairs."""
    if _UNWRITABLE.search(text):
        raise _bad(f"{parameter}: {text!r} has a NUL or what is no character; leave that out")


def _tag_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _bad(message: str) -> PocketError:
    return PocketError(message, code="InvalidParameterValue")


def instance_type_size(name: str, own_types: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
    """Return the vCPUs and MiB of the type `name`; an operator's own type wins over EC2's of that name."""
    if name in own_types:
        return own_types[name]["vcpus"], own_types[name]["memory_mib"]
    if name in INSTANCE_TYPES:
        return INSTANCE_TYPES[name]
    known = sorted({*INSTANCE_TYPES, *own_types})
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise _bad(
        f"instance_type: nobody defined {name!r}; {hint}known are {', '.join(known)}; or give vcpus and memory_mib"
    )
