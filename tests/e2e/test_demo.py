# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, as a user runs it: the demo twice, the pool scaled up and down under traffic, then all taken away."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from pocketlab import plays
from pocketlab.state import State

from ansible_collections.pocket.cloud.tests.e2e.conftest import ROOT, Clients, Host

NETWORK = "pocket"


def demo(host: Host) -> str:
    """Run script/demo; returns what it said."""
    command = [str(ROOT / "script/demo")]
    environment = {**os.environ, "POCKET_CLOUD_LAB": host.state.name}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3600, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def first_run(demo_host: Host) -> str:
    """What the demo said on a machine without a lab."""
    return demo(demo_host)


def distribution(said: str) -> dict[str, int]:
    """How many requests each instance answered, as the demo printed it."""
    return {name: int(count) for name, count in re.findall(r"(i-[0-9a-f]{17}) answered +(\d+)", said)}


def changes(said: str) -> list[int]:
    """The changed=N of each run of the playbook."""
    return [int(number) for number in re.findall(r"ok=\d+ .*?changed=(\d+)", said)]


def test_the_demo_spreads_thirty_requests_over_three_instances(demo_host: Host, first_run: str) -> None:
    counts = distribution(first_run)
    assert sum(counts.values()) == 30
    assert sorted(counts.values()) == [10, 10, 10]  # round robin
    assert set(counts) == demo_host.domains()
    assert set(demo_host.dests().values()) == {"1"}
    assert len(demo_host.dests()) == 3


def test_the_demo_prints_a_url_that_shows_the_pool(demo_host: Host, first_run: str) -> None:
    url = re.findall(r"http://127\.0\.0\.1:\d+/", first_run)[-1]
    assert plays.ask(url) in demo_host.domains()


def test_the_demos_second_playbook_run_changed_nothing(first_run: str) -> None:
    first, second = changes(first_run)
    assert first > 0
    assert second == 0


def test_the_demo_on_a_running_lab_changes_nothing(demo_host: Host, first_run: str) -> None:
    before = demo_host.domains(), demo_host.dests()
    said = demo(demo_host)
    assert changes(said) == [0]
    assert set(distribution(said)) == set(distribution(first_run))
    assert (demo_host.domains(), demo_host.dests()) == before


@pytest.mark.parametrize("count", [5, 2])
@pytest.mark.usefixtures("first_run")
def test_scaling_by_the_number_loses_no_request(demo_host: Host, count: int) -> None:
    before = demo_host.domains()
    with Clients(plays.url_of(demo_host.state)) as clients:
        assert demo_host.play("site.yml", "-e", f"web_count={count}") > 0
    assert clients.failures == []
    assert clients.answers > 20
    after = demo_host.domains()
    assert len(after) == count
    assert after > before or after < before  # those that stay are the same instances
    assert len(demo_host.dests()) == count
    assert set(plays.ask_many(plays.url_of(demo_host.state), 2 * count)) == after


@pytest.mark.usefixtures("first_run")
def test_no_instance_can_lie_about_its_addresses(demo_host: Host) -> None:
    rules = demo_host.ssh("ebtables -t nat -L")
    for domain in demo_host.domains():
        mac = demo_host.ssh(f"virsh domiflist {domain} | grep -o '52:54:00:[0-9a-f:]*'").strip()
        address = demo_host.ssh(f"virsh domifaddr {domain} | grep -o '10\\.80\\.0\\.[0-9]*'").strip()
        chain = rules.split(f"-s {mac} --ip-src {address} -j ACCEPT\n", 1)[1].split("\n\n", 1)[0]
        assert chain.splitlines()[-1] == "-j DROP"
    assert set(plays.ask_many(plays.url_of(demo_host.state), 6)) == demo_host.domains()


@pytest.mark.usefixtures("first_run")
def test_clients_of_the_pool_need_a_rule_of_an_instances_security_group(demo_host: Host) -> None:
    url, domains = plays.url_of(demo_host.state), demo_host.domains()
    guarded = min(domains)
    clients = {"ports": ["80"], "cidr_ip": ["10.0.2.0/24"]}
    demo_host.task("ec2like_security_group", name="web", rules=[clients])
    demo_host.task("ec2like_instance", instance_ids=[guarded], security_groups=["web"])
    assert set(plays.ask_many(url, 2 * len(domains))) == domains
    demo_host.task("ec2like_security_group", name="web", rules=[{**clients, "ports": ["81"]}])
    answers = [answer_of(url) for _request in range(2 * len(domains))]
    assert set(answers) == {*domains, ""} - {guarded}
    demo_host.task("ec2like_instance", instance_ids=[guarded], security_groups=[])
    assert set(plays.ask_many(url, 2 * len(domains))) == domains
    demo_host.task("ec2like_security_group", name="web", state="absent")


