from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.errors import DataError, RefusalError
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.planning.fingerprint import AXES, CaseFingerprint, Fingerprint
from fednnunet.planning.histogram import SPACING_MM
from fednnunet.planning.intensity import merged_intensity
from fednnunet.planning.minimum_counts import (
    check_cases,
    common_values,
    release_fingerprint,
    release_shapes,
)
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import ForegroundSketch, mean_and_std
from fednnunet.planning.spacing import target_spacing
from fednnunet.planning.validate import validate, validate_shapes
from tests.planning.cases import TASK, exchanges, make_case, make_cases

CASES = make_cases(30)
PAIRS = [(case.spacing_mm, case.shape_vox) for case in CASES]
WHOLE, SHAPES = exchanges(CASES)


def released(cases: list[CaseFingerprint], min_bin_count: int) -> Fingerprint:
    return release_fingerprint(TASK, cases, min_bin_count=min_bin_count)


def test_a_site_with_few_cases_keeps_silent() -> None:
    with pytest.raises(RefusalError, match="4 cases are fewer than the 5") as caught:
        check_cases(4, 5, site="berlin")
    assert "site berlin" in str(caught.value)
    check_cases(4, SitePolicy(min_cases=4, min_bin_count=1).required_cases)
    assert SitePolicy(min_bin_count=7).required_cases == 7
    with pytest.raises(RefusalError, match="4 cases are fewer"):
        released(CASES[:4], 5)
    with pytest.raises(RefusalError, match="4 cases are fewer"):
        release_shapes((1.0, 1.0, 1.0), PAIRS[:4], min_bin_count=5)


def test_exact_mode_changes_no_bit() -> None:
    assert released(CASES, 1).vector.tobytes() == WHOLE.vector.tobytes()
    exact = release_shapes(SHAPES.spacing_mm, PAIRS, min_bin_count=1)
    assert exact.counts.tobytes() == SHAPES.counts.tobytes()


@pytest.mark.parametrize("min_count", [2, 3, 5, 7, 29, 30])
def test_no_entry_counts_fewer_cases_than_the_policy_allows(min_count: int) -> None:
    clean = released(CASES, min_count)
    shapes = release_shapes(SHAPES.spacing_mm, PAIRS, min_bin_count=min_count)
    validate(clean, site="berlin")
    validate_shapes(shapes, site="berlin", cases=30)
    counts = [clean.block(f"spacing_{a}")[0] for a in AXES] + [clean.block("crop_ratio")[0]]
    counts += [clean.block(f"shape_{a}") for a in AXES] + list(shapes.counts)
    counts += [clean.block(f"foreground_{c}")[0] for c in range(2)]
    counts += [clean.block("orientation"), clean.block("label_kinds").ravel()]
    for histogram in counts:
        assert histogram[histogram > 0].min() >= min_count


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.5, 0.7031, 0.703125, 1.0, 1.25, 3.0, 999.0]) | st.floats(0.1, 50)),
    st.integers(2, 6),
)
def test_every_common_value_stands_for_enough_cases(values: list[float], min_count: int) -> None:
    values = (values + [1.5] * min_count) if len(values) < min_count else values
    common = common_values(values, min_count)
    assert len(common) == len(values)
    assert np.unique(common, return_counts=True)[1].min() >= min_count
    assert min(common) >= min(values) * 0.99 and max(common) <= max(values) * 1.01


def test_shared_values_stay_exact_and_strangers_are_recorded_as_shared() -> None:
    shared = [0.703125] * 10 + [1.0] * 11
    assert common_values([*shared, 0.9, 0.9], 5) == [0.703125] * 10 + [1.0] * 13
    assert common_values([0.703125] * 6, 5) == [0.703125] * 6
    assert common_values([0.7031] * 3 + [0.703125] * 2, 5) == [0.7031] * 5
    assert 0.703125 not in common_values([0.703125] * 6 + [1.0] * 6, 5)
    assert common_values([1.0] * 4 + [999.0], 5) == [3.98] * 5  # not 200.6, which tells 999


def test_gaps_between_values_are_kept() -> None:
    values = [*np.linspace(0.7, 0.74, 7), *np.linspace(2.4, 2.5, 6)]
    common = np.array(common_values(values, 3))
    assert not ((common > 0.75) & (common < 2.3)).any()


def test_moments_of_a_bin_tell_one_value_only() -> None:
    jitter = [dataclasses.replace(c, spacing_mm=(1 + i * 1e-5, 1, 1)) for i, c in enumerate(CASES)]
    table = released(jitter, 5).block("spacing_z")
    for place in np.flatnonzero(table[0]):
        count, s1, s2 = table[:3, place]
        assert count * s2 == s1 * s1
    assert (WHOLE.block("spacing_z")[0] == 1).any()  # what exact mode tells
    assert table.shape == (5, SPACING_MM.bins)


def test_intensity_constants_stay_close_and_weights_are_whole() -> None:
    clean = released(CASES, 4)
    for channel in range(len(TASK.channels)):
        before, after = WHOLE.block(f"foreground_{channel}"), clean.block(f"foreground_{channel}")
        assert after[1].sum() == pytest.approx(30, abs=1e-6)
        (mean, std), (new_mean, new_std) = mean_and_std(before), mean_and_std(after)
        assert abs(new_mean - mean) < 0.1 * std and new_std == pytest.approx(std, rel=0.1)


