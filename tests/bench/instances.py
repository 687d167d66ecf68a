# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long instances take, on a private host with a real libvirtd: beside what libvirt itself needs for as many.

What is compared are whole processes on the target, by its own Python; plays are compared with plays.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".cache" / "collections"))

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.domain_xml import Files, domain_xml
from ansible_collections.pocket.cloud.plugins.module_utils._ec2.request import Template
from ansible_collections.pocket.cloud.tests.bench.instances_loops import bare_tasks, same_tasks
from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import SMALL, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import (
    COLLECTIONS,
    PYTHON,
    Host,
    arguments,
    why_not,
)
from ansible_collections.pocket.cloud.tests.unit.many_instances import many, write_host

HERE = Path(__file__).parent
PEERS = ROOT / ".cache" / "bench" / "collections"
GUEST = Path(os.environ.get("POCKET_CLOUD_CACHE") or Path.home() / ".cache" / "pocket-cloud") / "guest.qcow2"
REPEATS = 3
FORTY = 40
FILTER = "floor"
FILTER_XML = "/run/filter.xml"
STORE = "/var/lib/pocket-cloud"
WEB = {"pool": "web"}
_PAUSED = """
import libvirt

libvirt.virDomain.create = lambda self: self.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
"""
TINY = {"vcpus": 1, "memory_mib": 32}  # so that any host has room for many


class Measured(NamedTuple):
    """A whole process: its seconds, its peak memory in MiB, what it printed."""

    seconds: float
    memory_mib: float
    output: str


class Bench:
    """The host, and what is timed on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = Host(directory)
        self.host.start_libvirt()

    def measure(self, *command: Any, text: str = "", timeout: float = 900) -> Measured:
        """Run a process on the host to its end."""
        done = self.host.run([PYTHON, HERE / "measured.py", *map(str, command)], text=text, timeout=timeout)
        found = json.loads(done.stdout)
        assert found["status"] == 0, f"{command} failed: {found['output'][:2000]} {done.stderr[-2000:]}"
        return Measured(found["seconds"], found["memory_mib"], found["output"])

    def module(self, module: str, *alterations: str, **params: Any) -> Measured:
        """Run a module, altered as a measurement needs it."""
        done = self.measure(
            PYTHON, HERE / "altered.py", module, *alterations, text=arguments({"store": STORE, **params})
        )
        assert not json.loads(done.output).get("failed"), done.output[:2000]
        return done

    def instances(self, *alterations: str, **params: Any) -> Measured:
        stated = {"image_id": "guest", "accel": "tcg", "wait": False, "tags": WEB, **SMALL, **params}
        return self.module("ec2like_instance", *alterations, **stated)

    def floor(self, *words: Any, text: str = "") -> Measured:
        return self.measure(PYTHON, HERE / "instances_floor.py", *words, text=text)

    @contextmanager
    def network_and_image(self, image: Path) -> Iterator[None]:
        self.module("ec2like_network")
        self.module("ec2like_image", name="guest", path=str(image))
        yield
        self.instances(state="terminated")
        self.module("ec2like_image", name="guest", state="absent")
        self.module("ec2like_network", state="absent")

    def ansible(self, program: str, *words: Any) -> Measured:
        """Run one of Ansible's programs on the host, for the host."""
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{PEERS}",
            "ANSIBLE_HOME": self.directory / "ansible",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        env = ["env", *(f"{name}={value}" for name, value in settings.items()), sys.executable]
        return self.measure(*env, Path(sys.executable).with_name(program), *words)

    def play(self, *tasks: dict[str, Any]) -> Measured:
        book = self.directory / "play.yml"
        book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
        variables = json.dumps({"ansible_python_interpreter": PYTHON})
        return self.ansible("ansible-playbook", "-i", "localhost,", "-c", "local", "-e", variables, book)


# What is printed


def report(what: str, ours: list[float], theirs: list[float], limit: float) -> None:
    """One line: both medians, the median of the pairs' ratios, and whether it is within its limit."""
    ratio = median(one / other for one, other in zip(ours, theirs))
    verdict = "met" if ratio <= limit else "MISSED"
    print(
        f"{what:58} {median(ours):8.2f} s {median(theirs):8.2f} s {ratio:6.2f} (at most {limit:.2f}: {verdict})",
        flush=True,
    )


def beyond(what: str, ours: list[float], floor: list[float], limit: float) -> None:
    """One line: both medians, the median of the pairs' differences, and whether it is within its limit."""
    more = median(one - other for one, other in zip(ours, floor))
    verdict = "met" if more <= limit else "MISSED"
    print(
        f"{what:58} {median(ours):8.2f} s {median(floor):8.2f} s  +{more:.2f} s (at most {limit:.2f} s: {verdict})",
        flush=True,
    )


