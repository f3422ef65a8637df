"""Surfaces and boxes against scipy, and the metrics against MONAI and `surface-distance`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from fednnunet.evaluation.metrics import score_target
from fednnunet.evaluation.surfaces import (
    label_boxes,
    mask_box,
    surface_distances,
    surface_voxels,
    united,
)
from tests.evaluation.blobs import SPACING, blobs


@pytest.mark.parametrize("seed", range(4))
def test_the_surface_is_what_erosion_takes_away(seed: int) -> None:
    mask = blobs(seed)
    inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1))
    np.testing.assert_array_equal(surface_voxels(mask), mask & ~inner)
    assert surface_voxels(np.ones((1, 4, 4), bool)).all()


def test_boxes_are_those_of_each_value() -> None:
    labels = np.zeros((5, 6, 7), np.int16)
    labels[1:3, 2, 3:5] = 2
    labels[4, 5, 6] = 4
    labels[0, 0, 0] = 9
    found = label_boxes(labels, 4)
    assert found == {
        2: (slice(1, 3), slice(2, 3), slice(3, 5)),
        4: (slice(4, 5), slice(5, 6), slice(6, 7)),
    }
    assert united([found[2], None, found[4]]) == (slice(1, 5), slice(2, 6), slice(3, 7))
    assert mask_box(labels == 2) == found[2]
    assert mask_box(labels == 3) is None
    assert united([None]) is None
    assert label_boxes(np.zeros((2, 2, 2), np.int16), 3) == {}


def test_an_empty_mask_has_no_distances() -> None:
    full, empty = np.ones((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    found = surface_distances(full, empty, SPACING)
    assert not found.both.size
    assert all(math.isnan(v) for v in (found.hd_mm, found.hd95_mm, found.assd_mm, found.nsd(1.0)))


@pytest.mark.parametrize("seed", range(5))
def test_hd_assd_nsd_and_directed_percentiles_equal_monai(seed: int) -> None:
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    first, second = blobs(seed), blobs(seed + 50)
    score, found = score_target(first, second, SPACING), surface_distances(first, second, SPACING)
    pair = [torch.from_numpy(mask[None, None]) for mask in (first, second)]
    common = {"include_background": True, "spacing": SPACING}

    def close(value: object, expected: float) -> None:
        assert float(value) == pytest.approx(expected, rel=1e-6, abs=1e-6)  # type: ignore[arg-type]

    close(metrics.compute_hausdorff_distance(*pair, **common), score.hd_mm)
    directed = max(np.percentile(found.there, 95), np.percentile(found.back, 95))
    close(metrics.compute_hausdorff_distance(*pair, percentile=95, **common), directed)
    assd = metrics.compute_average_surface_distance(*pair, symmetric=True, **common)
    close(assd, score.assd_mm)
    nsd = metrics.compute_surface_dice(*pair, class_thresholds=[2.0], **common)
    close(nsd, score.nsd)
    close(metrics.compute_dice(*pair, include_background=True), score.dice)
    close(metrics.compute_iou(*pair, include_background=True), score.iou)


@pytest.mark.parametrize("seed", range(3))
def test_dice_equals_surface_distance_and_its_surfaces_are_near_ours(seed: int) -> None:
    """Its surface elements lie at the corners of voxels, so its distances differ by part of one."""
    module = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    first, second = blobs(seed), blobs(seed + 50)
    score = score_target(first, second, SPACING)
    assert module.compute_dice_coefficient(second, first) == pytest.approx(score.dice, abs=1e-6)
    distances = module.compute_surface_distances(second, first, SPACING)
    hd = module.compute_robust_hausdorff(distances, 100)
    assert abs(hd - score.hd_mm) <= np.linalg.norm(SPACING)