def test_a_case_that_dominates_a_bin_is_joined_with_its_neighbours() -> None:
    hot = dataclasses.replace(
        CASES[0], foreground=(ForegroundSketch.of_voxels(np.full(500, 9000.0)),) * 2
    )
    seen = [
        dataclasses.replace(
            case,
            foreground=(ForegroundSketch.of_voxels(np.r_[np.full(499, 100.0), 9000.0]),) * 2,
        )
        for case in CASES[1:10]
    ]
    total = released([hot, *seen], 5).block("foreground_0")
    exact = Fingerprint.of(TASK, [hot, *seen]).block("foreground_0")
    assert exact[1][exact[0] == 10].max() > 1  # ten cases are there, one has nearly all
    place = int(np.flatnonzero(exact[1])[-1])
    assert total[1, place - 12 : place + 13].sum() == 0


def test_a_small_minimum_hardly_moves_the_plan() -> None:
    clean = released(CASES, 3)
    assert target_spacing(clean) == pytest.approx(target_spacing(WHOLE), rel=0.05)
    before, after = merged_intensity(WHOLE)[0], merged_intensity(clean)[0]
    assert after.percentile_99_5 == pytest.approx(before.percentile_99_5, rel=0.06)
    target = target_spacing(clean)
    shapes = release_shapes(target, PAIRS, min_bin_count=3)
    assert make_plan(clean, shapes, planner="cpu").cases == 30


def test_labels_of_too_few_cases_are_not_told() -> None:
    clean = released(CASES, 16)
    assert clean.label_cases() == {"background": 30, "organ": 30, "tumour": 0}
    assert clean.block("voxels_per_label")[2] == 0
    assert released(CASES, 15).label_cases()["tumour"] == 15


def test_numbers_of_cases_close_to_all_are_told_as_all() -> None:
    odd = dataclasses.replace(CASES[0], voxels_per_label=(900, 0, 0))
    clean = released([odd, *CASES[1:]], 5)
    assert clean.label_cases()["organ"] == 30
    validate(clean, site="berlin")


def test_rare_orientations_and_kinds_are_not_told() -> None:
    cases = [dataclasses.replace(case, orientation="LPS") for case in CASES]
    cases[0] = dataclasses.replace(cases[0], orientation="RAS", kind="box")
    clean = released(cases, 5)
    assert clean.block("orientation").max() == 30
    assert clean.block("label_kinds")[0].tolist() == [30, 30, 30]
    assert clean.block("label_kinds")[4].tolist() == [0, 0, 0]
    codes = ("LPS", "RAS", "LAS")
    mixed = [dataclasses.replace(c, orientation=codes[i % 3]) for i, c in enumerate(CASES[:6])]
    assert released(mixed, 5).block("orientation")[-1] == 6  # unknown: none is common


def test_classes_that_few_cases_of_a_kind_annotate_are_not_told() -> None:
    cases = [
        dataclasses.replace(
            case,
            kind="partial" if number < 20 else "none",
            annotated=() if number >= 20 else (1, 2) if number < 3 else (1,),
        )
        for number, case in enumerate(CASES)
    ]
    kinds = released(cases, 5).block("label_kinds")
    assert kinds[1].tolist() == [20, 20, 0] and kinds[6].tolist() == [10, 0, 0]
    assert released(cases, 1).block("label_kinds")[1].tolist() == [20, 20, 3]
    few = [dataclasses.replace(case, annotated=(1, 2)) for case in cases[3:18]]
    most = released([*cases[:3], *few, *cases[18:]], 5)
    assert most.block("label_kinds")[1].tolist() == [20, 20, 20]  # 18 of the 20
    validate(most, site="berlin")


def test_too_few_annotated_cases_tell_no_intensity() -> None:
    none = ForegroundSketch.of_voxels(np.zeros(0))
    bare = [
        dataclasses.replace(case, foreground=(none, none), voxels_per_label=(900, 0, 0))
        for case in make_cases(4)
    ]
    clean = released([*make_cases(3), *bare], 5)
    assert not clean.block("foreground_0").any() and not clean.block("cases_with_foreground").any()
    assert clean.block("spacing_z")[0].sum() == 7
    validate(clean, site="berlin")


def test_one_huge_volume_leaves_a_release_plausible() -> None:
    huge = make_case(99, shape=(900, 900, 900))
    validate(released([huge, *CASES[:6]], 5), site="berlin")


def test_a_case_of_another_task_is_refused() -> None:
    with pytest.raises(DataError, match="2 labels"):
        released([dataclasses.replace(CASES[0], voxels_per_label=(1, 2)), *CASES[1:]], 5)
    with pytest.raises(DataError, match="'banana'"):
        released([dataclasses.replace(CASES[0], kind="banana"), *CASES[1:]], 5)


def test_resampled_shapes_follow_the_same_rule() -> None:
    spread = [((1.0, 1.0, 1.0), (20 + 3 * i, 50, 60)) for i in range(11)]
    shapes = release_shapes((1.0, 1.0, 1.0), spread, min_bin_count=5)
    assert isinstance(shapes, ShapeSketch)
    assert sorted(shapes.counts[0][shapes.counts[0] > 0].tolist()) == [5, 6]
    assert shapes.counts[1][50] == 11