# The figures


def control_plane(bench: Bench, guarded: bool = True) -> None:
    """Create and terminate 40, guests paused, beside libvirt alone and beside plays with loops.

    :param guarded: whether the machines of both sides have network filters, of which libvirt has the most to do.
    """
    with bench.network_and_image(idle_image(bench.directory)):
        (image,) = bench.host.path(f"{STORE}/images").glob("*.*")
        base, overlays = f"{STORE}/images/{image.name}", Path(STORE) / "floor"
        bench.instances("unstarted", exact_count=1)
        (name,) = bench.host.virsh("list", "--name", "--all").split()
        text = bench.host.virsh("dumpxml", "--inactive", name)
        network_filter(bench, text)
        bench.instances(state="terminated")
        text = text if guarded else unguarded(text)
        made, ended, least_made, least_ended = [], [], [], []
        for _repeat in range(REPEATS):
            least_made.append(bench.floor("create", base, overlays, FORTY, FILTER, text=text).seconds)
            least_ended.append(bench.floor("destroy", overlays).seconds)
            made.append(bench.instances("paused", "unpaced", exact_count=FORTY, source_dest_check=guarded).seconds)
            ended.append(bench.instances(state="terminated").seconds)
        report("40 instances, paused, beside libvirt alone", made, least_made, 1.25)
        report("terminating 40 running ones, beside libvirt alone", ended, least_ended, 1.25)
        if PEERS.is_dir():
            bare, same = peer(bench, base, text)
            play = our_play(bench, guarded)
            report("a play for 40, beside loops over community.libvirt", [play], [same], 0.2)
            report("  the same beside loops that only define and start", [play], [bare], 0.2)


def without_filters(bench: Bench) -> None:
    """The same without network filters, on either side."""
    control_plane(bench, guarded=False)


def unguarded(text: str) -> str:
    """Return the definition without network filters."""
    return re.sub("<filterref [^>]*/>", "", text)


def network_filter(bench: Bench, text: str) -> None:
    """Define a filter with the rules that the instance of `text` has: they are most of what libvirt has to do."""
    found = re.search("<filterref filter='([^']+)'", text)
    assert found
    xml = bench.host.virsh("nwfilter-dumpxml", found[1])
    copy = re.sub("<uuid>.*?</uuid>", "", xml).replace(f"name='{found[1]}'", f"name='{FILTER}'")
    bench.host.path(FILTER_XML).write_text(copy)
    bench.host.virsh("nwfilter-define", FILTER_XML)


def our_play(bench: Bench, guarded: bool) -> float:
    stated = {
        "source_dest_check": guarded,
        "store": STORE,
        "image_id": "guest",
        "accel": "tcg",
        "wait": False,
        "tags": WEB,
        **SMALL,
    }
    # It is control that is measured: guests are paused. Those of the peer, which cannot do so, start while it loops.
    library = bench.directory / "library"
    library.mkdir(exist_ok=True)
    module = (ROOT / "plugins" / "modules" / "ec2like_instance.py").read_text(encoding="utf-8")
    (library / "ec2like_instance_paused.py").write_text(module.replace("\n\ndef main(", _PAUSED + "\n\ndef main(", 1))
    policy = bench.host.path(f"{STORE}/capacity.json")
    policy.write_text(json.dumps({"boots_at_once": FORTY}))
    seconds = bench.play({"name": "Forty", "ec2like_instance_paused": {**stated, "exact_count": FORTY}}).seconds
    assert len(bench.host.virsh("list", "--state-paused", "--name").split()) == FORTY
    policy.unlink()
    bench.instances(state="terminated")
    return seconds


def peer(bench: Bench, image: str, text: str) -> tuple[float, float]:
    """The seconds of two plays that loop: one that makes bare machines, and one that makes what ours makes."""
    place = Path(STORE) / "floor"
    bare = bench.play(*bare_tasks(image, place, text, [FILTER] * FORTY)).seconds
    bench.floor("destroy", place)
    names = [f"{FILTER}-{number}" for number in range(FORTY)]
    model = bench.host.path(FILTER_XML).read_text()
    filters = {name: model.replace(f"name='{FILTER}'", f"name='{name}'") for name in names}
    same = bench.play(*same_tasks(image, place, text, filters)).seconds
    bench.floor("destroy", place)
    return bare, same


