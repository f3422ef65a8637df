"""Merged intensities against all voxels of the real sets, every case weighing the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fednnunet.io import read_label, read_volume
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.intensity import merged_intensity
from fednnunet.preprocess.measure import measure_case
from fednnunet.task import Task

SETS = {
    "hippocampus": Task(
        name="h", channels=("MRI",), labels=("background", "anterior", "posterior")
    ),
    "spinal_cord_gm": Task(name="s", channels=("T2*",), labels=("background", "white", "gray")),
    "sarcoma_ct": Task(name="c", channels=("CT",), labels=("background", "tumour")),
}


def weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, percent / 100 * total[-1])])


@pytest.mark.parametrize("name", SETS)
def test_intensities_within_half_a_percent_of_all_voxels(name: str, shared_data: Path) -> None:
    task = SETS[name]
    total = Fingerprint.empty(task)
    voxels, weights = [], []
    for site in sorted((shared_data / name).iterdir()):
        measured = []
        for label_path in sorted((site / "labelsTr").iterdir()):
            image = site / "imagesTr" / label_path.name.replace(".nii.gz", "_0000.nii.gz")
            volume, label = read_volume([image]), read_label(label_path)
            measured.append(measure_case(volume, label.array[0], task))
            inside = volume.array[0][label.array[0] > 0].astype(np.float64)
            voxels.append(inside)
            weights.append(np.full(len(inside), 1 / len(inside)))
        total = total + Fingerprint.of(task, measured)
    pooled, weight = np.concatenate(voxels), np.concatenate(weights)
    mean = np.average(pooled, weights=weight)
    (found,) = merged_intensity(total)
    assert total.cases == len(voxels)
    assert found.mean == pytest.approx(mean, rel=1e-6)
    assert found.std == pytest.approx(
        np.sqrt(np.average((pooled - mean) ** 2, weights=weight)), rel=1e-6
    )
    for percent, value in (
        (0.5, found.percentile_00_5),
        (50, found.median),
        (99.5, found.percentile_99_5),
    ):
        assert value == pytest.approx(weighted_percentile(pooled, weight, percent), rel=5e-3)
    assert found.min == pytest.approx(pooled.min(), rel=5e-3)
    assert found.max == pytest.approx(pooled.max(), rel=5e-3)
