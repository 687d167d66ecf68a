# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""These tests run in a kernel of their own: outside it, pytest collects them, boots it, and passes their reports on.

So each of them counts, can be picked by name, and shows as it ends. Inside, they are ordinary tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("ansible_collections.pocket.cloud.tests.integration.ipvs.director")

from ansible_collections.pocket.cloud.tests.integration.ipvs import uml
from ansible_collections.pocket.cloud.tests.integration.ipvs.director import Director, Interpreter

HERE = Path(__file__).parent
INSIDE = uml.INSIDE in os.environ


class Relay:
    """Runs all of the session's tests in one boot, and hands out their reports one test at a time."""

    def __init__(self, session: pytest.Session) -> None:
        tests = [item.nodeid for item in session.items if HERE in item.path.parents]
        self._machine = uml.Machine([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests])
        self._stream = self._machine.reports()
        self._config = session.config
        self._account = ""
        self._early: dict[str, list[pytest.TestReport]] = {}

    def reports_of(self, item: pytest.Item) -> list[pytest.TestReport]:
        found = self._early.pop(item.nodeid, [])
        while not any(report.when == "teardown" for report in found):
            data = next(self._stream, None)
            if data is None:
                account, self._account = self._account or self._machine.account(), "(see the first such test)"
                return [*found, _lost(item, account)]
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
            if report.nodeid == item.nodeid:
                found.append(report)
            else:
                self._early.setdefault(report.nodeid, []).append(report)
        return found

    def close(self) -> None:
        self._machine.close()


def _lost(item: pytest.Item, account: str) -> pytest.TestReport:
    text = f"The test kernel ended, or fell silent, without a report of this test.\n{account}"
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")


_RELAY = pytest.StashKey[Relay]()
_CONFIGS: list[pytest.Config] = []  # a hook that reports gets none


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _CONFIGS.append(config)
    reason = None if INSIDE else uml.obstacle()
    for item in items:
        if reason and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    if INSIDE or item.get_closest_marker("skip"):
        return None
    if _RELAY not in item.session.stash:
        item.session.stash[_RELAY] = Relay(item.session)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in item.session.stash[_RELAY].reports_of(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if INSIDE:
        config = _CONFIGS[0]
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        with uml.REPORTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(data) + "\n")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _RELAY in session.stash:
        session.stash[_RELAY].close()


@pytest.fixture(scope="session")
def _ipvs() -> None:
    """The way out that the modules name."""
    subprocess.run(["modprobe", "ip_vs"], check=True)


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    """The Python that executes the modules."""
    with Interpreter() as running:
        yield running


@pytest.fixture
def director(interpreter: Interpreter, _ipvs: None) -> Iterator[Director]:
    """A kernel with an empty table, and an interpreter that runs modules on it."""
    director = Director(interpreter)
    director.clear()
    yield director
    director.clear()