def boot(bench: Bench) -> None:
    """Launch 40 until each answers, beside the best pace of those tried by hand."""
    with bench.network_and_image(GUEST):
        by_hand = {}
        for pace in (2, 3, 4):
            bench.instances("unstarted", exact_count=FORTY)
            by_hand[pace] = max(json.loads(bench.floor("boot", 80, pace).output))
            bench.instances(state="terminated")
            print(f"  by hand, {pace} booting at a time: {by_hand[pace]:.1f} s", flush=True)
        ours = bench.instances(exact_count=FORTY, wait=True, wait_port=80, wait_timeout=600).seconds
        report("40 guests that answer, beside the best pace by hand", [ours], [min(by_hand.values())], 1.1)


def unchanged(bench: Bench) -> None:
    """A task that changes nothing over 200 instances, beside a task that does nothing at all."""
    with bench.network_and_image(idle_image(bench.directory)):
        stated = {"store": STORE, "image_id": "guest", "accel": "tcg", "wait": False, "tags": WEB, **TINY}
        bench.instances("unstarted", exact_count=200, **TINY)
        task = {"name": "As it is", "pocket.cloud.ec2like_instance": {**stated, "exact_count": 200}}
        ours, floor = [], []
        for _repeat in range(REPEATS):
            floor.append(bench.play({"name": "Nothing", "ansible.builtin.ping": {}}).seconds)
            done = bench.play(task)
            assert "changed=0" in done.output
            ours.append(done.seconds)
        beyond("nothing to change over 200, beyond a task that does nothing", ours, floor, 2.0)


def information(bench: Bench) -> None:
    """ec2like_instance_info over more and more domains of libvirt's test driver."""
    for count in (250, 500, 1000, 2000):
        uri = write_host(bench.directory / f"host-{count}.xml", many(count))
        runs = [bench.module("ec2like_instance_info", uri=uri) for _repeat in range(REPEATS)]
        assert len(json.loads(runs[0].output)["instances"]) == count
        seconds, memory = median(run.seconds for run in runs), max(run.memory_mib for run in runs)
        limit = f" (1 s: {verdict(seconds, 1)}; 150 MiB: {verdict(memory, 150)})" if count == 1000 else ""
        each = seconds / count * 1e3
        print(
            f"info over {count:5,} domains: {seconds:5.2f} s, {each:4.2f} ms each, {memory:3.0f} MiB{limit}", flush=True
        )


def verdict(value: float, limit: float) -> str:
    return "met" if value < limit else "MISSED"


def inventory(bench: Bench) -> None:
    """ansible-inventory over 1,000 instances that a real libvirtd has defined, beside one over nothing."""
    (bench.directory / "empty.yml").write_text("all: {}\n")
    bench.module("ec2like_network")
    definitions = [domain_xml(one, Files.of(Path(STORE) / one.instance_id), Template()) for one in many(1000)]
    define = "import json, libvirt, sys; to = libvirt.open(); [to.defineXML(xml) for xml in json.load(sys.stdin)]"
    bench.measure(PYTHON, "-c", define, text=json.dumps(definitions))
    config = {
        "plugin": "pocket.cloud.ec2like",
        "hosts": [{"name": "here", "store": STORE}],
        "filters": {"instance-state-name": "stopped"},
        "keyed_groups": [{"key": "tags.pool", "prefix": "pool"}],
    }
    (bench.directory / "a.ec2like.yml").write_text(json.dumps(config))
    ours, floor = [], []
    for _repeat in range(REPEATS):
        floor.append(bench.ansible("ansible-inventory", "-i", bench.directory / "empty.yml", "--list").seconds)
        listed = bench.ansible("ansible-inventory", "-i", bench.directory / "a.ec2like.yml", "--list")
        assert len(json.loads(listed.output)["_meta"]["hostvars"]) == 1000
        ours.append(listed.seconds)
    beyond("an inventory of 1,000 instances, beyond an empty one", ours, floor, 1.5)


FIGURES: dict[str, Callable[[Bench], None]] = {
    "info": information,
    "inventory": inventory,
    "unchanged": unchanged,
    "control": control_plane,
    "unfiltered": without_filters,
    "boot": boot,
}


def main() -> None:
    if reason := why_not():
        sys.exit(f"bench: {reason}")
    for name in sys.argv[1:]:
        if name not in FIGURES:
            sys.exit(f"bench: there is no figure {name}; there are {', '.join(FIGURES)}")
    print(f"{'whole processes, medians':58} {'ours':>10} {'theirs':>10}  ratio", flush=True)
    for name in sys.argv[1:] or FIGURES:
        with tempfile.TemporaryDirectory(prefix="pocket-cloud-bench.") as directory:
            bench = Bench(Path(directory))
            try:
                FIGURES[name](bench)
            finally:
                bench.host.close()


if __name__ == "__main__":
    main()
