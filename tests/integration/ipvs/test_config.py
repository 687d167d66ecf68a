# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings, sync daemons, counters and connections of the kernel, with ipvsadm and /proc as the witnesses."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director
from ansible_collections.pocket.cloud.tests.integration.ipvs.network import REAL, VIRTUAL, Connection, Network, shares

SUMMED_UP = 3  # seconds; the kernel sums its counters up every two
SYSCTLS = Path("/proc/sys/net/ipv4/vs")
RESTORE = ("env", "PYTHONPATH=/usr/local/lib/pocket-cloud", "/usr/bin/python3", "-m", "pocket_cloud._ipvs.restore")


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def _as_it_was(director: Director) -> Iterator[None]:
    """The kernel's settings afterwards as before, and nothing kept for a next boot."""
    before = {name: (SYSCTLS / name).read_text() for name in ("expire_nodest_conn", "sync_threshold", "sync_ports")}
    yield
    for name, text in before.items():
        (SYSCTLS / name).write_text(text)
    said("ipvsadm", "--set", "900", "120", "300")
    for place in ("/etc/pocket-cloud", "/usr/local/lib/pocket-cloud"):
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def blue() -> Iterator[str]:
    """Another network namespace."""
    said("ip", "netns", "add", "blue")
    yield "blue"
    said("ip", "netns", "delete", "blue")


