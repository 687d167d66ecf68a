# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a director restores at boot, one file for each declaration. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .._errors import PocketError
from .addresses import Address, parse_address
from .daemon import Daemon, parse_daemon
from .declaration import parse_wanted_list
from .model import DestKey, ServiceKey, declared
from .namespaces import parse_namespace
from .plan import Wanted
from .settings import Settings, parse_settings

__all__ = ["DECLARATIONS", "Declaration", "Files", "load_text", "parse_declaration", "path_of"]

DECLARATIONS = "/etc/pocket-cloud/director.d"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Declaration:
    """What one name declares, in one network namespace: services, virtual addresses, settings, sync daemons."""

    name: str
    wanted: tuple[Wanted, ...] = ()
    addresses: tuple[Address, ...] = ()
    namespace: str | None = None
    settings: Settings = field(default_factory=Settings)
    daemons: tuple[Daemon, ...] = ()

    def content(self) -> dict[str, Any]:
        """It in the options' words, only with what was stated, sorted."""
        wanted = sorted(self.wanted, key=lambda one: one.service.key.order())
        return {
            "namespace": self.namespace,
            "services": [{**declared(one.service), "dests": _dests(one)} for one in wanted],
            "addresses": [address.declaration() for address in sorted(self.addresses)],
            **self.settings.content(),
            **({"sync_daemons": [daemon.content() for daemon in self.daemons]} if self.daemons else {}),
        }

    def text(self) -> str:
        """The content of its file."""
        return json.dumps(self.content(), indent=2) + "\n"

    def dests(self) -> dict[ServiceKey, tuple[DestKey, ...]]:
        """The keys of its services, each with those of its dests."""
        return {one.service.key: tuple(dest.key for dest in one.dests) for one in self.wanted}


def _dests(wanted: Wanted) -> list[dict[str, Any]]:
    return [declared(dest) for dest in sorted(wanted.dests, key=lambda dest: dest.key.order())]


def path_of(name: str) -> str:
    """The file of the declaration `name`."""
    return os.path.join(DECLARATIONS, f"{name}.json")


def parse_declaration(name: str, params: Mapping[str, Any]) -> Declaration:
    """A declaration out of options or of a file's content."""
    if not _NAME.fullmatch(name):
        raise PocketError(
            f"name is {name!r}; give 1 to 64 letters, digits, dots, hyphens and underscores that begin with a letter "
            "or digit, for it becomes the name of a file"
        )
    addresses: list[Address] = []
    for index, item in enumerate(params.get("addresses") or []):
        try:
            addresses.append(parse_address(item))
        except PocketError as error:
            raise PocketError(f"addresses[{index}]: {error.message}") from None
        if addresses.count(addresses[-1]) > 1:
            raise PocketError(f"addresses[{index}] is {addresses[-1]} a second time; list each one once")
    wanted = parse_wanted_list(params.get("services") or [])
    daemons = _parse_daemons(params.get("sync_daemons") or [])
    namespace = parse_namespace(params.get("namespace"))
    return Declaration(name, tuple(wanted), tuple(addresses), namespace, parse_settings(params), tuple(daemons))


def _parse_daemons(params: Sequence[Mapping[str, Any]]) -> list[Daemon]:
    found: list[Daemon] = []
    for index, item in enumerate(params):
        try:
            daemon = parse_daemon(item)
            if daemon.interface is None:
                raise PocketError("interface is missing; give the network interface that the directors share")
        except PocketError as error:
            raise PocketError(f"sync_daemons[{index}]: {error.message}") from None
        if daemon.daemon in [one.daemon for one in found]:
            raise PocketError(f"sync_daemons[{index}] is a second {daemon.daemon}; there can be one of each")
        found.append(daemon)
    return sorted(found, key=lambda one: one.daemon, reverse=True)


def load_text(name: str, text: str) -> Declaration:
    """A declaration out of its file."""
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    except ValueError as error:
        raise PocketError(f"{path_of(name)} is no declaration ({error}); write it anew with ipvs_restore") from None
    try:
        return parse_declaration(name, content)
    except PocketError as error:
        raise PocketError(f"{path_of(name)}: {error.message}") from None
    except (AttributeError, TypeError) as error:  # a list where an object belongs, and the like
        raise PocketError(f"{path_of(name)} is no declaration ({error}); write it anew with ipvs_restore") from None


class Files:
    """The files of this host; each is replaced as a whole, so that a reader or a crash never meets half of one."""

    def read(self, path: str) -> str | None:
        """The content, none where there is no such file."""
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise PocketError(f"Could not read {path}: {error}; run the task as root (become: true)") from error

    def names(self) -> Sequence[str]:
        """The names of the declarations, sorted."""
        try:
            found = os.listdir(DECLARATIONS)
        except OSError:
            return []
        return sorted(name[: -len(".json")] for name in found if name.endswith(".json") and not name.startswith("."))

    def write(self, path: str, text: str) -> None:
        """Replace a file; its directory is made where it is missing."""
        import tempfile  # a boot writes none

        try:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".", suffix=".new")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                    os.fchmod(file.fileno(), 0o644)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            raise PocketError(f"Could not write {path}: {error}; run the task as root (become: true)") from error

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise PocketError(f"Could not remove {path}: {error}; run the task as root (become: true)") from error
