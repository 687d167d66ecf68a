# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the runner in a copy of the collection: modules keep their argument specs, and act on one JSON file.

So a role's tasks run for real, by ansible-playbook, and what they asked for in which order can be looked at.
"""

from __future__ import annotations

import copy
import json
import os
from typing import Any, Callable

State = dict[str, Any]
Handler = Callable[[dict[str, Any], State, bool], dict[str, Any]]


def run(module: Any, make_task: Any) -> None:
    """Act on the file that POCKET_CLOUD_STATE names; `make_task` is not called."""
    path = os.environ["POCKET_CLOUD_STATE"]
    with open(path, encoding="utf-8") as stream:
        state = json.load(stream)
    name = module._name.rpartition(".")[2]
    changed = copy.deepcopy(state)
    results = HANDLERS[name](module.params, changed, module.check_mode)
    texts = {
        when: json.dumps({key: one[key] for key in ("instances", "services", "declarations")}, sort_keys=True)
        for when, one in (("before", state), ("after", changed))
    }
    given = {key: value for key, value in module.params.items() if value is not None}
    kept = state if module.check_mode else changed
    kept["calls"] = [*state["calls"], {"module": name, "check": module.check_mode, "params": given}]
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(kept, stream)
    module.exit_json(changed=texts["before"] != texts["after"], diff=texts, **results)


def ec2like_instance(params: dict[str, Any], state: State, check: bool) -> dict[str, Any]:
    """Launch, and terminate the newest, by `exact_count`; or terminate those meant."""
    meant = [one for one in state["instances"] if _meant(one, params)]
    gone = meant if params["state"] == "terminated" else []
    if params["exact_count"] is not None:
        gone = meant[params["exact_count"] :]
    state["instances"] = [one for one in state["instances"] if one not in gone]
    meant = [one for one in meant if one not in gone]
    was = list(meant)  # as the module: those that are to go are not among those that check mode returns
    while params["exact_count"] is not None and len(meant) < params["exact_count"]:
        state["launched"] += 1
        number = state["launched"]
        made = {
            "instance_id": f"i-{number:017x}",
            "private_ip_address": f"10.80.0.{number + 1}",
            "ipv6_address": f"fd00:80::{number + 1:x}" if state["ipv6_cidr"] else None,
            "tags": params["tags"],
        }
        state["instances"].append(made)
        meant.append(made)
    return {"instances": was if check else meant, "terminated_ids": [one["instance_id"] for one in gone]}


def ec2like_instance_info(params: dict[str, Any], state: State, check: bool) -> dict[str, Any]:
    """Tell the instances that are named."""
    return {"instances": [one for one in state["instances"] if one["instance_id"] in params["instance_ids"]]}


def ec2like_network_info(params: dict[str, Any], state: State, check: bool) -> dict[str, Any]:
    """Tell the networks that are named."""
    return {"networks": [{"name": name, "ipv6_cidr": state["ipv6_cidr"]} for name in params["names"]]}


def _meant(instance: dict[str, Any], params: dict[str, Any]) -> bool:
    if params["instance_ids"] is not None:
        return instance["instance_id"] in params["instance_ids"]
    wanted = {key.partition(":")[2]: value for key, value in params["filters"].items()}
    return all(instance["tags"].get(key) == value for key, value in wanted.items())


def _key(service: dict[str, Any]) -> str:
    if service.get("fwmark"):
        return f"{service.get('family') or 'ipv4'} mark {service['fwmark']}"
    return f"{service.get('protocol') or 'tcp'} {service['address']}:{service['port']}"


def ipvs_service(params: dict[str, Any], state: State, check: bool) -> dict[str, Any]:
    """Keep a service and its dests, of which unstated settings stay."""
    key = _key(params)
    if params["state"] == "absent":
        state["services"].pop(key, None)
        return {}
    dests = state["services"].setdefault(key, {})
    named = {f"{dest['address']}:{dest['port']}": dest for dest in params["dests"] or []}
    for name, dest in named.items():
        stated = {key: dest[key] for key in ("weight", "forwarding") if dest[key] is not None}
        dests[name] = {**dests.get(name, {"weight": 1, "forwarding": "direct"}), **stated}
    if params["purge_dests"]:
        state["services"][key] = {name: dest for name, dest in dests.items() if name in named}
    return {}


def ipvs_info(params: dict[str, Any], state: State, check: bool) -> dict[str, Any]:
    """Tell the service that the filters name; with each look one connection of each dest ends."""
    dests = []
    for name, dest in state["services"].get(_key(params["filters"]), {}).items():
        address, _colon, port = name.rpartition(":")
        left = state["connections"].get(address, 0)
        dests.append({"address": address, "port": int(port), **dest, "stats": {"active_connections": left}})
        state["connections"][address] = max(0, left - 1)
    return {"services": [{**params["filters"], "dests": dests}]}


def ipvs_restore(params: dict[str, Any], state: State, check: bool) -> dict[str, Any]:
    """Keep a declaration; the services that it held and holds no more go."""
    before = state["declarations"].pop(params["name"], {})
    if params["state"] == "present":
        services = {_key(one): sorted(dest["address"] for dest in one["dests"]) for one in params["services"]}
        state["declarations"][params["name"]] = services
    held = {key for one in state["declarations"].values() for key in one}
    for key in set(before) - held if params["apply"] else ():
        state["services"].pop(key, None)
    return {}


HANDLERS: dict[str, Handler] = {
    "ec2like_instance": ec2like_instance,
    "ec2like_instance_info": ec2like_instance_info,
    "ec2like_network_info": ec2like_network_info,
    "ipvs_info": ipvs_info,
    "ipvs_restore": ipvs_restore,
    "ipvs_service": ipvs_service,
}
