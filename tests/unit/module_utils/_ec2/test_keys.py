# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64

import pytest

from ansible_collections.pocket.cloud.plugins.module_utils._ec2.keys import PublicKey, check_key_name
from ansible_collections.pocket.cloud.plugins.module_utils._errors import PocketError

# Made for this test by ssh-keygen, which also told the fingerprints: -lf, and MD5 of what -e -m PKCS8 writes.
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPxP4o5IZphA7vnO5a0FR/YUwEqa+q4XTC3KmZGI/FK9"
ED25519_FINGERPRINT = "S8wtJPKeXjGOkEl6CAYK3F+MN3Ri+pHOxLOZ6KmFxn4="
RSA = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDoY+tNH6MgC+NYxFcBbkTT/IRu3daIaM/0ksbEpEko/BL2X0VvR3mDORt3WkeCIKEqptYvfUmb5X"
    "E/k/IBI8o3mED2UPCdk0P0SLHG+uJjqzEdI/sSZr/RN4pu47Ip1bvDe+Lg5EmiwRBVmxVjBvbQDqu8FFHktuyceFXJD1q7Nw=="
)
RSA_FINGERPRINT = "24:6a:4f:37:ae:50:9b:fb:a3:24:c8:4a:c7:a2:22:80"
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEkH6a0ccEbdivFery3LE8eRNGH3zYmKpzHtSh/8d"
    "HfkzR/fK6lrI9BMo6eI+sRaU7yL+w0IjhoOfbiK95fjUCo="
)


@pytest.mark.parametrize(
    ("text", "key_type", "fingerprint"), [(ED25519, "ed25519", ED25519_FINGERPRINT), (RSA, "rsa", RSA_FINGERPRINT)]
)
def test_a_public_key_is_read_in_one_form(text: str, key_type: str, fingerprint: str) -> None:
    for written in (text, f"  {text} some body@host \n", text.replace(" ", "\t")):
        key = PublicKey.of(written)
        assert (key.key_type, key.line(), key.imported_fingerprint()) == (key_type, text, fingerprint)


def packed(*parts: bytes) -> str:
    return base64.b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not one line"),
        ("ssh-ed25519", "not one line"),
        (f"{ED25519}\n{ED25519}", "not one line"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----", "not one line"),
        (ECDSA, "none that EC2 takes"),
        (f'from="192.0.2.1" {ED25519}', "none that EC2 takes"),
        (ED25519[:-3], "cut off"),
        (ED25519[:-4], "cut off"),
        ("ssh-ed25519 !!!!", "no key in base 64"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "of another type"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', b'x' * 31)}", "wrong length"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', b'x' * 32, b'x')}", "wrong length"),
        (f"ssh-rsa {packed(b'ssh-rsa', b'x')}", "wrong length"),
        (f"ssh-rsa {packed(b'ssh-rsa', bytes((1, 0, 1)), bytes(1) + b'x' * 64)}", "511 bits"),
        (f"ssh-rsa {packed(b'ssh-rsa', bytes((1, 0, 1)), b'x' * 2049)}", "16391 bits"),
    ],
)
def test_what_is_no_public_key_is_refused_without_showing_it(text: str, said: str) -> None:
    with pytest.raises(PocketError) as refused:
        PublicKey.of(text)
    assert refused.value.code == "InvalidKeyPair.Format"
    assert "key_material: " in refused.value.message
    assert said in refused.value.message
    assert "AAAA" not in text or text[-20:] not in refused.value.message


@pytest.mark.parametrize("name", ["a", "A b-c_d.e", "!", "x" * 255])
def test_names_that_ec2_takes(name: str) -> None:
    assert check_key_name(name, "name") == name


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "ä", "a\nb", "x" * 256])
def test_names_that_ec2_refuses(name: str) -> None:
    with pytest.raises(PocketError, match="is no key pair's name") as refused:
        check_key_name(name, "key_name")
    assert refused.value.message.startswith("key_name: ")
    assert refused.value.code == "InvalidParameterValue"
