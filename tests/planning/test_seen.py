"""The ranges of a plan hold what its cases were like, and nothing of too few of them."""

from __future__ import annotations

import dataclasses

from fednnunet.planning.minimum_counts import release_fingerprint
from fednnunet.planning.seen import seen_ranges
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import target_spacing
from tests.planning.cases import TASK, exchanges, make_cases, plan_of_cases

CASES = make_cases(12)


def test_every_case_lies_within_the_ranges():
    seen = plan_of_cases(CASES).seen
    assert seen
    for case in CASES:
        for value, (low, high) in zip(case.spacing_mm, seen.spacing_mm, strict=True):
            assert 0.999 * low <= value <= 1.001 * high
        lengths = [n * s for n, s in zip(case.shape_vox, case.spacing_mm, strict=True)]
        for length, (low, high), step in zip(
            lengths, seen.size_mm, target_spacing(exchanges(CASES)[0]), strict=True
        ):
            assert low - step <= length <= high + step
        for value, name in enumerate(TASK.labels[1:], start=1):
            if volume := case.voxels_per_label[value] * _voxel_ml(case):
                low, high = seen.foreground_ml[name]
                assert low <= volume < high
    assert seen.always == ("organ",)  # every second case has no tumour


def test_a_structure_of_too_few_cases_has_no_range():
    """Nor does one large lesion among small ones widen it."""
    cases = make_cases(12)
    large = dataclasses.replace(cases[0], voxels_per_label=(90_000, 15_000, 0))
    cases = [large, *cases[2::2], *cases[2::2][:4]]
    released = release_fingerprint(TASK, cases, min_bin_count=5)
    pairs = [(case.spacing_mm, case.shape_vox) for case in cases]
    seen = seen_ranges(released, ShapeSketch.of_cases((1.0, 1.0, 1.0), pairs))
    assert list(seen.foreground_ml) == ["organ"]
    assert seen.foreground_ml["organ"][1] < 15_000 * _voxel_ml(large)


def _voxel_ml(case):
    z, y, x = case.spacing_mm
    return z * y * x / 1000
