"""Histograms of shapes after resampling."""

from __future__ import annotations

import numpy as np
import pytest

from fednnunet.errors import DataError, ReplyError
from fednnunet.planning.shapes import ShapeSketch, resampled_shape, resampled_shapes

TARGET = (1.0, 1.0, 2.0)
ONE = ((2.0, 1.0, 1.0), (10, 20, 30))  # 20 x 20 x 15 at the target
TWO = ((1.0, 1.0, 2.0), (21, 22, 16))


def test_a_shape_by_hand() -> None:
    assert resampled_shape((10, 20, 30), (2.0, 1.0, 1.0), TARGET) == (20, 20, 15)
    assert resampled_shape((10, 10, 10), (0.96, 1.04, 0.5), (1.0, 1.0, 1.0)) == (10, 10, 5)
    assert resampled_shapes(TARGET, [ONE, TWO]) == [(20, 20, 15), (21, 22, 16)]


def test_cases_are_counted_by_axis_and_sums_add_up() -> None:
    both = ShapeSketch.of_cases(TARGET, [ONE, TWO])
    assert both.cases == 2 and both.counts.sum() == 6
    assert both.counts[2, 15] == both.counts[2, 16] == 1
    assert both.median_vox() == (20.5, 21.0, 15.5)
    parts = ShapeSketch.of_cases(TARGET, [ONE]) + ShapeSketch.of_cases(TARGET, [TWO])
    assert parts.counts.tobytes() == both.counts.tobytes()
    back = ShapeSketch.from_vector(TARGET, both.to_vector())
    assert back.counts.tobytes() == both.counts.tobytes()


def test_another_length_or_spacing_is_refused() -> None:
    with pytest.raises(ReplyError, match="bins") as caught:
        ShapeSketch.from_vector(TARGET, np.zeros(4), site="berlin")
    assert caught.value.where == "site berlin"
    with pytest.raises(ReplyError, match="cannot be added"):
        _ = ShapeSketch.empty(TARGET) + ShapeSketch.empty((1.0, 1.0, 1.0))


def test_a_shape_beyond_the_histogram_is_refused() -> None:
    with pytest.raises(DataError, match="20000 voxels long"):
        resampled_shapes((0.1, 1.0, 1.0), [((1.0, 1.0, 1.0), (2000, 5, 5))])
