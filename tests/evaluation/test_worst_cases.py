"""Failures, the worst cases, and their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fednnunet import io
from fednnunet.evaluation.evaluated import Evaluation
from fednnunet.evaluation.folders import Pair, score_pairs
from fednnunet.evaluation.worst_cases import draw_worst, failures_of, image_of, worst_cases
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))
GEOMETRY = Geometry(spacing_mm=(2.0, 1.0, 1.0))


def make_site(folder: Path) -> Evaluation:
    """Four cases: right, missed nodule, half beside, and a nodule where there is none."""
    pairs = []
    for case, shift, ours, theirs in (
        ("good", 0, True, True),
        ("missed", 0, False, True),
        ("beside", 3, True, True),
        ("extra", 0, True, False),
    ):
        for kind, moved, nodule in (("masks", shift, ours), ("labelsTs", 0, theirs)):
            mask = np.zeros((6, 12, 12), np.uint8)
            mask[1:5, 2 + moved : 6 + moved, 2:6] = 1
            mask[1:3, 2:4, 9:11] = 2 * nodule
            io.write_mask(mask, GEOMETRY, folder / kind / f"{case}.nii.gz")
        image = np.random.default_rng(0).normal(size=(1, 6, 12, 12)).astype(np.float32)
        if case != "extra":
            path = folder / "imagesTs" / f"{case}_0000.nii.gz"
            io.write_volume(Volume(array=image, geometry=GEOMETRY), path)
        paths = {"predicted": folder / "masks", "reference": folder / "labelsTs"}
        pairs.append(Pair(case=case, **{k: p / f"{case}.nii.gz" for k, p in paths.items()}))
    cases = score_pairs(pairs, TASK)
    return Evaluation(task=TASK, cases={"a": cases}, pairs={"a": tuple(pairs)})


def test_failures_say_what_failed(tmp_path: Path) -> None:
    found = [(f.case, f.target, f.what) for f in failures_of(make_site(tmp_path))]
    assert found == [
        ("extra", "nodule", "found where there is none"),
        ("missed", "nodule", "not found"),
        ("beside", "organ", "Dice below 0.5"),
    ]


def test_the_worst_cases_come_first_with_their_images(tmp_path: Path) -> None:
    found = make_site(tmp_path)
    assert [case.case for _, case in worst_cases(found, 2)] == ["extra", "missed"]
    shown = list(draw_worst(found, 3))
    assert [case.scores.case for case, _, _ in shown] == ["extra", "missed", "beside"]
    assert all(case.png.startswith(b"\x89PNG") for case, _, _ in shown)
    assert [path.name if path else None for _, _, path in shown] == [
        None,
        "missed_0000.nii.gz",
        "beside_0000.nii.gz",
    ]


def test_an_image_on_another_grid_is_not_shown(tmp_path: Path) -> None:
    found = make_site(tmp_path)
    array = np.zeros((1, 3, 12, 12), np.float32)
    other = tmp_path / "other"
    io.write_volume(Volume(array=array, geometry=GEOMETRY), other / "extra_0000.nii.gz")
    assert image_of(found.pairs["a"][3], other) == other / "extra_0000.nii.gz"
    ((_, _, path),) = draw_worst(found, 1, images=other)
    assert path is None
