# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import reservations
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.model import network_uuid
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.network_xml import network_of, network_xml
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.networks import Host, Network
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

HOST = Host("52:54:00:01:02:03", ipaddress.IPv4Address("10.80.0.2"), "i-1")


def network(cidr: str = "10.80.0.1/24") -> Network:
    return Network("pocket", "pocket0", ipaddress.IPv4Interface(cidr), uuid=network_uuid("pocket"))


def options(xml: str) -> list[str]:
    return re.findall(r"dnsmasq:option value=\"([^\"]*)\"", xml)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for libvirt's directories."""
    monkeypatch.setattr(reservations, "_DIRECTORY", re.compile(f'value="dhcp-hostsdir=({tmp_path}/[a-z]+)"'))
    monkeypatch.setattr(reservations, "_PIDS", tmp_path)
    return tmp_path


@pytest.fixture
def watching(place: Path) -> str:
    """The live definition of a network whose DHCP server watches C(place/hosts)."""
    return f'<dnsmasq:option value="dhcp-hostsdir={place}/hosts"/>'


def test_a_networks_dhcp_server_watches_a_directory_of_its_own() -> None:
    found = options(network_xml(network()))
    assert found[0] == "dhcp-range=10.80.0.1,static,255.255.255.0"
    assert found[-1] == f"dhcp-hostsdir=/var/lib/libvirt/dnsmasq/{network_uuid('pocket')}.pocket"
    # Another subnet is another range, and what others have put there stays.
    theirs = network_xml(network()).replace("<dnsmasq:options>", '<dnsmasq:options><dnsmasq:option value="log-dhcp"/>')
    moved = replace(network_of(theirs, active=True, autostart=True), interface=network("10.9.0.1/16").interface)
    assert options(network_xml(moved)) == ["log-dhcp", "dhcp-range=10.9.0.1,static,255.255.0.0", *found[1:]]


def test_what_is_watched(place: Path, watching: str) -> None:
    assert reservations.watched("<network/>") is None
    assert reservations.watched(watching) is None  # it is not there: libvirt is on another host
    reservations.make(watching)
    assert reservations.watched(watching) == place / "hosts"


def test_what_libvirt_itself_has_told_the_server() -> None:
    xml = "<host mac='52:54:00:AB:02:03' ip='10.80.0.2'/><host id='00:03:00:01:52:54:00:01:02:03' ip='fd00::1'/>"
    assert reservations.started_with(xml) == {"52:54:00:ab:02:03"}


def test_whom_the_server_was_not_told_of(place: Path, watching: str) -> None:
    six = replace(HOST, mac_address="52:54:00:01:02:06", address=ipaddress.IPv6Address("fd00::2"))
    other = replace(HOST, mac_address="52:54:00:01:02:04", address=ipaddress.IPv4Address("10.80.0.3"))
    live = f"{watching}<host mac='{other.mac_address}' ip='10.80.0.3'/>"
    assert reservations.untold(live, [HOST, other, six]) == frozenset()  # libvirt tells it itself
    reservations.make(watching)
    assert reservations.untold(live, [HOST, other, six]) == {HOST.mac_address}
    assert reservations.untold(watching, [HOST, other, six]) == {HOST.mac_address, other.mac_address}
    (place / "hosts" / ".525400010203").write_text("52:54:")
    assert reservations.untold(live, [HOST]) == {HOST.mac_address}
    reservations.tell(place / "hosts", HOST)
    assert reservations.untold(live, [HOST, other, six]) == frozenset()


def test_a_network_whose_server_gives_no_addresses_watches_nothing() -> None:
    assert options(network_xml(replace(network(), dhcp=False))) == []


def test_the_directory_is_there_before_the_network_starts_and_goes_with_it(place: Path, watching: str) -> None:
    reservations.make(watching)
    reservations.tell(place / "hosts", HOST)
    reservations.make(watching)
    assert len(list((place / "hosts").iterdir())) == 1
    reservations.clear(watching)
    assert list((place / "hosts").iterdir()) == []
    reservations.remove(watching)
    reservations.remove(watching)
    assert list(place.iterdir()) == []
    (place / "hosts").write_text("in the way")
    with pytest.raises(PocketError, match=r"Cannot make the directory .*/hosts: File exists"):
        reservations.make(watching)


@pytest.fixture(params=["dnsmasq", "other"])
def server(request: pytest.FixtureRequest, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of that name, which the network's PID file names; a signal that it does not know ends it."""
    program = place / request.param
    shutil.copy(str(shutil.which("sleep")), program)
    # the tests may run where the signal is ignored, as under nohup
    process = subprocess.Popen(["env", "--default-signal=HUP", program, "60"])
    while Path(f"/proc/{process.pid}/comm").read_text().strip() != request.param:  # it gets its name a bit later
        time.sleep(0.01)
    (place / "pocket.pid").write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.wait()


def test_dnsmasq_is_told_and_made_to_forget(place: Path, server: subprocess.Popen[bytes]) -> None:
    reservations.tell(place, HOST)
    path = place / "525400010203"
    assert path.read_text() == "52:54:00:01:02:03,10.80.0.2,i-1\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(place.glob(".*")) == []
    assert server.poll() is None
    reservations.forget(place, "pocket", HOST)
    assert not path.exists()
    if Path(str(server.args[2])).name == "dnsmasq":  # type: ignore[index]
        assert server.wait(5) == -1  # SIGHUP
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0.2)


def test_a_run_that_was_killed_before_it_told_dnsmasq_is_made_up_for(
    place: Path, server: subprocess.Popen[bytes]
) -> None:
    reservations.forget(place, "pocket", HOST)
    if Path(str(server.args[2])).name == "dnsmasq":  # type: ignore[index]
        assert server.wait(5) == -1


def test_what_a_killed_run_left_half_written_goes_with_the_reservation(place: Path) -> None:
    half = place / ".525400010203"
    half.write_text("52:54:")
    reservations.tell(place, HOST)
    assert [path.name for path in place.iterdir()] == ["525400010203"]
    half.write_text("")
    reservations.forget(place, "pocket", HOST)
    half.write_text("")
    reservations.forget(place, "pocket", HOST)
    assert list(place.iterdir()) == []


def test_a_full_or_forbidden_disk_is_said(place: Path) -> None:
    with pytest.raises(PocketError, match=r"Cannot write the reservation /.*/525400010203: No such file"):
        reservations.tell(place / "nowhere", HOST)
