"""A federation file whose pattern of patients never ends on the names of a site's cases."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.spec import SiteSpec

SLOW = {
    "repeats in a repeat": "(a+)+b",
    "a repeat of choices": "(a|a)*b",
    "a counted repeat of a repeat": "((?:a*){30})b",
    "lazy repeats in a repeat": "(a+?)+?b",
    "many optional letters": "(" + "a?" * 40 + "a" * 40 + ")b",
    "many repeats side by side": "(.*.*.*.*.*.*.*.*)b",
    "an escaped parenthesis before it": r"(\)(?:a+)+)b",
    "brackets that hide nothing": "([])]a+(?:[]a]+)*)b",
}


@pytest.mark.parametrize("pattern", SLOW.values(), ids=SLOW)
def test_a_pattern_that_may_take_forever_is_refused_before_any_name_is_matched(tmp_path, pattern):
    with pytest.raises(InputError, match="could take forever"):
        SiteSpec(folder=tmp_path, patient=pattern)
