"""The target spacing and the order of the axes."""

from __future__ import annotations

import dataclasses

import pytest

from fednnunet.errors import PlanError
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.spacing import (
    axis_order,
    explain_spacing,
    median_shape,
    median_spacing,
    target_spacing,
)
from tests.planning.cases import TASK, make_case

FLAT, CUBE = (20, 100, 120), (100, 100, 100)


def a_fingerprint(thick_mm: list[float], shape_vox: tuple[int, int, int]) -> Fingerprint:
    """Cases of 1 x 0.8 mm in plane, whose slices are so thick."""
    case = make_case(0)
    return Fingerprint.of(
        TASK,
        [
            dataclasses.replace(case, spacing_mm=(z, 1.0, 0.8), shape_vox=shape_vox)
            for z in thick_mm
        ],
    )


def test_medians_are_those_of_each_axis() -> None:
    found = a_fingerprint([2.0, 4.0, 2.5], FLAT)
    assert median_spacing(found) == (2.5, 1.0, 0.8)
    assert median_shape(found) == FLAT


def test_without_an_anisotropic_axis_it_is_the_median() -> None:
    for thick, shape in (([2.0, 2.5, 2.9], FLAT), ([5.0, 5.0, 6.0], CUBE)):
        target, reason = explain_spacing(a_fingerprint(thick, shape))
        assert target == (thick[1], 1.0, 0.8)
        assert "no axis is anisotropic" in reason.because


def test_an_anisotropic_axis_takes_the_tenth_percentile() -> None:
    thick = [round(4 + 0.1 * i, 1) for i in range(11)]
    target, reason = explain_spacing(a_fingerprint(thick, FLAT))
    assert target == pytest.approx((4.1, 1.0, 0.8))
    assert "Axis z is anisotropic" in reason.because


def test_but_it_is_not_finer_than_the_other_axes() -> None:
    thick = [0.5, 0.5, *[5.0] * 9]
    assert target_spacing(a_fingerprint(thick, FLAT)) == pytest.approx((1.00001, 1.0, 0.8))


def test_no_cases_have_no_spacing() -> None:
    with pytest.raises(PlanError, match="no cases"):
        target_spacing(Fingerprint.empty(TASK))


@pytest.mark.parametrize(
    ("spacing", "order"),
    [
        ((1, 1, 1), (0, 1, 2)),
        ((1, 3, 2), (1, 0, 2)),
        ((1, 2, 3), (2, 0, 1)),
        ((1, 2, 2), (1, 0, 2)),
    ],
)
def test_the_coarsest_axis_comes_first(spacing: tuple[float, ...], order: tuple[int, ...]) -> None:
    assert axis_order(spacing) == order
