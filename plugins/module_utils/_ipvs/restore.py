# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores what all declarations of this director ask for. PRIVATE to the collection.

C(python3 -m pocket_cloud._ipvs.restore) runs it at boot. It adds and edits, removes addresses that it added and that
are no more declared, and removes no service. A declaration that cannot be met does not keep the others from it.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from typing import Optional

from .._errors import PocketError
from .backend import exclusive
from .declarations import Declaration, Files, load_text, path_of
from .reconcile import Aim, Host, make_aim, reconcile_plan

__all__ = ["main", "restore"]


def restore(
    open_host: Callable[[Optional[str]], Host], files: Files, say: Callable[[str], None], check: bool = False
) -> list[str]:
    """Restore everything; the sentences about what could not be restored."""
    problems: list[str] = []
    declarations = _load(files, problems)
    complete = not problems
    for declaration in declarations:
        others = [one for one in declarations if one is not declaration and one.namespace == declaration.namespace]
        try:
            aim = make_aim(declaration, others, complete=complete)
            _reconcile(open_host(declaration.namespace), aim, say, check)
        except PocketError as error:
            problems.append(f"{declaration.name}: {error.message}")
    return problems


def _load(files: Files, problems: list[str]) -> list[Declaration]:
    loaded = []
    for name in files.names():
        try:
            loaded.append(load_text(name, files.read(path_of(name)) or ""))
        except PocketError as error:
            problems.append(error.message)
    return loaded


def _reconcile(host: Host, aim: Aim, say: Callable[[str], None], check: bool) -> None:
    present = host.read(aim)
    plan = reconcile_plan(present, aim)
    for operation in plan:
        say(f"{operation.action} {operation.subject}")
    if plan.changed and not check:
        host.apply(plan)
        missed = host.verify(plan, host.read(aim))
        if missed:
            raise PocketError(f"The kernel did not keep all of it: {'; '.join(missed)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit status 0 when everything declared is there."""
    parser = argparse.ArgumentParser(
        prog="python3 -m pocket_cloud._ipvs.restore", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--check", action="store_true", help="only tell what would be written")
    check = parser.parse_args(arguments).check
    with exclusive():
        problems = restore(Host, Files(), print, check)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    gc.disable()  # it would go through a large table again and again, and there is nothing to collect
    status = main()
    gc.freeze()  # nor at the end
    sys.exit(status)  # pylint: disable=ansible-bad-function  # a program, not a module
