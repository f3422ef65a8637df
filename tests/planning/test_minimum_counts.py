from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cases import TASK, exchanges, make_cases

from fednnunet.errors import InputError, RefusalError
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.planning.fingerprint import AXES, Fingerprint
from fednnunet.planning.intensity import merged_intensity
from fednnunet.planning.minimum_counts import (
    check_cases,
    suppress_small_counts,
    suppress_small_shape_counts,
)
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import ForegroundSketch, mean_and_std
from fednnunet.planning.spacing import target_spacing
from fednnunet.planning.validate import validate, validate_shapes

WHOLE, SHAPES = exchanges(make_cases(30))


def test_a_site_with_few_cases_keeps_silent() -> None:
    min_count = SitePolicy().required_cases
    with pytest.raises(RefusalError, match="4 cases are fewer than the 5") as caught:
        check_cases(4, min_count, site="berlin")
    assert "site berlin" in str(caught.value)
    check_cases(4, SitePolicy(min_cases=4).required_cases)
    assert SitePolicy(min_bin_count=7).required_cases == 7


def test_the_default_policy_changes_no_sum() -> None:
    assert (
        suppress_small_counts(WHOLE, min_bin_count=SitePolicy().min_bin_count).vector.tobytes()
        == WHOLE.vector.tobytes()
    )


@pytest.mark.parametrize("min_count", [2, 3, 7, 29, 30])
def test_no_bin_counts_fewer_cases_than_the_policy_allows(min_count: int) -> None:
    clean = suppress_small_counts(WHOLE, min_bin_count=min_count)
    shapes = suppress_small_shape_counts(SHAPES, min_bin_count=min_count)
    validate(clean, site="berlin")
    validate_shapes(shapes, site="berlin", cases=30)
    counts = [clean.block(f"spacing_{a}")[0] for a in AXES] + [clean.block("crop_ratio")[0]]
    counts += [clean.block(f"shape_{a}") for a in AXES] + list(shapes.counts)
    counts += [clean.block(f"foreground_{c}")[0] for c in range(2)]
    for histogram in counts:
        assert histogram[histogram > 0].min() >= min_count


def test_moments_and_totals_survive() -> None:
    clean = suppress_small_counts(WHOLE, min_bin_count=4)
    for channel in range(len(TASK.channels)):
        before, after = WHOLE.block(f"foreground_{channel}"), clean.block(f"foreground_{channel}")
        assert after[1].sum() == pytest.approx(before[1].sum(), abs=1e-9)
        assert mean_and_std(after) == pytest.approx(mean_and_std(before), rel=1e-6)


def test_a_small_minimum_hardly_moves_the_plan() -> None:
    clean = suppress_small_counts(WHOLE, min_bin_count=3)
    assert target_spacing(clean) == pytest.approx(target_spacing(WHOLE), rel=0.05)
    before, after = merged_intensity(WHOLE)[0], merged_intensity(clean)[0]
    assert after.percentile_99_5 == pytest.approx(before.percentile_99_5, rel=0.05)
    assert make_plan(clean, _shapes_at(target_spacing(clean)), planner="cpu").cases == 30


def test_labels_of_too_few_cases_are_not_told() -> None:
    clean = suppress_small_counts(WHOLE, min_bin_count=16)
    assert clean.label_cases() == {"background": 30, "organ": 30, "tumour": 0}
    assert clean.block("voxels_per_label")[2] == 0


def test_too_few_annotated_cases_tell_no_intensity() -> None:
    none = ForegroundSketch.of_voxels(np.zeros(0))
    bare = [dataclasses.replace(case, foreground=(none, none)) for case in make_cases(4)]
    mixed = Fingerprint.of(TASK, [*make_cases(3), *bare])
    clean = suppress_small_counts(mixed, min_bin_count=5)
    assert not clean.block("foreground_0").any() and not clean.block("cases_with_foreground").any()
    assert clean.block("spacing_z")[0].sum() == 7
    validate(clean, site="berlin")


def test_a_policy_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        SitePolicy(min_cases=0)


def _shapes_at(spacing: tuple[float, float, float]) -> ShapeSketch:
    pairs = [(case.spacing_mm, case.shape_vox) for case in make_cases(30)]
    sketch = ShapeSketch.of_cases(spacing, pairs)
    assert np.all(sketch.counts.sum(axis=1) == 30)
    return sketch
