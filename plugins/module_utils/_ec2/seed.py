# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed: a small CD from which a guest learns its name and user data. PRIVATE to the collection.

It is cloud-init's NoCloud data source: an ISO 9660 file system labelled C(cidata) with C(meta-data), C(user-data) and,
where given, C(network-config).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import PocketError

__all__ = ["build"]

_WORK = ".seed-"


def build(
    path: str | os.PathLike[str],
    instance_id: str,
    hostname: str,
    user_data: str | None = None,
    *,
    network_config: str | None = None,
    public_keys: Sequence[str] = (),
    meta_data: Mapping[str, Any] | None = None,
) -> None:
    """Write the seed of an instance to `path`, whole or not at all; an older one there is replaced.

    The file and all that it is made from are readable by their owner alone: user data may hold secrets.

    :param user_data: any text that cloud-init takes; none writes an empty cloud config.
    :param network_config: cloud-init's network configuration, as YAML text.
    :param public_keys: lines as in an C(authorized_keys) file.
    :param meta_data: further keys of C(meta-data).
    """
    target = Path(os.fspath(path))
    about: dict[str, Any] = {"instance-id": instance_id, "local-hostname": hostname, **(meta_data or {})}
    if public_keys:
        about["public-keys"] = list(public_keys)
    files = {
        # JSON is YAML, too, and quotes everything; a key a line, so that a shell script can read it as well.
        "meta-data": _one_key_a_line(about),
        "user-data": "#cloud-config\n" if user_data is None else user_data,
    }
    if network_config is not None:
        files["network-config"] = network_config
    _write(target, instance_id, files)


def _write(target: Path, instance_id: str, files: Mapping[str, str]) -> None:
    for left in target.parent.glob(f"{_WORK}*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix=_WORK, dir=target.parent) as directory:  # mode 0700
            work = Path(directory)
            for name, text in files.items():
                (work / name).write_text(text, encoding="utf-8", errors="surrogateescape")
            image = work / "seed.iso"
            _genisoimage(instance_id, image, [work / name for name in files])
            image.chmod(0o600)
            os.replace(image, target)
    except OSError as error:
        raise PocketError(f"Cannot make the seed of instance {instance_id}: {error.strerror or error}") from error


def _one_key_a_line(about: Mapping[str, Any]) -> str:
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in about.items())


def _genisoimage(instance_id: str, image: Path, files: Sequence[Path]) -> None:
    attempt = f"Cannot make the seed of instance {instance_id}"
    command = ["genisoimage", "-quiet", "-output", str(image), "-volid", "cidata", "-joliet", "-rock"]
    try:
        # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
        done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PocketError(
            f"{attempt}: the program genisoimage is not on this host; install it, on Debian and Ubuntu with: "
            "apt install genisoimage"
        ) from error
    if done.returncode:
        raise PocketError(f"{attempt}: {' '.join(done.stderr.split()) or f'exit status {done.returncode}'}")
