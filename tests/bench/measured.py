# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command, its standard input ours, and prints as JSON its seconds, its peak memory in MiB and its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

reader, writer = os.pipe()
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=writer)
os.close(writer)
with os.fdopen(reader) as printed:
    output = printed.read()
_pid, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "memory_mib": usage.ru_maxrss / 1024, "status": status, "output": output}))
