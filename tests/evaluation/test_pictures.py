"""Pictures of cases outline both masks, in true proportions."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from matplotlib.image import imread

from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.pictures import draw_case, pick_cases
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))


def _case(name: str, dice: float) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=0.5, reference_vox=4, predicted_vox=4
    )
    return CaseScores(case=name, targets={"organ": score, "nodule": score})


def _scene() -> tuple[Volume, np.ndarray]:
    label = np.zeros((9, 30, 30), np.uint8)
    label[2:7, 10:20, 8:18] = 1
    label[4:6, 12:16, 16:22] = 2
    noise = np.random.default_rng(0).normal(size=label.shape)
    array = (label * 2 + noise).astype(np.float32)[None]
    return Volume(array=array, geometry=Geometry(spacing_mm=(3.0, 1.0, 1.0))), label


def test_worst_median_and_best_are_picked() -> None:
    cases = [_case(str(i), dice) for i, dice in enumerate([0.9, 0.1, 0.5, 0.7, math.nan])]
    picked = [(rank, case.dice) for rank, case in pick_cases(cases)]
    assert picked == [("worst", 0.1), ("median", 0.5), ("best", 0.9)]
    assert [rank for rank, _ in pick_cases(cases[:2])] == ["worst", "best"]
    assert [rank for rank, _ in pick_cases(cases[:1])] == ["only"]
    assert pick_cases(cases[4:]) == ()


def _outlined(png: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Where a picture is coloured like the reference, and like the prediction."""
    image = imread(io.BytesIO(png))[..., :3]
    red, blue = image[..., 0], image[..., 2]
    return blue - red > 0.3, red - blue > 0.3


def test_both_outlines_are_drawn_where_the_masks_are() -> None:
    image, label = _scene()
    reference, prediction = _outlined(draw_case(image, np.roll(label, 4, axis=1), label, TASK))
    assert reference.sum() > 300
    assert prediction.sum() > 300
    rows = [np.flatnonzero(mask.any(axis=1)) for mask in (reference, prediction)]
    assert rows[1].mean() > rows[0].mean() + 20


def test_proportions_follow_the_spacing() -> None:
    label = np.zeros((9, 20, 40), np.uint8)
    label[4, 5:15, 10:30] = 1  # 10 mm x 20 voxels of 0.5 mm: a square
    geometry = Geometry(spacing_mm=(3.0, 1.0, 0.5))
    image = Volume(array=np.zeros((1, *label.shape), np.float32), geometry=geometry)
    reference, _ = _outlined(draw_case(image, np.zeros_like(label), label, TASK))
    height, width = (np.ptp(np.flatnonzero(reference.any(axis=1 - a))) for a in range(2))
    assert height == pytest.approx(width, rel=0.06)


@pytest.mark.parametrize("empty", ["prediction", "reference", "both"])
def test_empty_masks_can_be_drawn(empty: str) -> None:
    image, label = _scene()
    nothing = np.zeros_like(label)
    predicted = nothing if empty in ("prediction", "both") else label
    reference = nothing if empty in ("reference", "both") else label
    assert draw_case(image, predicted, reference, TASK).startswith(b"\x89PNG")
