# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of argument specs that modules share; their texts are in the doc fragments. PRIVATE to the collection."""

from __future__ import annotations

from typing import Any

__all__ = [
    "EC2LIKE",
    "EC2LIKE_INSTANCE",
    "EC2LIKE_SNAPSHOT",
    "EC2LIKE_STORE",
    "EC2LIKE_VOLUME",
    "IPVS_DAEMON",
    "IPVS_DEST",
    "IPVS_DRAIN",
    "IPVS_DRAIN_OPTIONS",
    "IPVS_NAMESPACE",
    "IPVS_SERVICE",
    "IPVS_SERVICE_IDENTITY",
    "IPVS_SETTINGS",
    "IPVS_STATE",
]

Spec = dict[str, dict[str, Any]]

# --- IPVS; documented in doc_fragments/ipvs.py ---

IPVS_NAMESPACE: Spec = {"namespace": {"type": "str"}}
IPVS_STATE: Spec = {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}

IPVS_SERVICE_IDENTITY: Spec = {
    "protocol": {"type": "str", "choices": ["tcp", "udp", "sctp"], "aliases": ["proto"]},
    "address": {"type": "str", "aliases": ["addr"]},
    "port": {"type": "int"},
    "fwmark": {"type": "int"},
    "family": {"type": "str", "choices": ["ipv4", "ipv6"]},
}

_IPVS_STATS: Spec = {"stats": {"type": "dict"}}

IPVS_DEST: Spec = {
    "address": {"type": "str", "required": True, "aliases": ["addr"]},
    "port": {"type": "int"},
    "forwarding": {"type": "str", "choices": ["masquerade", "direct", "tunnel"]},
    "weight": {"type": "int"},
    "upper_threshold": {"type": "int"},
    "lower_threshold": {"type": "int"},
    "tunnel_type": {"type": "str", "choices": ["ipip", "gue", "gre"]},
    "tunnel_port": {"type": "int"},
    "tunnel_checksum": {"type": "str", "choices": ["none", "full", "remote"]},
    **_IPVS_STATS,
}

IPVS_SERVICE: Spec = {
    **IPVS_SERVICE_IDENTITY,
    "scheduler": {"type": "str", "aliases": ["sched_name"]},
    "scheduler_flags": {
        "type": "list",
        "elements": "str",
        "choices": ["sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3"],
    },
    "persistence_timeout": {"type": "int"},
    "persistence_netmask": {"type": "str"},
    "persistence_engine": {"type": "str", "choices": ["none", "sip"]},
    "one_packet": {"type": "bool"},
    "dests": {"type": "list", "elements": "dict", "options": IPVS_DEST},
    **_IPVS_STATS,
}

IPVS_DRAIN_OPTIONS: Spec = {
    "timeout": {"type": "int", "default": 300},
    "udp": {"type": "str", "choices": ["wait", "ignore"], "default": "wait"},
    "at_timeout": {"type": "str", "choices": ["fail", "remove"], "default": "fail"},
    "step": {"type": "int"},
}
IPVS_DRAIN: Spec = {"drain": {"type": "dict", "options": IPVS_DRAIN_OPTIONS}}

IPVS_SETTINGS: Spec = {
    "timeouts": {"type": "dict", "options": {name: {"type": "int"} for name in ("tcp", "tcp_fin", "udp")}},
    "sysctls": {"type": "dict"},
}

IPVS_DAEMON: Spec = {
    "daemon": {"type": "str", "choices": ["master", "backup"], "required": True},
    "interface": {"type": "str"},
    "sync_id": {"type": "int"},
    "sync_maxlen": {"type": "int"},
    "group": {"type": "str"},
    "port": {"type": "int"},
    "ttl": {"type": "int"},
}

# --- EC2; documented in doc_fragments/ec2like.py ---

EC2LIKE_STORE: Spec = {"store": {"type": "path", "default": "/var/lib/pocket-cloud"}}
EC2LIKE: Spec = {**EC2LIKE_STORE, "uri": {"type": "str", "default": "qemu:///system"}}

