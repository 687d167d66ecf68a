# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instances of KVM hosts as an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ec2like
short_description: EC2-like instances of KVM hosts
version_added: 0.1.0
author:
  - pocket.cloud contributors (@pocket-cloud)
description:
  - Lists the instances of one or several KVM hosts, each asked once, all at the same time.
  - The controller needs neither libvirt nor its Python library. What reads the instances is the code of
    M(pocket.cloud.ec2like_instance_info), sent to the host's own Python over one ssh connection, or run by this
    machine's Python where the KVM host is the controller. Nothing is written on the host.
  - The file's name must end in C(ec2like.yml) or C(ec2like.yaml).
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [pocket.cloud.ec2like]
  hosts:
    description: The KVM hosts. Templates in here are evaluated.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the inventory calls it; it is the variable C(kvm_host) of its instances.
        type: str
        required: true
      host:
        description: Where ssh finds it. Without it, it is the controller itself.
        type: str
      user:
        description: The user to log in as; who that is by default, ssh's configuration says.
        type: str
      port:
        description: The port of its ssh server.
        type: int
      private_key_file:
        description: The key to log in with. Passwords cannot be asked for.
        type: str
      ssh_args:
        description: More arguments for ssh.
        type: str
        default: ''
      become:
        description: Whether to use C(sudo), which must ask for no password. Reading takes root's rights.
        type: bool
        default: false
      python:
        description: The Python on the host that can import libvirt.
        type: str
        default: /usr/bin/python3
      uri:
        description: Which libvirt daemon on the host to use, as libvirt writes connection URIs.
        type: str
        default: qemu:///system
      store:
        description: The directory on the host that keeps what libvirt cannot hold.
        type: str
        default: /var/lib/pocket-cloud
      jump:
        description:
          - Whether the instances of a host that is reached by ssh are reached through it, for most networks of
            instances end at their host. It sets C(ansible_ssh_common_args) of its instances, with the host's own user,
            port, key and arguments.
        type: bool
        default: true
  filters:
    description:
      - What selects the instances, as a dictionary of EC2's filter names and values, those of
        O(pocket.cloud.ec2like_instance_info#module:filters).
      - Where they name no state (V(instance-state-name) or V(instance-state-code)), only running instances are listed.
    type: dict
    default: {}
  hostnames:
    description:
      - What instances are called, in order of preference. V(tag:KEY), V(instance-id), V(private-ip-address) or
        V(private-dns-name).
      - Each instance gets the first that it has and no other instance has, so that two of the same V(tag:Name) are two
        hosts. Tags that are no names, such as those with spaces, and names that groups have are passed over. What is
        left is the id.
    type: list
    elements: str
    default: ['tag:Name', instance-id]
  hostvars_prefix:
    description:
      - What the names of variables begin with that hold what M(pocket.cloud.ec2like_instance_info) returns of an
        instance. O(compose), O(groups) and O(keyed_groups) know them without it, too.
      - Without a prefix, Ansible warns of the variable C(tags), whose name it keeps for itself.
    type: str
    default: ec2_
  kvm_host_groups:
    description: Whether to make a group of each KVM host's instances, by the name C(kvm_host_NAME).
    type: bool
    default: false
  unreachable:
    description:
      - What to do where a KVM host does not tell its instances, be it down, without libvirtd or without permission.
        V(fail) fails the whole inventory file, V(warn) goes on with the others.
      - Ansible itself goes on without an inventory file that failed, unless told otherwise by its settings
        C(inventory.unparsed_is_failed) and C(inventory.any_unparsed_is_failed).
    type: str
    choices: [fail, warn]
    default: fail
  timeout:
    description: How many seconds a KVM host has to answer.
    type: float
    default: 30
extends_documentation_fragment:
  - constructed
  - inventory_cache
notes:
  - The variable C(ansible_host) is the instance's private IPv4 address, where it has none its IPv6 address,
    unless O(compose) sets it.
  - Texts of instances, such as tags, are data. They are never evaluated as templates.
seealso:
  - module: pocket.cloud.ec2like_instance_info
"""

EXAMPLES = r"""
# The instances of this very machine and of two others, reached through those; some may be down.
# Only plugin and hosts are needed.
plugin: pocket.cloud.ec2like
hosts:
  - name: here
  - name: kvm1
    host: kvm1.example.org
    user: root
  - name: kvm2
    host: 192.0.2.12
    user: operator
    become: true
    private_key_file: ~/.ssh/kvm
filters:
  tag:environment: production
  instance-state-name: [pending, running]
hostnames: [tag:Name, private-ip-address]
compose:
  ansible_user: "'debian'"
groups:
  large: memory_mib >= 8192
keyed_groups:
  - key: tags.pool
    prefix: pool
kvm_host_groups: true
unreachable: warn
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ec2like
"""

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.filters import check_filters
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.plugin_utils._ask import ask_all
from ansible_collections.pocket.cloud.plugins.plugin_utils._inventory_names import check_hostnames, inventory_names
from ansible_collections.pocket.cloud.plugins.plugin_utils._kvm_hosts import KvmHost, kvm_hosts

_PATH = re.compile(r"[a-z_]\w*(\.[a-z_]\w*)*", re.ASCII)
_STATES = ("instance-state-name", "instance-state-code")
_LONGEST = 86400


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """What ansible looks for."""

    NAME = "pocket.cloud.ec2like"

    def verify_file(self, path: str) -> bool:
        """Whether the file is one of this plugin's, by its name."""
        return bool(super().verify_file(path)) and path.endswith(("ec2like.yml", "ec2like.yaml"))

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Add the instances to the inventory."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            self._list(self.get_cache_key(path), cache)
        except PocketError as error:
            raise AnsibleParserError(error.message) from error

    def _list(self, key: str, cache: bool) -> None:
        hosts = kvm_hosts(self._plain("hosts"))
        hostnames = check_hostnames(self._plain("hostnames"))
        filters = dict(check_filters(self._plain("filters")))
        if not 0 < self.get_option("timeout") <= _LONGEST:
            raise PocketError(
                f"timeout: {self.get_option('timeout')} is no time; give seconds, more than 0 and up to {_LONGEST}"
            )
        if not any(name in filters for name in _STATES):
            filters["instance-state-name"] = ("running",)
        found = self._instances(hosts, filters, key, cache)
        listed = [(host, one) for host in hosts for one in found.get(host.name, [])]
        _check_once(listed)
        names = inventory_names([one for _host, one in listed], hostnames, self._group_names(hosts))
        known = {name: self._add(name, *one) for name, one in zip(names, listed)}
        # Last, for a host of a group's name that is there already would be taken for the group by what came before.
        for name, variables in known.items():
            self._add_host_to_keyed_groups(
                self.get_option("keyed_groups"), variables, name, strict=self.get_option("strict")
            )

    def _group_names(self, hosts: list[KvmHost]) -> set[str]:
        """Return the names that groups have, or will have; none may be a host's, which would be taken for the group."""
        own = [f"kvm_host_{host.name}" for host in hosts] if self.get_option("kvm_host_groups") else []
        return {*self._inventory().groups, *map(self._sanitize_group_name, [*own, *self.get_option("groups")])}

    def _plain(self, option: str) -> Any:
        """Return an option with its templates evaluated."""
        return self.templar.template(self.get_option(option))

    def _instances(
        self, hosts: list[KvmHost], filters: Mapping[str, Any], key: str, cache: bool
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the instances by KVM host. The cache has them by what was asked, so that it fits this file alone."""
        caches = self.get_option("cache")
        kept: dict[str, Any] = self.cache.get(key, {}) if caches and cache else {}
        digests = {host.name: host.digest(filters) for host in hosts}
        found = {name: kept[digest] for name, digest in digests.items() if digest in kept}
        answers = ask_all([host for host in hosts if host.name not in found], filters, self.get_option("timeout"))
        for name, answer in answers.items():
            if not isinstance(answer, PocketError):
                found[name] = answer
            elif self.get_option("unreachable") == "fail":
                raise answer
            else:
                self.display.warning(f"{answer.message}; the inventory goes on without them")
        if caches and answers:
            self.cache[key] = {digests[name]: instances for name, instances in found.items()}
        return found

    def _add(self, name: str, host: KvmHost, instance: Mapping[str, Any]) -> dict[str, Any]:
        """Add an instance; return what expressions know of it."""
        known = {**instance, "kvm_host": host.name}
        prefix = self.get_option("hostvars_prefix")
        inventory = self._inventory()
        inventory.add_host(name)
        variables = {f"{prefix}{key}": value for key, value in known.items()}
        variables["ansible_host"] = instance["private_ip_address"] or instance["ipv6_address"]
        common_args = host.common_args()
        if common_args is not None:
            variables["ansible_ssh_common_args"] = common_args
        for key, value in variables.items():
            inventory.set_variable(name, key, value)
        if self.get_option("kvm_host_groups"):
            inventory.add_child(inventory.add_group(self._sanitize_group_name(f"kvm_host_{host.name}")), name)
        evaluated = {**known, **variables}
        self._construct(name, evaluated)
        return evaluated

    def _inventory(self) -> InventoryData:
        if self.inventory is None:
            raise AssertionError("parse() sets it first")
        return self.inventory

    def _compose(self, template: Any, variables: Any, *more: Any) -> Any:
        """Evaluate an expression; one that only names a value is looked up, for compiling it takes most of the time."""
        if isinstance(template, str) and _PATH.fullmatch(template) and not self.get_option("use_extra_vars"):
            value = variables
            for word in template.split("."):
                if not isinstance(value, Mapping) or hasattr(value, word) or word not in value:
                    break
                value = value[word]
            else:
                return value
        return super()._compose(template, variables, *more)

    def _construct(self, name: str, variables: dict[str, Any]) -> None:
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)


def _check_once(listed: list[tuple[KvmHost, dict[str, Any]]]) -> None:
    """Refuse KVM hosts that are the same one: each instance would be there twice."""
    seen: dict[str, str] = {}
    for host, instance in listed:
        other = seen.setdefault(instance["instance_id"], host.name)
        if other != host.name:
            raise PocketError(
                f"hosts: {other} and {host.name} are the same KVM host, for both have the instance "
                f"{instance['instance_id']}; name it once"
            )
