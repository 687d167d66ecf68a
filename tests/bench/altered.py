# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module with what a measurement needs and no user does: altered.py MODULE ALTERATION... <arguments

paused: guests are started paused, so that only the control plane works. unstarted: they are not started at all.
unpaced: nobody waits for a guest's boot. pace=N: so many boot at a time. calls=FILE: writes there, as JSON, how often
each function of libvirt was called, and the seconds of all its calls together.
"""

from __future__ import annotations

import atexit
import json
import runpy
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import libvirt

from ansible_collections.pocket.cloud.plugins.module_utils._ec2 import capacity

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"


def count_calls(path: str) -> None:
    counted: Counter[str] = Counter()
    took: Counter[str] = Counter()

    def counting(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                counted[name] += 1
                took[name] += time.perf_counter() - begun  # type: ignore[assignment]

        return call

    for name in dir(libvirt.libvirtmod):
        if name.startswith("vir") and callable(getattr(libvirt.libvirtmod, name)):
            setattr(libvirt.libvirtmod, name, counting(name, getattr(libvirt.libvirtmod, name)))

    def tell() -> None:
        told = {name: (count, round(took[name], 3)) for name, count in counted.most_common()}
        Path(path).write_text(json.dumps(told), encoding="utf-8")

    atexit.register(tell)


def main() -> None:
    module, *alterations = sys.argv[1:]
    policed: Any = capacity.Capacity
    for alteration in alterations:
        name, _sign, value = alteration.partition("=")
        if name == "paused":
            libvirt.virDomain.create = lambda self: self.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        elif name == "unstarted":
            libvirt.virDomain.create = lambda _self: 0
        elif name == "unpaced":
            policed.boots_at_once = sys.maxsize
        elif name == "pace":
            policed.boots_at_once = int(value)
        elif name == "calls":
            count_calls(value)
        else:
            sys.exit(f"altered.py: no such alteration: {alteration}")
    sys.argv[:] = [module]
    runpy.run_path(str(MODULES / f"{module}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
