# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: from a bare host to a load-balanced pool. Started by script/demo, which has set everything up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from pocketlab import plays
from pocketlab.state import LAB_DIR, LabError, State

REQUESTS = 30
INSTANCES = 3
START = time.monotonic()


def say(text: str) -> None:
    """A step of the demo, with the seconds since its start."""
    print(f"\n[{time.monotonic() - START:4.0f}s] {text}", flush=True)


def show(text: str) -> None:
    """A line of a playbook."""
    print(f"        {text}", flush=True)


def lab(state: State, *words: str) -> None:
    """Run the lab's own command."""
    subprocess.run([sys.executable, str(LAB_DIR / "lab"), "--name", state.name, *words], check=True)


def free_web_port() -> int:
    """8080 when nobody has it, else 0: any that is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8080))
        except OSError:
            return 0
    return 8080


def main() -> None:
    state = State(os.environ.get("POCKET_CLOUD_LAB", "demo"))
    say("Building the guest image and the lab host's image (kept for the next time), and booting the lab")
    subprocess.run([str(LAB_DIR / "guest/build")], check=True)
    lab(state, "up", "--forward", f"{free_web_port()}:10.0.2.100:80")
    lab(state, "wait")
    url = plays.url_of(state)

    say("playbooks/site.yml: a KVM host with a bridge, an image, three instances, a virtual service")
    changed = plays.play(state, "site.yml", show=show)

    say(f"Sending {REQUESTS} requests to the virtual service from outside the lab")
    counts = plays.ask_many(url, REQUESTS)
    for instance, answers in counts.items():
        show(f"{instance} answered {answers:2d}")
    if len(counts) != INSTANCES:
        raise LabError(f"{len(counts)} instances answered, and it should have been {INSTANCES}")

    if changed:
        say("playbooks/site.yml once more: it must change nothing")
        again = plays.play(state, "site.yml", show=show)
        if again:
            raise LabError(f"the second run changed something: changed={again} instead of changed=0")
        story = f"the first run changed {changed} things, the second changed=0"
    else:
        story = "this was a second run on the same lab, and changed=0"

    say(f"Done: {story}. Your browser sees the pool at")
    print(f"\n    {url}\n")
    print("Each reload may be answered by another instance. Look into the lab with: tests/lab/lab ssh")
    print("To end it and delete what it made: script/demo --down")


if __name__ == "__main__":
    try:
        main()
    except (LabError, OSError) as error:
        sys.exit(f"demo: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said why
    except KeyboardInterrupt:
        sys.exit("demo: interrupted; the lab may still run, script/demo --down ends it")
