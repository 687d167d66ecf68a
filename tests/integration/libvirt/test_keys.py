# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key pairs on a host; ssh-keygen is the witness, and what a guest is told is read out of its seed."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest

from ansible_collections.pocket.cloud.tests.integration.libvirt.guests import Cloud, idle_image
from ansible_collections.pocket.cloud.tests.integration.libvirt.private_host import Host


def colons(digest: str) -> str:
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))


def keygen(*words: str) -> str:
    return subprocess.run(["ssh-keygen", *words], check=True, capture_output=True, text=True).stdout


def der(pem: str) -> bytes:
    return base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))


@pytest.mark.parametrize("key_type", ["rsa", "ed25519"])
def test_a_created_key_pair_is_whole_and_fingerprinted_as_ec2_does(
    host: Host, store: str, tmp_path: Path, key_type: str
) -> None:
    asked = {"store": store, "name": "a", "key_type": key_type}
    foretold = host.ok("ec2like_key", check=True, **asked)
    made = host.ok("ec2like_key", **asked)
    assert (foretold["changed"], foretold["diff"]) == (made["changed"], made["diff"])
    assert "PRIVATE KEY" not in str(made["diff"])
    again = host.ok("ec2like_key", **asked)
    assert again["changed"] is False
    assert "private_key" not in again["key"]

    private = tmp_path / "private"
    private.touch(0o600)
    private.write_text(made["key"]["private_key"])
    assert keygen("-y", "-f", str(private)).split()[:2] == made["key"]["public_key"].split()
    if key_type == "ed25519":
        digest = keygen("-lf", str(private)).split()[1].removeprefix("SHA256:")
        assert made["key"]["key_fingerprint"].rstrip("=") == digest
    else:
        keygen("-p", "-q", "-m", "PKCS8", "-N", "", "-f", str(private))
        digest = hashlib.sha1(der(private.read_text())).hexdigest()
        assert made["key"]["key_fingerprint"] == colons(digest)
        public = tmp_path / "public"
        public.write_text(made["key"]["public_key"])
        imported = host.ok("ec2like_key", store=store, name="b", key_material=public.read_text())["key"]
        digest = hashlib.md5(der(keygen("-e", "-m", "PKCS8", "-f", str(public)))).hexdigest()
        assert imported["key_fingerprint"] == colons(digest)

    # Nothing of the private key is left on the host, in a file or in the register.
    assert not host.path("/run/pocket-cloud/key-pair").exists()
    words = made["key"]["private_key"].splitlines()[2].encode()
    assert not [one for one in host.path(store).rglob("*") if one.is_file() and words in one.read_bytes()]
    listed = host.ok("ec2like_key_info", store=store, names=["a"])["keypairs"]
    assert listed == [again["key"]]
    assert host.ok("ec2like_key", store=store, name="a", state="absent")["changed"] is True
    assert host.refused("ec2like_key_info", store=store, names=["a"])["error_code"] == "InvalidKeyPair.NotFound"


def test_the_seed_hands_the_key_to_the_guest(host: Host, store: str, tmp_path: Path) -> None:
    cloud = Cloud(host, store, idle_image(tmp_path))
    assert cloud.refused(name="a", key_name="admin")["error_code"] == "InvalidKeyPair.NotFound"
    key = host.ok("ec2like_key", store=store, name="admin", key_type="ed25519")["key"]
    launched = cloud.both(name="a", key_name="admin")
    (instance,) = launched["instances"]
    assert instance["key_name"] == "admin"
    assert cloud.both(name="a", key_name="admin")["changed"] is False
    seed = f"{store}/instances/{instance['instance_id']}/seed.iso"
    told = host.run(["isoinfo", "-R", "-x", "/meta-data", "-i", seed]).stdout
    assert f'public-keys: ["{key["public_key"]} admin"]' in told
    assert cloud.both(filters={"key-name": "admin"}, state="terminated")["terminated_ids"] == launched["instance_ids"]
    cloud.assert_nothing_left()
    host.ok("ec2like_network", store=store, state="absent")
