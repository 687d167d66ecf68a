# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module object of the C(ec2like) modules. PRIVATE to the collection."""

from __future__ import annotations

from typing import Any, NoReturn

from ansible.module_utils import errors
from ansible.module_utils.basic import AnsibleModule

__all__ = ["Ec2likeModule"]

# What Ansible's check of the arguments finds -> EC2's code for it; InvalidParameterValue for the rest.
_CODES = {
    errors.MutuallyExclusiveError: "InvalidParameterCombination",
    errors.RequiredByError: "MissingParameter",
    errors.RequiredError: "MissingParameter",
    errors.RequiredIfError: "MissingParameter",
    errors.RequiredOneOfError: "MissingParameter",
    errors.RequiredTogetherError: "MissingParameter",
    errors.UnsupportedError: "UnknownParameter",
}


class Ec2likeModule(AnsibleModule):
    """An AnsibleModule that gives EC2's codes to what Ansible itself refuses of the arguments."""

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        """Fail as AnsibleModule does."""
        found = self.validation_result.errors.errors
        if found:
            kwargs.setdefault("error_code", _CODES.get(type(found[0]), "InvalidParameterValue"))
        super().fail_json(msg, **kwargs)
