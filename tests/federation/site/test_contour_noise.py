"""How far a model disputes the contours of a site's labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from fednnunet.federation.site.contour_noise import contour_noise, dilated, disputed
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.task import Task
from fednnunet.training.batches import Batch
from fednnunet.training.evaluate_patches import Prediction
from fednnunet.training.targets import make_targets
from tests.federation.site_fakes import a_site
from tests.training.fakes import blobs

ONE_CLASS = Task(name="t", channels=("MRI",), labels=("background", "organ"))


def square(first: int, last: int, left: int | None = None) -> Tensor:
    """One patch (1, 10, 10) with a square of rows first to last, its columns from `left` on."""
    labels = torch.zeros((1, 10, 10), dtype=torch.int16)
    left = first if left is None else left
    labels[0, first : last + 1, left : left + last - first + 1] = 1
    return labels


def noise(labels: Tensor, predicted: Tensor, task: Task = ONE_CLASS) -> float | None:
    logits = torch.stack([predicted == 0, predicted == 1], 1).float()
    batch = Batch(torch.zeros((1, 1, 10, 10)), labels)
    return disputed(Prediction(batch=batch, logits=logits), make_targets(task))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (square(3, 6), 0.0),  # as predicted
        (square(2, 7), 1.0),  # dilated: the inner band is not predicted
        (square(4, 5), 1.0),  # eroded: the outer band is
        (square(3, 6, left=2), 4 / 12),  # shifted: 4 of 12 voxels inside, 4 of 20 without
    ],
)
def test_contours_by_hand(labels, expected):
    assert noise(labels, square(3, 6)) == pytest.approx(expected)


def test_without_the_class_there_is_nothing_to_dispute():
    assert noise(torch.zeros((1, 10, 10), dtype=torch.int16), square(3, 6)) is None


def test_voxels_that_do_not_count_are_in_no_band():
    labels = square(3, 6)
    labels[0, 2] = labels[0, :, 2] = 2  # to be ignored: the band above and at the left
    task = Task(name="t", channels=("MRI",), labels=("background", "organ"), ignore=2)
    predicted = square(2, 6)  # one row and one column too many, all of them ignored
    assert noise(labels, predicted, task) == 0.0


def test_a_mask_grows_by_one_voxel_in_every_direction():
    mask = torch.zeros((1, 1, 3, 3, 3), dtype=torch.bool)
    mask[0, 0, 0, 0, 0] = True
    assert dilated(mask).sum() == 8


class Reader(nn.Module):
    """Reads the label off the brightness of the made-up blobs."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([-((image - label) ** 2) for label in range(3)], 1)


def site_noise(tmp_path, store, *, least=3, **changes):
    policy = SitePolicy(min_cases=3, min_bin_count=1, min_scored_cases=least)
    site = a_site(tmp_path, "one", store=store, policy=policy, **changes)
    return contour_noise(site, replace(site.new_state(), network=Reader()))


def test_wide_labels_have_more_noise_than_good_ones(tmp_path):
    good, wide = blobs(), blobs()
    for case in wide.cases.values():
        case.seg = ndimage.grey_dilation(case.seg, size=3).astype(np.int16)
    found = site_noise(tmp_path, good), site_noise(tmp_path, wide)
    assert 0 < found[0] < 0.35 < 0.6 < found[1] <= 1


def test_too_few_cases_and_labels_without_whole_maps_state_nothing(tmp_path):
    store = blobs()
    assert site_noise(tmp_path, store, least=4) is None
    scribbled = SiteSupervision(cases={"case0": Supervision(kind="scribble")})
    assert site_noise(tmp_path, store, supervision=scribbled) is None
    assert site_noise(tmp_path, store, supervision=scribbled, least=2) is not None
