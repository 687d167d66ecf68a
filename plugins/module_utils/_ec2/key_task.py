# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2like_key and ec2like_key_info do. PRIVATE to the collection."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from .._errors import PocketError
from .._plan import Operation, Plan
from .._runner import InfoTask, Task
from .filters import check_filters, matches
from .keygen import Generated, generate
from .keys import KEY_FILTERS, KeyPair, PublicKey, check_key_name, key_pair_of
from .model import check_tags, within_limit
from .store import Store
from .tombstones import timestamp

__all__ = ["KIND", "KeyInfoTask", "KeyTask", "authorized_keys", "key_pairs"]

KIND = "key-pair"
_DEFAULT_TYPE = "rsa"


def key_pairs(store: Store) -> dict[str, KeyPair]:
    """Return all key pairs of the store, by name."""
    return {name: key_pair_of(record) for name, record in store.records(KIND).all().items()}


def authorized_keys(store: Store, name: str | None) -> tuple[str, ...]:
    """Return the lines for the guest of an instance with that key name; none where its key pair is gone."""
    record = None if name is None else store.records(KIND).get(name)
    return () if record is None else (key_pair_of(record).authorized_key(),)


@dataclass(frozen=True)
class Request:
    """What the user asked for; `tags` are none where they were not stated."""

    name: str
    present: bool
    public_key: PublicKey | None
    key_type: str | None
    force: bool
    tags: Mapping[str, str] | None
    purge_tags: bool

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Request:
        """Return the request that `params` state; raises PocketError for what cannot be right."""
        material = params["key_material"]
        return cls(
            name=check_key_name(params["name"], "name"),
            present=params["state"] == "present",
            public_key=None if material is None else PublicKey.of(material),
            key_type=params["key_type"],
            force=params["force"],
            tags=None if params["tags"] is None else check_tags(params["tags"]),
            purge_tags=params["purge_tags"],
        )

    def tags_of(self, old: Mapping[str, str]) -> dict[str, str]:
        """Return the tags of a key pair that has `old` ones."""
        if self.tags is None:
            return dict(old)
        return within_limit(dict(self.tags) if self.purge_tags else {**old, **self.tags})


class KeyTask(Task["KeyPair | None"]):
    """One call of ec2like_key."""

    def __init__(
        self,
        params: Mapping[str, Any],
        store: Store | None = None,
        generator: Callable[[str], Generated] = generate,
    ) -> None:
        self._request = Request.of(params)
        self._store = store or Store(params["store"])
        self._generate = generator
        self._private_key: str | None = None

    def exclusive(self) -> AbstractContextManager[Any]:
        return self._store.lock()

    def undisturbed(self) -> AbstractContextManager[Any]:
        return self._store.undisturbed()

    def read(self) -> KeyPair | None:
        record = self._store.records(KIND).get(self._request.name)
        return None if record is None else key_pair_of(record)

    def plan(self, current: KeyPair | None) -> Plan:
        request = self._request
        subject = f"key pair {request.name}"
        if not request.present:
            if current is None:
                return Plan()
            return Plan((Operation("delete", subject, _printable(current)),))
        tags = dict(sorted(request.tags_of(current.tags if current else {}).items()))
        if current is None or self._differs(current):
            before = None if current is None else _printable(current)
            return Plan((Operation("create", subject, before, self._made(tags), payload=tags),))
        if tags != dict(current.tags):
            after = replace(current, tags=tags)
            return Plan((Operation("tag", subject, _printable(current), _printable(after), payload=after),))
        return Plan()

    def _differs(self, current: KeyPair) -> bool:
        """Whether another key takes the place of the one there is; raises where nobody allowed that."""
        request = self._request
        if request.public_key is not None:
            same, what = request.public_key.line() == current.public_key, "another key than key_material"
        else:
            same, what = request.key_type in (None, current.key_type), f"the type {current.key_type}"
        if same or request.force:
            return not same
        raise PocketError(
            f"name: there is a key pair {request.name!r} already, and it has {what}; choose another name, or replace "
            "it with force: true",
            code="InvalidKeyPair.Duplicate",
        )

    def _made(self, tags: Mapping[str, str]) -> dict[str, Any]:
        """Describe what is made; of a pair that is to be created nothing is known before but its type."""
        key = self._request.public_key
        if key is None:
            return {"key_type": self._request.key_type or _DEFAULT_TYPE, "created": True, "tags": dict(tags)}
        return {"key_type": key.key_type, "key_fingerprint": key.imported_fingerprint(), "tags": dict(tags)}

    def apply(self, plan: Plan) -> None:
        register = self._store.records(KIND)
        for operation in plan:
            if operation.action == "delete":
                register.delete(self._request.name)
            elif operation.action == "tag":
                register.put(self._request.name, operation.payload.record())
            else:
                register.put(self._request.name, self._new(operation.payload).record())

    def _new(self, tags: Mapping[str, str]) -> KeyPair:
        key = self._request.public_key
        if key is None:
            made = self._generate(self._request.key_type or _DEFAULT_TYPE)
            self._private_key = made.private_key
            key, fingerprint = made.public_key, made.fingerprint
        else:
            fingerprint = key.imported_fingerprint()
        return KeyPair(
            key_name=self._request.name,
            key_pair_id=f"key-{secrets.token_hex(9)[:17]}",
            key_type=key.key_type,
            key_fingerprint=fingerprint,
            public_key=key.line(),
            create_time=timestamp(datetime.now(timezone.utc)),
            tags=tags,
        )

    def verify(self, plan: Plan, after: KeyPair | None) -> None:
        if (after is None) == self._request.present or self.plan(after).changed:
            raise PocketError(
                f"The store did not keep the key pair {self._request.name!r} as it was asked", changed=True
            )

    def result(self, plan: Plan, state: KeyPair | None, applied: bool) -> dict[str, Any]:
        if state is None:
            return {"key": None}
        private = {"private_key": self._private_key} if self._private_key is not None else {}
        return {"key": {**state.ec2(), **private}}


class KeyInfoTask(InfoTask["dict[str, KeyPair]"]):
    """One call of ec2like_key_info."""

    def __init__(self, params: Mapping[str, Any], store: Store | None = None) -> None:
        self._names = params["names"]
        self._ids = params["ids"]
        self._filters = check_filters(params["filters"], KEY_FILTERS)
        self._store = store or Store(params["store"])

    def read(self) -> dict[str, KeyPair]:
        return key_pairs(self._store)

    def result(self, plan: Plan, state: dict[str, KeyPair], applied: bool) -> dict[str, Any]:
        chosen = [pair for pair in state.values() if matches(pair, self._filters, KEY_FILTERS)]
        for option, stated, attribute in (("names", self._names, "key_name"), ("ids", self._ids, "key_pair_id")):
            if stated is None:
                continue
            known = {getattr(pair, attribute) for pair in state.values()}
            for one in stated:
                if one not in known:
                    raise PocketError(
                        f"{option}: there is no key pair {one!r} in the store {self._store.root}",
                        code="InvalidKeyPair.NotFound",
                    )
            chosen = [pair for pair in chosen if getattr(pair, attribute) in stated]
        return {"keypairs": [pair.ec2() for pair in chosen]}


def _printable(pair: KeyPair) -> dict[str, Any]:
    return {
        "key_type": pair.key_type,
        "key_fingerprint": pair.key_fingerprint,
        "tags": dict(sorted(pair.tags.items())),
    }
