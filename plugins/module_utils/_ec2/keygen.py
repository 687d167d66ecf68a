# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New key pairs, by ssh-keygen. PRIVATE to the collection."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .._errors import PocketError
from .keys import PublicKey, created_rsa_fingerprint

__all__ = ["WORK", "Generated", "generate"]

# In memory on every distribution: a private key is never written to a disk.
WORK = Path("/run/pocket-cloud/key-pair")
# EC2 creates RSA keys of 2048 bits in PKCS #1's PEM, and ED25519 keys in OpenSSH's own format.
_OPTIONS = {"rsa": ("-b", "2048", "-m", "PEM"), "ed25519": ()}


@dataclass(frozen=True)
class Generated:
    """A new key pair. Whoever made it hands the private key over and keeps nothing of it."""

    public_key: PublicKey
    fingerprint: str
    private_key: str = field(repr=False)


def generate(key_type: str, work: Path = WORK) -> Generated:
    """Make a key pair of that type. The caller holds the lock of a store.

    :param work: a directory of this function's own; what a run that was killed left there is removed first.
    """
    try:
        work.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            return _generated(key_type, work / "key")
        finally:
            shutil.rmtree(work)
    except OSError as error:
        raise PocketError(
            f"Cannot make a key pair in {work}: {error.strerror or error}; run with become: true"
        ) from error


def _generated(key_type: str, path: Path) -> Generated:
    command = ["ssh-keygen", "-q", "-t", key_type, *_OPTIONS[key_type], "-N", "", "-C", "", "-f", str(path)]
    try:
        # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PocketError(
            "Cannot make a key pair: the program ssh-keygen is not on this host; install it, on Debian and Ubuntu "
            "with: apt install openssh-client; or make the pair elsewhere and give its public key as key_material"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise PocketError(f"Cannot make a key pair of the type {key_type}: ssh-keygen says: {said}")
    private_key = path.read_text(encoding="ascii")
    public_key = PublicKey.of(path.with_suffix(".pub").read_text(encoding="ascii"))
    rsa = key_type == "rsa"
    fingerprint = created_rsa_fingerprint(private_key) if rsa else public_key.imported_fingerprint()
    return Generated(public_key, fingerprint, private_key)
