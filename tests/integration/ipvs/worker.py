# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs module files in the interpreter that executes this.

It reads one JSON object a line, with module, params, check and user, and answers with what the module printed. The
modules and what they import stay loaded, for a start of Python with Ansible takes a second in the test kernel.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import os
import pkgutil
import sys
import traceback

from ansible.module_utils.testing import patch_module_args

MODULES = "ansible_collections.pocket.cloud.plugins.modules."
UTILITIES = "ansible_collections.pocket.cloud.plugins.module_utils._ipvs"


def execute(request: dict) -> dict:
    """Be the module once."""
    module = importlib.import_module(MODULES + request["module"])
    arguments = {**request["params"], "_ansible_check_mode": request["check"], "_ansible_diff": True}
    status, out, err = None, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch_module_args(arguments):
        try:
            module.main()
        except SystemExit as done:
            status = done.code
        except Exception:
            traceback.print_exc()
    return {"stdout": out.getvalue(), "stderr": err.getvalue(), "status": status}


def execute_as(request: dict) -> dict:
    """Be the module once, as another user, in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
        os.write(writer, json.dumps(execute(request)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        answer: dict = json.loads(answers.read())
    os.waitpid(child, 0)
    return answer


def main() -> None:
    for name in ("config", "dest", "info", "restore", "service", "sync_daemon", "table", "zero"):
        importlib.import_module(f"{MODULES}ipvs_{name}")
    # What is imported when it is needed must be there already: another user may not be let into the checkout.
    package = importlib.import_module(UTILITIES)
    for _finder, name, _is_package in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{UTILITIES}.{name}")
    pkgutil.get_data = functools.cache(pkgutil.get_data)
    importlib.import_module(f"{UTILITIES}.restore_task")._sources()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = execute(request) if request["user"] is None else execute_as(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
