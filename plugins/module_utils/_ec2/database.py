# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of a store: what libvirt cannot hold, in one SQLite file. PRIVATE to the collection.

Reading never creates it, so that check mode works on a host that has no store yet.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .._errors import PocketError

__all__ = ["Database", "Records", "cannot", "open_private"]

# Each brings a database one version further; those of a release stay as they are.
_MIGRATIONS = (
    (
        """CREATE TABLE images (
            name TEXT PRIMARY KEY,
            image_id TEXT NOT NULL,
            disk_format TEXT NOT NULL,
            virtual_size INTEGER NOT NULL,
            creation_date TEXT NOT NULL,
            description TEXT NOT NULL,
            source_location TEXT NOT NULL,
            source_size INTEGER NOT NULL,
            source_mtime_ns INTEGER,
            source_checksum TEXT NOT NULL
        )""",
        "CREATE INDEX images_by_id ON images (image_id)",
        """CREATE TABLE tombstones (
            instance_id TEXT PRIMARY KEY,
            terminated_at TEXT NOT NULL,
            record TEXT NOT NULL
        )""",
    ),
    ("CREATE TABLE records (kind TEXT NOT NULL, id TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (kind, id))",),
)


class Database:
    """The database in the file `path`.

    :param create: makes the directories that the file belongs in; called before the first write.
    """

    def __init__(self, path: Path, create: Callable[[], None]) -> None:
        self._path = path
        self._create = create

    def read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """The rows that `query` finds; none where there is no database, or an older one has no such table."""
        if not _exists(self._path):
            return []
        try:
            with closing(self._connect()) as connection:
                version = self._version(connection)
                if version == 0:  # its maker was killed before the schema was in
                    return []
                if version < len(_MIGRATIONS) and " records " in query:
                    return []
                return list(connection.execute(query, values))
        except sqlite3.Error as error:
            raise cannot("read", self._path, error) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the statements or none; creates the database, or brings an older one up to date."""
        self._create()
        try:
            os.close(open_private(self._path))
            with closing(self._connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                for migration in _MIGRATIONS[self._version(connection) :]:
                    for statement in migration:
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
                yield connection
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise cannot("write", self._path, error) from error

    def _connect(self) -> sqlite3.Connection:
        # mode=rw does not create, falls back to reading where the file is write-protected, and rolls back what a
        # killed writer left half done.
        connection = sqlite3.connect(f"{self._path.as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(_MIGRATIONS):
            raise PocketError(
                f"The store {self._path.parent} was written by a newer release of the collection pocket.cloud (schema "
                f"{version}, this one knows {len(_MIGRATIONS)}); upgrade the collection on the controller"
            )
        return version


class Records:
    """All things of one `kind`, such as C(key-pair), each with an id and a record of values that JSON can hold.

    Who writes holds the lock of the store, so that what was read before is still true.
    """

    def __init__(self, database: Database, kind: str) -> None:
        self._database = database
        self._kind = kind

    def all(self) -> dict[str, dict[str, Any]]:
        """Id -> record, by id."""
        rows = self._database.read("SELECT id, record FROM records WHERE kind = ? ORDER BY id", self._kind)
        return {row["id"]: json.loads(row["record"]) for row in rows}

    def get(self, identity: str) -> dict[str, Any] | None:
        """The record of that id, none where there is none."""
        query = "SELECT record FROM records WHERE kind = ? AND id = ?"
        for row in self._database.read(query, self._kind, identity):
            return json.loads(row["record"])  # type: ignore[no-any-return]
        return None

    def put(self, identity: str, record: Mapping[str, Any]) -> None:
        """Enter the record, or give it new values."""
        values = (self._kind, identity, json.dumps(record, sort_keys=True))
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", values)

    def delete(self, identity: str) -> None:
        """Take the record away; done already is well."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM records WHERE kind = ? AND id = ?", (self._kind, identity))


def open_private(path: Path) -> int:
    """Open a file that only its owner may read, made where there is none, and return its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def cannot(verb: str, path: Path, error: Exception) -> PocketError:
    """The error that says that `path` in the store cannot be read, written, made."""
    reason = getattr(error, "strerror", None) or str(error)
    hint = "; run with become: true" if os.geteuid() != 0 else ""
    return PocketError(f"Cannot {verb} {path} in the store: {reason}{hint}")


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # opening it tells why
    return True