@pytest.mark.usefixtures("first_run")
def test_an_instance_that_does_not_answer_keeps_no_other_from_the_pool(demo_host: Host) -> None:
    domains, dests = demo_host.domains(), demo_host.dests()
    silent = min(domains)
    demo_host.task("ec2like_security_group", name="closed", rules=[])
    found = demo_host.task("ec2like_instance", instance_ids=[silent], security_groups=["closed"])
    address = f"{found['instances'][0]['private_ip_address']}:80"
    for other in dests.keys() - {address}:
        demo_host.ssh(f"ipvsadm -d -t 10.0.2.100:80 -r {other}")
    said: list[str] = []
    stated = ["-e", f"web_count={len(domains)}", "-e", "load_balanced_pool_wait_timeout=10"]
    with pytest.raises(plays.PlayFailedError):
        plays.play(demo_host.state, "site.yml", *stated, show=said.append)
    assert f"the instances {silent} of the pool web do not answer" in "".join(said)
    assert f"did not answer on TCP port 80 at {address.removesuffix(':80')} within 10 s" in "".join(said)
    assert (demo_host.domains(), demo_host.dests()) == (domains, dests)
    answers = {answer_of(plays.url_of(demo_host.state)) for _request in range(2 * len(domains))}
    assert answers == {*domains, ""} - {silent}
    demo_host.task("ec2like_instance", instance_ids=[silent], security_groups=[])
    demo_host.task("ec2like_security_group", name="closed", state="absent")
    assert demo_host.play("site.yml", *stated) == 0
    assert demo_host.dests() == dests


def answer_of(url: str) -> str:
    """The instance that answers within five seconds, empty where none does."""
    try:
        return plays.ask(url, timeout=5)
    except (OSError, IndexError):
        return ""


@pytest.mark.usefixtures("first_run")
def test_what_changes_the_files_of_a_running_instance_stays_within_its_apparmor_profile(demo_host: Host) -> None:
    assert demo_host.task("ec2like_host_info")["host"]["security_model"] == "apparmor"
    domain, other = sorted(demo_host.domains())[:2]
    volume = demo_host.task("ec2like_volume", name="data", size_gib=1, instance=domain)["volume_id"]
    demo_host.task("ec2like_volume", volume_id=volume, size_gib=2)
    demo_host.task("ec2like_snapshot", name="data", volume_id=volume)
    demo_host.task("ec2like_volume", volume_id=volume, instance="")
    demo_host.task("ec2like_snapshot", name="data", state="absent")
    demo_host.task("ec2like_volume", volume_id=volume, state="absent")
    profile, mode = demo_host.ssh(f"cat /proc/$(cat /run/libvirt/qemu/{domain}.pid)/attr/current").split()
    assert mode == "(enforce)"
    assert profile == f"libvirt-{demo_host.ssh(f'virsh domuuid {domain}').strip()}"
    # The one thing that is denied, and logged, is what is tried here: another instance's disk.
    theirs = f"/var/lib/pocket-cloud/instances/{other}/disk.qcow2"
    demo_host.ssh(f"test -s {theirs} && ! aa-exec -p {profile} -- cat {theirs}")
    assert all(theirs in line for line in demo_host.ssh("journalctl -k -b | grep DENIED").splitlines())


@pytest.mark.usefixtures("first_run")
def test_destroy_leaves_nothing(demo_host: Host) -> None:
    demo_host.play("destroy.yml")
    assert demo_host.domains() == set()
    assert NETWORK not in demo_host.ssh("virsh net-list --all --name").split()
    assert "pocket0" not in demo_host.ssh("ip -brief link")
    assert "10.0.2.100" not in demo_host.ssh("ip -brief address")
    assert "pocket" not in demo_host.ssh("virsh nwfilter-list")
    assert "vnet" not in demo_host.ssh("ebtables -t nat -L")
    assert demo_host.ssh("ipvsadm -Sn").strip() == ""
    places = "/var/lib /etc /usr/local/lib /etc/systemd/system /etc/libvirt/qemu"
    names = "-name '*pocket*' -o -name 'i-*' -o -name 'ami-*'"
    assert demo_host.ssh(f"find {places} -maxdepth 2 {names}").split() == []
    # a lock that is removed is no lock, and what the machine can do stays true
    assert set(demo_host.ssh("ls /run/pocket-cloud").split()) <= {"ipvs.lock", "acceleration.json"}
    assert demo_host.ssh("pgrep -c qemu-system || true").strip() == "0"
    assert demo_host.play("destroy.yml") == 0


@pytest.mark.usefixtures("first_run")
def test_down_leaves_nothing_of_the_lab(demo_host: Host) -> None:
    pid = demo_host.state.pid()
    assert pid is not None
    environment = {**os.environ, "POCKET_CLOUD_LAB": demo_host.state.name}
    subprocess.run([str(ROOT / "script/demo"), "--down"], env=environment, check=True)
    assert State(demo_host.state.name).pid() is None
    assert not os.path.exists(f"/proc/{pid}/exe")
    assert not demo_host.state.directory.exists()
