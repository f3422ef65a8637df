"""A site's own limits on what it shares."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.site.policy import SitePolicy


def test_a_policy_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="min_cases is 0"):
        SitePolicy(min_cases=0)
