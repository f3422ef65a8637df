from __future__ import annotations

import dataclasses
import math

import pytest

from fednnunet.errors import InputError
from fednnunet.labels.settings import PseudoLabels

SHARES = (
    *("start", "ramp_up", "confidence", "max_spread", "decay", "carry"),
    *("cut_out", "cut_out_edge", "unlabelled_strength"),
)
HIGHEST = {**dict.fromkeys(SHARES, 1.0), "weight": 100.0, "mixup": 10.0, "cross": 100.0}


def test_every_number_has_its_range_here():
    numbers = {f.name for f in dataclasses.fields(PseudoLabels) if isinstance(f.default, float)}
    assert numbers == set(HIGHEST)


@pytest.mark.parametrize("name", HIGHEST)
def test_the_bounds_are_allowed_and_what_lies_beyond_is_named(name):
    for value in (0.0, HIGHEST[name]):
        assert getattr(PseudoLabels(**{name: value}), name) == value
    for value in (-0.01, HIGHEST[name] + 0.01, math.nan, math.inf):
        with pytest.raises(InputError, match=rf"^{name} is ") as caught:
            PseudoLabels(**{name: value})
        assert "[training.pseudo_labels]" in caught.value.mend


def test_refinements_that_may_do_harm_are_off_by_default():
    """The largest component would drop lesions, for example."""
    plain = PseudoLabels()
    assert not any((plain.components, plain.random_walker, plain.graph, plain.deconflict))
    assert plain.mixup == plain.cross == plain.carry == 0
