"""Normalisation by channel name, and the merged foreground intensities."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fednnunet.errors import PlanError
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.intensity import (
    label_reason,
    merged_intensity,
    normalisation_of,
    plan_intensity,
    plan_mask_use,
)
from fednnunet.planning.sketch import ForegroundSketch
from tests.planning.cases import TASK, make_case


def a_case(*voxels: list[float], crop_ratio: float = 1.0) -> CaseFingerprint:
    foreground = tuple(ForegroundSketch.of_voxels(np.array(each, float)) for each in voxels)
    return dataclasses.replace(make_case(1), foreground=foreground, crop_ratio=crop_ratio)


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ("CT", "ct"),
        ("ct", "ct"),
        ("noNorm", "none"),
        ("rescale_to_0_1", "rescale_to_0_1"),
        ("T1", "zscore"),
        ("CT2", "zscore"),
    ],
)
def test_a_channels_name_decides(channel: str, kind: str) -> None:
    assert normalisation_of(channel) == kind


@pytest.mark.parametrize(("ratio", "masked"), [(0.74, True), (0.75, False), (1.0, False)])
def test_the_mask_is_used_for_z_scores_of_cropped_volumes(ratio: float, masked: bool) -> None:
    found = Fingerprint.of(TASK, [a_case([1.0], [1.0], crop_ratio=ratio)])
    use, reason = plan_mask_use(found, ("zscore", "ct"))
    assert use == (masked, False)
    assert ("T1: zscore inside the nonzero mask" in reason.because) is masked


def test_every_case_weighs_the_same_in_the_intensities() -> None:
    found = Fingerprint.of(TASK, [a_case([100.0] * 3, [7.0]), a_case([300.0] * 99, [7.0])])
    first, second = merged_intensity(found)
    assert first.mean == pytest.approx(200.0) and first.std == pytest.approx(100.0)
    assert (first.min, first.max) == pytest.approx((100.0, 300.0))
    assert (second.mean, second.median) == pytest.approx((7.0, 7.0))
    assert second.std == pytest.approx(0.0, abs=1e-3)


def test_without_foreground_there_is_nothing_to_plan() -> None:
    case = dataclasses.replace(a_case([], []), voxels_per_label=(900, 0, 0))
    with pytest.raises(PlanError, match="no case has any foreground"):
        merged_intensity(Fingerprint.of(TASK, [case]))


def unlabelled(kind: str, **changes: object) -> CaseFingerprint:
    case = dataclasses.replace(a_case([], []), voxels_per_label=(0, 0, 0), kind=kind)
    return dataclasses.replace(case, **changes)  # type: ignore[arg-type]


def test_boxes_alone_plan_ct_by_a_fixed_window() -> None:
    found = Fingerprint.of(TASK, [unlabelled("box"), unlabelled("none", annotated=())])
    (other, ct), reason = plan_intensity(found, ("zscore", "ct"))
    assert (ct.percentile_00_5, ct.percentile_99_5, ct.mean) == (-1000, 1000, 0)
    assert ct.std == pytest.approx(np.linspace(-1000, 1000, 100_001).std(), rel=1e-4)
    assert other.std == 1 and reason is not None and "-1000 to 1000 HU" in reason.because


def test_one_case_with_marks_gives_the_intensities_of_all() -> None:
    marked = dataclasses.replace(a_case([100.0] * 3, [7.0]), kind="scribble")
    found = Fingerprint.of(TASK, [marked, unlabelled("box"), unlabelled("none", annotated=())])
    assert plan_intensity(found, ("zscore", "ct")) == (merged_intensity(found), None)


def test_drawn_maps_without_any_foreground_are_still_refused() -> None:
    with pytest.raises(PlanError, match="no case has any foreground"):
        plan_intensity(Fingerprint.of(TASK, [unlabelled("full")]), ("zscore", "ct"))


def test_the_reason_counts_cases_by_kind_and_class() -> None:
    full = Fingerprint.of(TASK, [a_case([1.0], [1.0])])
    assert label_reason(full) is None
    partial = dataclasses.replace(a_case([1.0], [1.0]), kind="partial", annotated=(2,))
    found = full + Fingerprint.of(TASK, [partial, unlabelled("none", annotated=())])
    reason = label_reason(found)
    assert reason is not None
    assert "full in 1, partial in 1, none in 1" in reason.because
    assert "organ in 1, tumour in 2" in reason.because
