"""What rules do where a site states nothing."""

from __future__ import annotations

from fednnunet.federation.methods.weighting.rule import stated, with_fallback

VALUES = {"a": 3.0, "b": None, "c": 1.0}


def test_stated_values_are_sorted_and_the_others_take_the_fallback():
    assert stated(VALUES) == [1.0, 3.0]
    assert with_fallback(VALUES, 2.0) == {"a": 3.0, "b": 2.0, "c": 1.0}
