from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.secure_spec import Planning, SecureAggregation


def test_the_threshold_is_more_than_two_thirds_unless_it_is_given():
    assert SecureAggregation().threshold_of(8) == 6
    assert SecureAggregation(threshold=5).threshold_of(8) == 5
    assert not Planning().secure


def test_32_bits_need_a_clip():
    with pytest.raises(InputError, match="32 bits are too few"):
        SecureAggregation(bits=32)
    assert SecureAggregation(bits=32, clip=10.0).bits == 32


@pytest.mark.parametrize("values", [{"threshold": -1}, {"clip": -1.0}, {"clip": float("nan")}])
def test_numbers_out_of_range_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        SecureAggregation(**values)
