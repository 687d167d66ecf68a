# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual addresses, with a program in the place of ip(8) that notes how it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError
from ansible_collections.pocket.cloud.plugins.module_utils._ipvs.addresses import Address, HostAddresses, parse_address

LISTING = """[{"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}, {"label": "odd"}]},
{"ifname": "eth0", "addr_info": [{"local": "2001:db8::10", "prefixlen": 128}]}]"""


class Program:
    """The stand-in for ip(8)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.calls_file = directory / "calls"
        self.calls_file.touch()
        self.answer(LISTING)

    def answer(self, output: str, error: str = "", status: int = 0) -> None:
        (self._directory / "output").write_text(output)
        (self._directory / "error").write_text(error)
        program = self._directory / "ip"
        here = self._directory
        program.write_text(
            f'#!/bin/sh\necho "$*" >>{here}/calls\n/bin/cat {here}/output\n/bin/cat {here}/error >&2\nexit {status}\n'
        )
        program.chmod(0o755)

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Program(tmp_path)


def test_addresses_are_read_in_canonical_form(program: Program):
    assert HostAddresses().read() == {Address("127.0.0.1/8", "lo"), Address("2001:db8::10/128", "eth0")}
    assert program.calls() == ["-json address show"]


def test_an_address_is_added_and_removed(program: Program):
    HostAddresses().add(Address("192.0.2.10/32", "eth0"))
    HostAddresses("blue").add(Address("2001:db8::10/128", "eth0"))
    HostAddresses().remove(Address("192.0.2.10/32", "eth0"))
    assert program.calls() == [
        "address add 192.0.2.10/32 dev eth0",
        "-netns blue address add 2001:db8::10/128 dev eth0 nodad",
        "address delete 192.0.2.10/32 dev eth0",
    ]


def test_an_interface_that_is_missing_is_named_with_those_that_are_there(program: Program):
    HostAddresses().require_interfaces(["eth0"])
    with pytest.raises(PocketError, match="interface is 'eth9', which this host does not have; give one of lo, eth0"):
        HostAddresses().require_interfaces(["eth0", "eth9"])


def test_what_ip_says_is_passed_on_in_one_line(program: Program):
    program.answer("", "RTNETLINK answers:\nOperation not permitted\n", 2)
    with pytest.raises(PocketError) as caught:
        HostAddresses().add(Address("192.0.2.10/32", "eth0"))
    assert caught.value.message == (
        "Could not add address 192.0.2.10/32 on eth0: ip says: RTNETLINK answers: Operation not permitted; "
        "it needs root (become: true)"
    )


def test_a_host_without_ip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PocketError, match="install the package iproute2"):
        HostAddresses().read()


@pytest.mark.parametrize(
    ("given", "canonical"),
    [("192.0.2.10", "192.0.2.10/32"), ("192.0.2.10/24", "192.0.2.10/24"), ("2001:DB8::0:10/64", "2001:db8::10/64")],
)
def test_an_address_has_one_form(given: str, canonical: str):
    assert parse_address({"address": given, "interface": "eth0"}) == Address(canonical, "eth0")
