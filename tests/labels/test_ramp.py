from __future__ import annotations

import math

import pytest

from fednnunet.errors import InputError
from fednnunet.labels.ramp import ramp
from fednnunet.labels.settings import PseudoLabels


def test_the_weight_rises_from_the_start_over_the_ramp():
    settings = PseudoLabels(start=0.2, ramp_up=0.4)
    assert ramp(settings, 0.1) == 0
    assert ramp(settings, 0.2) == pytest.approx(math.exp(-5))
    assert ramp(settings, 0.4) == pytest.approx(math.exp(-1.25))
    assert ramp(settings, 0.6) == ramp(settings, 1.0) == 1


def test_without_a_ramp_it_is_whole_at_once():
    assert ramp(PseudoLabels(start=0.5, ramp_up=0.0), 0.5) == 1


@pytest.mark.parametrize("wrong", [{"confidence": 1.5}, {"decay": -0.1}, {"weight": math.nan}])
def test_a_setting_out_of_its_range_is_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        PseudoLabels(**wrong)
