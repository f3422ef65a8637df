from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fednnunet.labels.mixup import mixed
from fednnunet.supervision import Supervision
from tests.training.steps import batch

NONE = Supervision(kind="none")


def pseudo_batch(*kinds):
    whole = batch(len(kinds))
    labels = torch.arange(len(kinds), dtype=torch.int16).reshape(-1, 1, 1, 1)
    labels = labels.expand_as(whole.labels)
    return replace(whole, supervision=kinds, pseudo=(labels,), pseudo_weights=(0.5,))


def test_unlabelled_patches_are_mixed_with_the_next_one_and_so_are_their_labels():
    before = pseudo_batch(NONE, Supervision(), NONE)
    after = mixed(before, 0.3, 5)
    share = float(np.random.default_rng(5).beta(0.3, 0.3))
    expected = share * before.image[0] + (1 - share) * before.image[2]
    torch.testing.assert_close(after.image[0], expected)
    torch.testing.assert_close(after.image[1], before.image[1])
    assert [int(labels[2, 0, 0, 0]) for labels in after.pseudo] == [2, 0]
    assert [int(labels[1, 0, 0, 0]) for labels in after.pseudo] == [1, 1]
    assert after.pseudo_weights == (share * 0.5, (1 - share) * 0.5)


def test_a_patch_alone_stays():
    before = pseudo_batch(NONE, Supervision())
    assert mixed(before, 0.3, 5) is before
