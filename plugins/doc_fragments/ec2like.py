# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the ec2like modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """The store alone; C(ec2like.uri) adds the connection to libvirt, C(ec2like.libvirt) that it is required, too."""

    DOCUMENTATION = r"""
options:
  store:
    description:
      - Directory on the target that keeps what libvirt cannot hold, which are images, the instances' disks and seeds,
        volumes, snapshots, and the registers of all these, of key pairs, security groups, client tokens and terminated
        instances.
      - Absolute, without C(..). It is created with the first write. One that anybody can write to, such as C(/tmp), is
        refused.
      - The files of disks and images are readable by their owner alone. That is root, and QEMU's user once an instance
        has run with them, for libvirt gives it each disk and the image behind it, unless C(dynamic_ownership) in its
        C(qemu.conf) is turned off.
    type: path
    default: /var/lib/pocket-cloud
"""

    URI = r"""
options:
  uri:
    description:
      - Which libvirt daemon of the target to use, as libvirt writes connection URIs.
    type: str
    default: qemu:///system
"""

    # Ansible takes no fragment without options, so the requirement cannot stand alone.
    LIBVIRT = r"""
options:
  uri:
    description:
      - Which libvirt daemon of the target to use, as libvirt writes connection URIs.
    type: str
    default: qemu:///system
requirements:
  - libvirt with QEMU on the target (Debian's C(libvirt-daemon-system) and C(qemu-system-x86)).
  - The Python library libvirt on the target (Debian's C(python3-libvirt)).
"""
