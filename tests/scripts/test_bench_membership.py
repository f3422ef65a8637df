from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_membership")


def make_case(seed: int) -> CaseFingerprint:
    rng = np.random.default_rng(seed)
    z, y, x = (int(edge) for edge in rng.integers(30, 80, 3))
    return CaseFingerprint(
        spacing_mm=(1.0, 1.0, 1.0),
        shape_vox=(z, y, x),
        crop_ratio=1.0,
        foreground=(ForegroundSketch.of_voxels(rng.normal(300, 60, 400)),),
        voxels_per_label=(z * y * x - 400, 400),
    )


def test_the_auc_counts_ties_half(bench: ModuleType) -> None:
    assert bench.auc([3.0, 2.0], [1.0, 0.0]) == 1
    assert bench.auc([1.0], [1.0]) == 0.5
    assert bench.auc([0.0, 2.0], [1.0]) == 0.5


@pytest.mark.parametrize(("min_bin_count", "low", "high"), [(1, 0.95, 1.0), (5, 0.3, 0.7)])
def test_the_attack_finds_members_in_exact_mode_only(
    bench: ModuleType, min_bin_count: int, low: float, high: float
) -> None:
    cases = [make_case(seed) for seed in range(24)]
    runs = [bench.attack(TASK, cases, min_bin_count, seed) for seed in range(3)]
    assert low <= np.mean([run["occupied: all"] for run in runs]) <= high