def timeouts(*prefix: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", said(*prefix, "ipvsadm", "-L", "--timeout"))]


def test_timeouts(director: Director):
    for number, name in enumerate(("tcp", "tcp_fin", "udp")):
        for seconds in (17, 2147483):
            before = timeouts()
            director.run("ipvs_config", timeouts={name: seconds})
            assert timeouts() == [*before[:number], seconds, *before[number + 1 :]]
    assert "2147483" in Path("/etc/pocket-cloud/director.d/ipvs_config.json").read_text()


def test_sysctls(director: Director):
    for values in ({"expire_nodest_conn": 1}, {"expire_nodest_conn": False}, {"sync_threshold": "4 60"}):
        assert director.run("ipvs_config", sysctls=values, persistent=False)["changed"] is True
        for name, value in values.items():
            assert (SYSCTLS / name).read_text().split() == str(int(value) if value is False else value).split()
    assert not Path("/etc/pocket-cloud").exists()
    assert director.info()["sysctls"]["sync_threshold"] == "4 60"


def test_settings_come_back_at_boot(director: Director):
    director.run("ipvs_config", timeouts={"udp": 33}, sysctls={"expire_nodest_conn": 1})
    said("ipvsadm", "--set", "900", "120", "300")
    (SYSCTLS / "expire_nodest_conn").write_text("0")
    said(*RESTORE)
    assert timeouts() == [900, 120, 33]
    assert (SYSCTLS / "expire_nodest_conn").read_text().strip() == "1"


def test_what_the_kernel_refuses_is_told_and_nothing_of_it_stays(director: Director):
    wrong = director.interpreter.run(
        "ipvs_config", {"sysctls": {"expire_nodest_conn": 1, "sync_threshold": "9 3"}, "persistent": False}
    )
    assert "sync_threshold is '9 3', which the kernel refuses" in wrong["msg"]
    assert (SYSCTLS / "expire_nodest_conn").read_text().strip() == "0"
    assert timeouts() == [900, 120, 300]
    assert "does not have; it has am_droprate" in director.refusal("ipvs_config", sysctls={"expire_nodest": 1})


def test_settings_of_another_namespace(director: Director, blue: str):
    director.run("ipvs_config", namespace=blue, timeouts={"udp": 11}, sysctls={"expire_nodest_conn": 1})
    assert timeouts("ip", "netns", "exec", blue)[2] == 11
    assert said("ip", "netns", "exec", blue, "sysctl", "-n", "net.ipv4.vs.expire_nodest_conn").strip() == "1"
    assert timeouts() == [900, 120, 300]
    assert (SYSCTLS / "expire_nodest_conn").read_text().strip() == "0"
    info = director.info(namespace=blue, connections=True)
    assert (info["timeouts"]["udp"], info["connections"]) == (11, [])


def test_every_module_works_in_another_namespace(director: Director, blue: str):
    def there(*command: str) -> str:
        return said("ip", "netns", "exec", blue, *command)

    for command in ("lo up", "wire0 type dummy", "wire0 up"):
        said("ip", "-netns", blue, "link", "add" if "type" in command else "set", *command.split())
    web = {"address": "192.0.2.10", "port": 80}
    director.run("ipvs_service", namespace=blue, **web, scheduler="rr")
    director.run("ipvs_dest", namespace=blue, service=web, address="10.0.0.1")
    director.run("ipvs_table", namespace=blue, services=[{**web, "port": 81}])
    director.run("ipvs_sync_daemon", namespace=blue, daemon="backup", interface="wire0", sync_maxlen=1400)
    director.run("ipvs_config", namespace=blue, timeouts={"tcp": 77}, persistent=False)
    director.run(
        "ipvs_restore",
        namespace=blue,
        name="blue",
        services=[{**web, "port": 82}],
        addresses=[{"address": "192.0.2.10/32", "interface": "wire0"}],
    )
    assert sorted(there("ipvsadm", "-Sn").splitlines()) == [
        "-A -t 192.0.2.10:80 -s rr",
        "-A -t 192.0.2.10:81 -s wlc",
        "-A -t 192.0.2.10:82 -s wlc",
        "-a -t 192.0.2.10:80 -r 10.0.0.1:80 -g -w 1",
    ]
    assert "backup sync daemon (mcast=wire0" in there("ipvsadm", "-L", "--daemon")
    assert "192.0.2.10/32" in there("ip", "address", "show", "dev", "wire0")
    assert director.run("ipvs_zero", namespace=blue, services=[web])["zeroed"] == []
    info = director.info(namespace=blue)
    assert (len(info["services"]), len(info["daemons"]), info["timeouts"]["tcp"]) == (3, 1, 77)
    director.run("ipvs_sync_daemon", namespace=blue, daemon="backup", state="absent")
    own = director.info()
    assert (own["services"], own["daemons"], own["timeouts"]["tcp"]) == ([], [], 900)
    # It is restored there, too, and a namespace that is not there keeps nothing else from boot.
    there("ipvsadm", "-C")
    director.run("ipvs_restore", name="own", services=[web])
    director.clear()
    said(*RESTORE)
    assert there("ipvsadm", "-Sn").splitlines() == ["-A -t 192.0.2.10:82 -s wlc"]
    said("ip", "netns", "delete", blue)
    director.clear()
    incomplete = subprocess.run(RESTORE, capture_output=True, text=True, check=False)
    said("ip", "netns", "add", blue)
    assert (incomplete.returncode, "namespace is 'blue'" in incomplete.stderr) == (1, True)
    assert said("ipvsadm", "-Sn").splitlines() == ["-A -t 192.0.2.10:80 -s wlc"]


@pytest.fixture
def links() -> Iterator[None]:
    for name, address in (("wire0", "192.168.77.1/24"), ("wire1", "192.168.78.1/24")):
        said("ip", "link", "add", name, "type", "dummy")
        said("ip", "address", "add", address, "dev", name)
        said("ip", "address", "add", f"fd77:{name[-1]}::1/64", "dev", name, "nodad")
        said("ip", "link", "set", name, "up")
    yield
    subprocess.run(["ipvsadm", "--stop-daemon", "master"], check=False, capture_output=True)
    subprocess.run(["ipvsadm", "--stop-daemon", "backup"], check=False, capture_output=True)
    for name in ("wire0", "wire1"):
        said("ip", "link", "delete", name)


def daemons() -> list[str]:
    return said("ipvsadm", "-L", "--daemon").splitlines()


def test_each_option_of_a_sync_daemon(director: Director, links: None):
    def run(**params: Any) -> str:
        director.run("ipvs_sync_daemon", daemon="master", **params)
        (line,) = daemons()
        return line

    line = run(interface="wire0", sync_maxlen=1400)
    assert line.startswith(
        "master sync daemon (mcast=wire0, syncid=0, maxlen=1400, group=224.0.0.81, port=8848, ttl=1)"
    )
    assert "mcast=wire1, syncid=0, maxlen=1400" in run(interface="wire1")
    assert "syncid=200," in run(sync_id=200)
    assert "maxlen=1200," in run(sync_maxlen=1200)
    assert "group=224.0.0.99," in run(group="224.0.0.99")
    assert "port=9000," in run(port=9000)
    assert "syncid=200, maxlen=1200, group=224.0.0.99, port=9000, ttl=3" in run(ttl=3)
    assert "group=ff02::99," in run(group="ff02::99")
    director.run("ipvs_sync_daemon", daemon="backup", interface="wire0", sync_maxlen=1300, sync_id=9)
    assert len(daemons()) == 2
    assert {one["daemon"]: one["interface"] for one in director.info()["daemons"]} == {
        "master": "wire1",
        "backup": "wire0",
    }
    for kind in ("master", "backup"):
        assert director.run("ipvs_sync_daemon", daemon=kind, state="absent")["daemon"] is None
    assert daemons() == []


def test_both_sync_daemons_at_once(director: Director, links: None):
    director.run("ipvs_sync_daemon", daemon="both", interface="wire0", sync_maxlen=1400, group="ff02::81")
    options = "(mcast=wire0, syncid=0, maxlen=1400, group=ff02::81, port=8848, ttl=1)"
    assert sorted(daemons()) == [f"backup sync daemon {options}", f"master sync daemon {options}"]
    director.run("ipvs_sync_daemon", daemon="both", sync_id=4)
    assert all("syncid=4," in line for line in daemons())
    director.run("ipvs_sync_daemon", daemon="both", state="absent")
    assert daemons() == []


def test_without_a_length_the_kernel_takes_what_fits(director: Director, links: None):
    started = director.interpreter.run("ipvs_sync_daemon", {"daemon": "master", "interface": "wire0"})
    assert started["daemon"]["sync_maxlen"] == 1472
    assert director.interpreter.run("ipvs_sync_daemon", {"daemon": "master", "interface": "wire0"})["changed"] is False


def test_a_sync_daemon_is_changed_right_after_its_start(director: Director, links: None):
    """The kernel does not answer who stops one that has not run yet."""
    for interface in ("wire0", "wire1"):
        params = {"daemon": "backup", "interface": interface}
        started = director.interpreter.run("ipvs_sync_daemon", params)
        assert (started["daemon"]["interface"], started["daemon"]["sync_maxlen"]) == (interface, 1472)
        assert director.interpreter.run("ipvs_sync_daemon", params)["changed"] is False


def test_a_sync_daemon_without_an_interface_is_refused(director: Director, links: None):
    assert "interface is missing" in director.refusal("ipvs_sync_daemon", daemon="master")
    assert (
        "interface is 'wire9'"
        in director.interpreter.run("ipvs_sync_daemon", {"daemon": "master", "interface": "wire9"})["msg"]
    )


def test_a_sync_daemon_beside_mixed_families_is_told(director: Director, links: None):
    mixed = {"address": "fd00::9", "forwarding": "tunnel"}
    director.table({"address": "192.0.2.10", "port": 80, "dests": [{**mixed, "port": 80}]})
    failed = director.interpreter.run("ipvs_sync_daemon", {"daemon": "master", "interface": "wire0"})
    assert "another address family" in failed["msg"]
    director.clear()
    director.run("ipvs_sync_daemon", daemon="master", interface="wire0", sync_maxlen=1400)
    failed = director.interpreter.run("ipvs_service", {"address": "192.0.2.10", "port": 80, "dests": [mixed]})
    assert "while a sync daemon runs" in failed["msg"]


def test_a_declaration_holds_settings_and_daemons_and_restores_them(director: Director, links: None):
    declared = {
        "timeouts": {"tcp": 700},
        "sysctls": {"expire_nodest_conn": 1},
        "sync_daemons": [
            {"daemon": "master", "interface": "wire0", "sync_id": 3, "sync_maxlen": 1400},
            {
                "daemon": "backup",
                "interface": "wire1",
                "sync_id": 4,
                "sync_maxlen": 1400,
                "group": "ff02::99",
                "ttl": 2,
            },
        ],
        "services": [
            {"address": "192.0.2.10", "port": 80, "dests": [{"address": "10.0.0.1", "upper_threshold": 9}]},
        ],
    }
    director.run("ipvs_restore", name="web", **declared)
    before = (director.info(), daemons())
    director.clear()
    said("ipvsadm", "--set", "900", "120", "300")
    said("ipvsadm", "--stop-daemon", "master")
    said("ipvsadm", "--stop-daemon", "backup")
    (SYSCTLS / "expire_nodest_conn").write_text("0")
    command = ["/usr/bin/python3", "-m", "pocket_cloud._ipvs.restore"]
    environment = {"PYTHONPATH": "/usr/local/lib/pocket-cloud", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    restored = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "create master sync daemon" in restored
    assert len(daemons()) == 2
    assert (director.info(), daemons()) == before
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert again == ""
    director.run("ipvs_restore", name="web", state="absent")
    assert daemons() == []


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as running:
        said("ip", "address", "add", f"{VIRTUAL['ipv4']}/32", "dev", "to-client")
        said("ip", "address", "add", f"{VIRTUAL['ipv6']}/128", "dev", "to-client", "nodad")
        yield running


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_connections_and_counters(director: Director, network: Network, family: str):
    dests = [{"address": REAL[family]["one"], "port": 80, "forwarding": "masquerade"}]
    service = {"address": VIRTUAL[family], "port": 7000, "persistence_timeout": 5, "dests": dests}
    director.table(service, {**service, "port": 7001})
    alive = Connection(family, 7000)
    alive.ask()
    shares(family, 2, 7001)

    listed = director.info(connections=True, connection_filters={"state": "established", "port": 7000})["connections"]
    (one,) = [entry for entry in listed if entry["address"] == VIRTUAL[family]]
    assert (one["protocol"], one["address"], one["port"]) == ("tcp", VIRTUAL[family], 7000)
    assert (one["dest_address"], one["dest_port"], one["template"]) == (REAL[family]["one"], 80, False)
    assert any(f":{one['client_port']} " in line for line in said("ipvsadm", "-Lcn").splitlines())
    filters = {"template": True, "port": [7000], "address": VIRTUAL[family]}
    templates = director.info(connections=True, connection_filters=filters)["connections"]
    assert [entry["client_port"] for entry in templates] == [0]
    nobody = director.info(connections=True, connection_filters={"client_address": "203.0.113.0/24"})
    assert nobody["connections"] == []

    only = {"address": VIRTUAL[family], "port": 7000}
    alive.ask()
    time.sleep(SUMMED_UP)
    zeroed = director.interpreter.run("ipvs_zero", {"services": [only]})
    assert zeroed["changed"] is True
    counts = {one["port"]: one["stats"] for one in director.info()["services"]}
    assert counts[7000]["connections"] == 0
    assert counts[7001]["connections"] == 2
    alive.ask()
    time.sleep(SUMMED_UP)
    assert director.run("ipvs_zero")["zeroed"] != []
    listing = [line.split() for line in said("ipvsadm", "-Ln", "--stats", "--exact").splitlines()]
    assert [words[2] for words in listing if words[0] == "TCP" or (words[0] == "->" and len(words) > 2)] == ["0"] * 4
    assert alive.ask() == "one"
    alive.reset()
