# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import uplinks
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.uplinks import Uplinks, hook_text, hooked
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

SHOWN = [
    {"ifname": "lo", "link_type": "loopback", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {
        "ifname": "eth1",
        "link_type": "ether",
        "master": "br0",
        "addr_info": [{"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}],
    },
    {
        "ifname": "eth0",
        "link_type": "ether",
        "addr_info": [{"local": "192.0.2.7", "prefixlen": 24, "scope": "global"}, {"scope": "global"}],
    },
    {},
]


def test_interfaces_with_the_addresses_by_which_one_reaches_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess([], 0, json.dumps(SHOWN), "")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: said)
    found = Uplinks().interfaces()
    assert sorted(found) == ["eth0", "eth1", "lo"]
    assert [str(address) for address in found["eth0"].addresses] == ["192.0.2.7/24"]
    assert (found["eth1"].addresses, found["eth1"].master) == ((), "br0")
    assert found["lo"].kind == "loopback"


def test_routes_are_read_from_where_libvirt_reads_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def word(address: str) -> str:
        return f"{int.from_bytes(ipaddress.ip_address(address).packed, sys.byteorder):08X}"

    told = [
        ("eth0", "0.0.0.0", "0.0.0.0"),
        ("eth0", "192.0.2.0", "255.255.255.0"),
        ("tun0", "10.0.0.7", "255.255.255.255"),
    ]
    lines = [
        f"{name}\t{word(to)}\t{word('192.0.2.1')}\t0003\t0\t0\t0\t{word(mask)}\t0\t0\t0" for name, to, mask in told
    ]
    monkeypatch.setattr(uplinks, "_ROUTES", tmp_path / "route")
    assert Uplinks().routes() == {}
    (tmp_path / "route").write_text("\n".join(["Iface\tDestination\tGateway \tFlags", *lines, ""]))
    found = {str(network): name for network, name in Uplinks().routes().items()}
    assert found == {"0.0.0.0/0": "eth0", "192.0.2.0/24": "eth0", "10.0.0.7/32": "tun0"}


@pytest.mark.parametrize(
    ("own", "usual", "flags", "loses"),
    [
        (1, 1, 0x450003, True),
        (2, 1, 0x450003, False),
        (0, 1, 0x450003, True),
        (0, 0, 0x450003, False),
        (1, 1, 0x10003, False),
    ],
)
def test_who_loses_the_routes_that_routers_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int, usual: int, flags: int, loses: bool
) -> None:
    said = subprocess.CompletedProcess([], 0, json.dumps(SHOWN), "")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: said)
    none, router, metric = "0" * 32, f"fe80{'0' * 27}2", "00000400"
    routes = f"{none} 00 {none} 00 {router} {metric} 00000001 00000000 {flags:08x}     eth0\n"
    files = {"net/ipv6_route": routes}
    files.update(
        {f"sys/net/ipv6/conf/{name}/accept_ra": f"{value}\n" for name, value in (("eth0", own), ("all", usual))}
    )
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = Uplinks(proc=tmp_path).interfaces()
    assert [found[name].loses_routes for name in ("eth0", "eth1", "lo")] == [loses, False, False]


def test_a_kernel_without_ipv6_loses_no_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess([], 0, json.dumps(SHOWN), "")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: said)
    assert not any(one.loses_routes for one in Uplinks(proc=tmp_path).interfaces().values())


def test_what_ip_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess([], 2, "", "RTNETLINK answers:\n Operation not permitted\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: said)
    with pytest.raises(PocketError, match=r"attach the uplink eth1 to the bridge br0: RTNETLINK .*not permitted$"):
        Uplinks().attach("eth1", "br0")

    def missing(*_args: Any, **_options: Any) -> None:
        raise FileNotFoundError("ip")

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(PocketError, match="apt install iproute2"):
        Uplinks().interfaces()


def test_a_hook_is_written_whole_and_acts_on_its_own_network_alone(tmp_path: Path) -> None:
    hooks = Uplinks(tmp_path / "hooks" / "network.d")
    assert hooked(hooks.hook("pocket")) is hooks.hook("pocket") is None
    hooks.write_hook("pocket", None)
    hooks.write_hook("pocket", hook_text("pocket", "eth1", "pocket0"))
    assert hooked(hooks.hook("pocket")) == "eth1"
    path = tmp_path / "hooks" / "network.d" / "pocket-cloud-pocket"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert [one.name for one in path.parent.parent.iterdir()] == ["network.d"]
    calls = tmp_path / "calls"
    (tmp_path / "ip").write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    (tmp_path / "ip").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for words in (["other", "started"], ["pocket", "stopped"], ["pocket", "started"]):
        subprocess.run([path, *words, "begin", "-"], check=True, env=environment)
    assert calls.read_text() == "link set dev eth1 master pocket0 up\n"
    hooks.write_hook("pocket", None)
    assert hooks.hook("pocket") is None


@pytest.mark.parametrize("half", ["", "#!/bin/sh\n# Makes eth9"])
@pytest.mark.parametrize("there", [None, hook_text("pocket", "eth1", "pocket0")])
@pytest.mark.parametrize("wanted", [None, hook_text("pocket", "eth1", "pocket0")])
def test_what_a_killed_run_left_of_a_hook_is_found(
    tmp_path: Path, wanted: str | None, there: str | None, half: str
) -> None:
    hooks = Uplinks(tmp_path / "hooks" / "network.d")
    hooks.write_hook("pocket", hook_text("pocket", "eth0", "pocket0"))
    hooks.write_hook("pocket", there)
    (tmp_path / "hooks" / ".pocket-cloud-pocket").write_text(half)
    assert hooks.hook("pocket") not in (None, hook_text("pocket", "eth1", "pocket0"))
    assert hooks.hook("other") is None
    hooks.write_hook("pocket", wanted)
    assert hooks.hook("pocket") == wanted
    assert [one.name for one in (tmp_path / "hooks").iterdir()] == ["network.d"]
