"""Noisy counts for planning: sums that a coordinator accepts, noise of the stated scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fednnunet.planning import noisy_counts
from fednnunet.planning.noisy_counts import noisy_fingerprint, noisy_shapes, sensitivity
from fednnunet.planning.planner import make_plan
from fednnunet.planning.spacing import target_spacing
from fednnunet.planning.validate import validate, validate_shapes
from tests.planning.cases import TASK, exchanges, make_cases

CASES = make_cases(40)
EVEN = (1.0,) * len(CASES)
PAIRS = [(case.spacing_mm, case.shape_vox) for case in CASES]
KEY = b"key"


def release(noise: float, *, key: bytes = KEY, cases=CASES, weights=EVEN):
    return noisy_fingerprint(TASK, cases, weights, noise=noise, key=key)


@pytest.mark.parametrize("noise", [1e-6, 0.3, 3.0, 100.0])
def test_a_coordinator_accepts_whatever_the_noise_makes(noise):
    for number in range(3):
        validate(release(noise, key=bytes([number])), site="a")
        shapes = noisy_shapes((1.0, 1.0, 1.0), PAIRS, EVEN, noise=noise, key=bytes([number]))
        validate_shapes(shapes, site="a", cases=len(CASES))


def test_with_little_noise_the_plan_is_near_the_exact_one():
    exact, shapes = exchanges(CASES)
    noisy = release(1e-6)
    assert noisy.cases == len(CASES)
    assert noisy.label_cases() == exact.label_cases()
    for one, other in zip(target_spacing(noisy), target_spacing(exact), strict=True):
        assert one == pytest.approx(other, rel=0.12)
    counted = noisy_shapes(shapes.spacing_mm, PAIRS, EVEN, noise=1e-6, key=KEY)
    for one, other in zip(counted.median_vox(), shapes.median_vox(), strict=True):
        assert one == pytest.approx(other, rel=0.16)


def test_a_patient_changes_the_histograms_by_at_most_the_stated_sensitivity(monkeypatch):
    """Over all histograms before noise; the difference of two releases without and with a case."""

    def histograms(cases, weights) -> np.ndarray:
        found: list[np.ndarray] = []

        class Exact(noisy_counts._Noise):
            def on(self, counts: np.ndarray) -> np.ndarray:
                found.append(counts.ravel().copy())
                return counts + 1e-9

        monkeypatch.setattr(noisy_counts, "_Noise", Exact)
        noisy_fingerprint(TASK, cases, weights, noise=0.0, key=KEY)
        return np.concatenate(found)

    for weights in (EVEN, (0.5, 0.5, *EVEN[2:])):
        gone = 2 if weights[0] < 1 else 1
        change = histograms(CASES, weights) - histograms(CASES[gone:], weights[gone:])
        assert 1 < np.linalg.norm(change) <= sensitivity(TASK) + 1e-9


def test_the_noise_of_a_bin_is_the_multiplier_times_the_sensitivity():
    one = noisy_counts._Noise(key=KEY, std=0.7 * sensitivity(TASK))
    found = one.on(np.zeros(20_000))
    assert found.std() == pytest.approx(0.7 * sensitivity(TASK), rel=0.03)
    assert not np.allclose(found, one.on(np.zeros(20_000)))
    assert sensitivity(TASK) == math.sqrt(9 + 2 * len(TASK.labels) + len(TASK.channels))


def test_another_key_gives_another_release():
    assert release(0.3).vector.tobytes() == release(0.3).vector.tobytes()
    assert release(0.3).vector.tobytes() != release(0.3, key=b"other").vector.tobytes()


def test_a_plan_can_be_made_of_noisy_sums():
    noisy = release(0.2)
    spacing = target_spacing(noisy)
    shapes = noisy_shapes(spacing, PAIRS, EVEN, noise=0.2, key=KEY)
    assert make_plan(noisy, shapes).cases == len(CASES)


def test_cases_without_foreground_are_possible():
    empty = [
        replace(
            case,
            foreground=(
                type(case.foreground[0])(bins=np.zeros(0, np.int64), columns=np.zeros((4, 0))),
            )
            * len(case.foreground),
            voxels_per_label=(9, *(0,) * (len(TASK.labels) - 1)),
        )
        for case in CASES
    ]
    validate(release(1e-6, cases=empty), site="a")
