"""Keys of the coordinator's log."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.task import Task


def test_a_key_has_64_digits_and_its_site_exists():
    LogSpec(coordinator_key="a" * 64, site_keys={"north": "0" * 64})
    with pytest.raises(InputError, match="the key of 'coordinator_key' is 'abc'"):
        LogSpec(coordinator_key="abc")
    with pytest.raises(InputError, match="the key of 'north'"):
        LogSpec(site_keys={"north": "A" * 64})
    task = Task(name="t", channels=("MRI",), labels=("background", "a"))
    with pytest.raises(InputError, match="there is no site south"):
        Federation(
            task=task,
            sites={"north": SiteSpec()},
            log=LogSpec(site_keys={"south": "0" * 64}),
        )