INSTANCE_STATES = ["present", "running", "started", "stopped", "restarted", "rebooted", "terminated", "absent"]
# Subtypes of text that cloud-init has a handler for.
_USER_DATA_TYPES = [
    "cloud-boothook",
    "cloud-config",
    "cloud-config-archive",
    "jinja2",
    "part-handler",
    "x-include-once-url",
    "x-include-url",
    "x-shellscript",
    "x-shellscript-per-boot",
    "x-shellscript-per-instance",
    "x-shellscript-per-once",
]
_USER_DATA_PART: Spec = {
    "content": {"type": "str", "required": True, "no_log": True},
    "content_type": {"type": "str", "required": True, "choices": _USER_DATA_TYPES},
    "filename": {"type": "str"},
}
# Documented in modules/ec2like_instance.py
EC2LIKE_INSTANCE: Spec = {
    **EC2LIKE,
    "state": {"type": "str", "choices": INSTANCE_STATES, "default": "present"},
    "instance_ids": {"type": "list", "elements": "str"},
    "filters": {"type": "dict"},
    "name": {"type": "str"},
    "tags": {"type": "dict"},
    "purge_tags": {"type": "bool", "default": False},
    "count": {"type": "int"},
    "min_count": {"type": "int"},
    "max_count": {"type": "int"},
    "exact_count": {"type": "int"},
    "termination_policy": {"type": "str", "choices": ["newest", "oldest"], "default": "newest"},
    "client_token": {"type": "str", "no_log": False},
    "allow_stop": {"type": "bool", "default": False},
    "termination_protection": {"type": "bool"},
    "instance_initiated_shutdown_behavior": {"type": "str", "choices": ["stop", "terminate"]},
    "restart_policy": {"type": "str", "choices": ["running", "always", "never"]},
    "image_id": {"type": "str", "aliases": ["image"]},
    "instance_type": {"type": "str"},
    "vcpus": {"type": "int"},
    "memory_mib": {"type": "int"},
    "user_data": {"type": "str", "no_log": True},
    "user_data_file": {"type": "path"},
    "user_data_parts": {"type": "list", "elements": "dict", "options": _USER_DATA_PART},
    "key_name": {"type": "str", "no_log": False},
    "security_groups": {"type": "list", "elements": "str"},
    "source_dest_check": {"type": "bool"},
    "network": {"type": "str"},
    "private_ip_address": {"type": "str"},
    "ipv6_address": {"type": "str"},
    "network_interfaces": {
        "type": "list",
        "elements": "dict",
        "options": {name: {"type": "str"} for name in ("network", "private_ip_address", "ipv6_address")},
    },
    "volumes": {
        "type": "list",
        "elements": "dict",
        "options": {
            "device_name": {"type": "str", "required": True},
            "volume_id": {"type": "str"},
            "ebs": {
                "type": "dict",
                "options": {
                    "volume_size": {"type": "int"},
                    "snapshot_id": {"type": "str"},
                    "disk_format": {"type": "str", "choices": ["qcow2", "raw"]},
                    "delete_on_termination": {"type": "bool"},
                },
            },
        },
    },
    "root_size_gib": {"type": "int"},
    "disk_format": {"type": "str", "choices": ["qcow2", "raw"]},
    "disk_cache": {"type": "str", "choices": ["default", "none", "writethrough", "writeback", "directsync", "unsafe"]},
    "disk_discard": {"type": "str", "choices": ["unmap", "ignore"]},
    "disk_clone": {"type": "str", "choices": ["linked", "full"]},
    "accel": {"type": "str", "choices": ["auto", "kvm", "tcg"], "default": "auto"},
    "video": {"type": "str", "choices": ["none", "vga", "virtio"], "default": "none"},
    "machine_type": {"type": "str"},
    "firmware": {"type": "str", "choices": ["bios", "uefi"]},
    "secure_boot": {"type": "bool"},
    "tpm": {"type": "bool"},
    "cpu_model": {"type": "str"},
    "huge_pages": {"type": "bool"},
    "wait": {"type": "bool", "default": True},
    "wait_for": {"type": "str", "choices": ["running", "ip", "port", "ssh", "cloud-init"]},
    "wait_port": {"type": "int"},
    "wait_timeout": {"type": "int", "default": 600},
    "stop_timeout": {"type": "int", "default": 60},
    "hibernate": {"type": "bool", "default": False},
}
# Documented in modules/ec2like_volume.py
EC2LIKE_VOLUME: Spec = {
    "volume_id": {"type": "str", "aliases": ["id"]},
    "name": {"type": "str"},
    "tags": {"type": "dict"},
    "purge_tags": {"type": "bool", "default": False},
    "size_gib": {"type": "int", "aliases": ["volume_size"]},
    "disk_format": {"type": "str", "choices": ["qcow2", "raw"]},
    "snapshot_id": {"type": "str", "aliases": ["snapshot"]},
    "instance": {"type": "str", "aliases": ["instance_id"]},
    "device_name": {"type": "str"},
    "delete_on_termination": {"type": "bool"},
    "wait_timeout": {"type": "int", "default": 60},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
# Documented in modules/ec2like_snapshot.py
EC2LIKE_SNAPSHOT: Spec = {
    "snapshot_id": {"type": "str"},
    "name": {"type": "str"},
    "volume_id": {"type": "str"},
    "instance_id": {"type": "str"},
    "device_name": {"type": "str"},
    "description": {"type": "str"},
    "tags": {"type": "dict", "aliases": ["snapshot_tags"]},
    "purge_tags": {"type": "bool", "default": False},
    "freeze": {"type": "bool", "default": False},
    "last_snapshot_min_age": {"type": "int", "default": 0},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
