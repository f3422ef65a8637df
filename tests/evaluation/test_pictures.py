"""Pictures of cases fill the prediction and outline the reference, in true proportions."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from matplotlib.image import imread

from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.pictures import (
    draw_case,
    draw_review,
    pick_cases,
    plane_name,
    structure_colours,
)
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


def _coloured(png: bytes) -> np.ndarray:
    """How much more red than blue each pixel of a picture is: the first structure is orange."""
    image = imread(io.BytesIO(png))[..., :3]
    return image[..., 0] - image[..., 2]


def test_the_prediction_is_filled_and_the_reference_outlined() -> None:
    image, label = _scene()
    nothing = np.zeros_like(label)
    outlined = _coloured(draw_case(image, nothing, (label == 1).astype(np.uint8), TASK)) > 0.3
    filled = _coloured(draw_case(image, (label == 1).astype(np.uint8), nothing, TASK)) > 0.15
    assert 300 < outlined.sum() < 0.5 * filled.sum()


def test_every_structure_has_a_colour_of_its_own() -> None:
    image, label = _scene()
    colours = structure_colours(TASK)
    assert list(colours) == list(TASK.targets)
    assert len(set(colours.values())) == len(colours)
    one = draw_case(image, label, (label > 0).astype(np.uint8), TASK)
    other = draw_case(image, label, 2 * (label > 0).astype(np.uint8), TASK)
    assert one != other


def test_three_planes_stand_side_by_side() -> None:
    image, label = _scene()
    one, three = (
        imread(io.BytesIO(draw_case(image, label, label, TASK, planes=n))) for n in (1, 3)
    )
    assert three.shape[0] == one.shape[0]
    assert three.shape[1] == pytest.approx(3 * one.shape[1], abs=3)


@pytest.mark.parametrize(
    ("direction", "names"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), ("axial", "coronal", "sagittal")),
        ((0, 0, 1, 1, 0, 0, 0, -1, 0), ("sagittal", "axial", "coronal")),
    ],
)
def test_planes_are_named_by_the_nearest_axis(
    direction: tuple[float, ...], names: tuple[str, ...]
) -> None:
    geometry = Geometry(spacing_mm=(1.0, 1.0, 1.0), direction=direction)
    image = Volume(array=np.zeros((1, 2, 2, 2), np.float32), geometry=geometry)
    assert tuple(plane_name(image, axis) for axis in range(3)) == names


def test_ct_is_shown_in_a_window_and_mri_by_its_own_range() -> None:
    image, label = _scene()
    ct = dataclasses.replace(TASK, channels=("CT",))
    levels = [
        Volume(array=np.full_like(image.array, value), geometry=image.geometry)
        for value in (-100.0, 200.0)
    ]
    dark, light = (draw_case(level, label, label, ct) for level in levels)
    assert dark != light
    first, second = (draw_case(level, label, label, TASK) for level in levels)
    assert first == second


def test_proportions_follow_the_spacing() -> None:
    label = np.zeros((9, 20, 40), np.uint8)
    label[4, 5:15, 10:30] = 1  # 10 mm x 20 voxels of 0.5 mm: a square
    geometry = Geometry(spacing_mm=(3.0, 1.0, 0.5))
    image = Volume(array=np.zeros((1, *label.shape), np.float32), geometry=geometry)
    reference = _coloured(draw_case(image, np.zeros_like(label), label, TASK)) > 0.3
    height, width = (np.ptp(np.flatnonzero(reference.any(axis=1 - a))) for a in range(2))
    assert height == pytest.approx(width, rel=0.06)


@pytest.mark.parametrize("empty", ["prediction", "reference", "both"])
def test_empty_masks_can_be_drawn(empty: str) -> None:
    image, label = _scene()
    nothing = np.zeros_like(label)
    predicted = nothing if empty in ("prediction", "both") else label
    reference = nothing if empty in ("reference", "both") else label
    assert draw_case(image, predicted, reference, TASK).startswith(b"\x89PNG")


def test_a_review_shows_both_maps_above_and_the_corrected_one_below() -> None:
    image, label = _scene()
    moved = np.roll(label, 4, 2)
    picture = imread(io.BytesIO(draw_review(image, label, moved, moved, TASK)))
    height, width = picture.shape[:2]
    assert height * 3 == pytest.approx(width * 2, abs=6)
    red, blue = picture[..., 0], picture[..., 2]
    coloured = abs(red - blue) > 0.3  # outlines are coloured, images grey
    upper, lower = coloured[: height // 2].sum(), coloured[height // 2 :].sum()
    assert upper > 1.3 * lower > 0  # two outlines above, one below
    assert draw_review(image, label, label, label, TASK)
