# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.pocket.cloud.plugins.module_utils._module import Ec2likeModule
from ansible_collections.pocket.cloud.plugins.modules import ec2like_instance, ec2like_security_group


@pytest.mark.parametrize(
    ("stated", "said", "code"),
    [
        ({"count": 1, "exact_count": 1}, "mutually exclusive", "InvalidParameterCombination"),
        ({"count": 1, "user_data": "xyz", "user_data_file": "/x"}, "mutually exclusive", "InvalidParameterCombination"),
        ({"min_count": 1}, "required together", "MissingParameter"),
        ({"name": "a", "vcpus": 1}, "required together", "MissingParameter"),
        ({"name": "a", "volumes": [{"volume_size": 1}]}, "device_name", "MissingParameter"),
        ({"name": "a", "states": "running"}, "Unsupported parameters", "UnknownParameter"),
        ({"name": "a", "network_interfaces": [{"subnet": "x"}]}, "network_interfaces.subnet", "UnknownParameter"),
        ({"name": "a", "state": "paused"}, "value of state must be one of", "InvalidParameterValue"),
        ({"count": "three"}, "'count' is of type str", "InvalidParameterValue"),
        ({"name": "a", "tags": ["x"]}, "'tags' is of type list", "InvalidParameterValue"),
    ],
)
def test_what_ansible_refuses_has_ec2s_code(
    stated: dict[str, Any], said: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with patch_module_args(stated), pytest.raises(SystemExit):
        ec2like_instance.main()
    failed = json.loads(capsys.readouterr().out)
    assert failed["failed"] is True
    assert said in failed["msg"]
    assert failed["error_code"] == code


def test_what_is_needed_and_not_stated_has_ec2s_code(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({}), pytest.raises(SystemExit):
        ec2like_security_group.main()
    assert json.loads(capsys.readouterr().out)["error_code"] == "MissingParameter"


def test_a_failure_of_the_modules_own_keeps_its_code_or_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    for told in ({}, {"error_code": "InvalidAMIID.NotFound"}):
        with patch_module_args({}), pytest.raises(SystemExit):
            Ec2likeModule(argument_spec={}, supports_check_mode=True).fail_json(msg="no", **told)
        failed = json.loads(capsys.readouterr().out)
        assert failed["msg"] == "no"
        assert failed.get("error_code") == told.get("error_code")
