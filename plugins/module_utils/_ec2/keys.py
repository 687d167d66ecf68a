# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key pairs: the public half is kept here, the private one by its owner. Pure. PRIVATE to the collection.

Fingerprints are what EC2 documents for DescribeKeyPairs: of ED25519 keys, SHA-256 of the public key; of RSA keys that
were imported, MD5 of the public key in DER (SubjectPublicKeyInfo); of RSA keys that were created, SHA-1 of the private
key in DER (PKCS #8).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .._errors import PocketError

__all__ = [
    "KEY_FILTERS",
    "KEY_TYPES",
    "KeyPair",
    "PublicKey",
    "check_key_name",
    "created_rsa_fingerprint",
    "key_pair_of",
]

KEY_TYPES = ("rsa", "ed25519")
_ALGORITHMS = {"ssh-rsa": "rsa", "ssh-ed25519": "ed25519"}
_NAME_LENGTH = 255
_RSA_BITS = (1024, 16384)
# AlgorithmIdentifier of rsaEncryption (RFC 8017), in DER.
_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
_EXPECTED = "expected a public key of RSA or ED25519 in one line, as OpenSSH writes it: 'ssh-ed25519 AAAA... comment'"


@dataclass(frozen=True)
class PublicKey:
    """A public key; `blob` is what OpenSSH writes in base 64."""

    key_type: str
    blob: bytes

    @classmethod
    def of(cls, text: str) -> PublicKey:
        """Read a line as in C(authorized_keys), without options; what is wrong never shows the text itself.

        It could be a private key by mistake.
        """
        words = text.split(None, 2)
        if len(text.strip().splitlines()) != 1 or len(words) < 2:
            raise _bad_material("it is not one line of a type and a key")
        if words[0] not in _ALGORITHMS:
            raise _bad_material("its type is none that EC2 takes")
        try:
            blob = base64.b64decode(words[1], validate=True)
            parts = _parts(blob)
        except (binascii.Error, ValueError) as error:
            raise _bad_material("its second word is no key in base 64, or is cut off") from error
        key_type = _ALGORITHMS[words[0]]
        if parts[0] != words[0].encode():
            raise _bad_material(f"it says {words[0]}, but the key in it is of another type")
        if len(parts) != (3 if key_type == "rsa" else 2) or (key_type == "ed25519" and len(parts[1]) != 32):
            raise _bad_material("the key in it has a wrong length")
        if key_type == "rsa":
            bits = int.from_bytes(parts[2], "big").bit_length()
            if not _RSA_BITS[0] <= bits <= _RSA_BITS[1]:
                least, most = _RSA_BITS
                raise _bad_material(f"an RSA key of {bits} bits is out of range, which is {least} to {most}")
        return cls(key_type, blob)

    def line(self) -> str:
        """Return it as OpenSSH writes it, without a comment."""
        return f"ssh-{self.key_type} {base64.b64encode(self.blob).decode()}"

    def imported_fingerprint(self) -> str:
        """Return the fingerprint of a key that was imported; that of ED25519 is the same for one that was created."""
        if self.key_type == "ed25519":
            return base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        _name, exponent, modulus = _parts(self.blob)
        key = _der(0x30, _der(0x02, modulus) + _der(0x02, exponent))
        info = _der(0x30, _RSA_ENCRYPTION + _der(0x03, b"\0" + key))
        return _colons(hashlib.md5(info, usedforsecurity=False).digest())


def created_rsa_fingerprint(private_key: str) -> str:
    """Return the fingerprint of an RSA key pair that was created.

    :param private_key: the private key in PEM, as PKCS #1 has it.
    """
    body = "".join(line for line in private_key.splitlines() if line and not line.startswith("-----"))
    key = base64.b64decode(body, validate=True)
    info = _der(0x30, _der(0x02, b"\0") + _RSA_ENCRYPTION + _der(0x04, key))
    return _colons(hashlib.sha1(info, usedforsecurity=False).digest())


@dataclass(frozen=True)
class KeyPair:
    """A key pair as EC2 describes it.

    :param key_pair_id: C(key-) and 17 hexadecimal digits.
    :param public_key: as OpenSSH writes it, without a comment.
    :param create_time: ISO 8601, UTC, whole seconds.
    """

    key_name: str
    key_pair_id: str
    key_type: str
    key_fingerprint: str
    public_key: str
    create_time: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return what the store keeps of it."""
        return asdict(self)

    def ec2(self) -> dict[str, Any]:
        """Return EC2's description of it, members in snake case."""
        return {**asdict(self), "tags": dict(sorted(self.tags.items()))}

    def authorized_key(self) -> str:
        """Return the line that a guest is given; as in EC2 its comment is the key's name."""
        return f"{self.public_key} {self.key_name}"


def key_pair_of(record: Mapping[str, Any]) -> KeyPair:
    """Return the key pair that a record of the store describes."""
    return KeyPair(**{one.name: record[one.name] for one in fields(KeyPair)})


# Name of the filter -> the values that a key pair has for it.
KEY_FILTERS: dict[str, Callable[[KeyPair], list[str]]] = {
    "fingerprint": lambda pair: [pair.key_fingerprint],
    "key-name": lambda pair: [pair.key_name],
    "key-pair-id": lambda pair: [pair.key_pair_id],
    "key-type": lambda pair: [pair.key_type],
    "tag-key": lambda pair: list(pair.tags),
}


def check_key_name(name: str, parameter: str) -> str:
    """Return `name`, or raise InvalidParameterValue where EC2 would not take it."""
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", name) or len(name) > _NAME_LENGTH:
        shown = repr(name if len(name) <= 40 else name[:37] + "...")
        raise PocketError(
            f"{parameter}: {shown} is no key pair's name; one has 1 to {_NAME_LENGTH} printable ASCII characters and "
            "neither begins nor ends with a space",
            code="InvalidParameterValue",
        )
    return name


def _parts(blob: bytes) -> list[bytes]:
    """Return the strings that a key of OpenSSH's consists of, each with its length before it."""
    parts = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length or length == 0:
            raise ValueError("cut off")
        parts.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    if not parts:
        raise ValueError("empty")
    return parts


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _colons(digest: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in digest)


def _bad_material(why: str) -> PocketError:
    return PocketError(f"key_material: {why}; {_EXPECTED}", code="InvalidKeyPair.Format")
