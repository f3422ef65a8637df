"""Masked patches are restored, by no label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.labels.pretraining import (
    MaskBlocks,
    MaskedVolumes,
    Pretraining,
    Reconstruction,
    fixed_head,
    standardised,
)
from fednnunet.training.features import capture_features
from fednnunet.training.local_rule import ForwardPass, RoundContext
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.targets import make_targets
from tests.training.fakes import CPU, MemoryStore, a_job, blobs, small_plan, small_task
from tests.training.fakes import source as a_source


def test_a_share_of_the_blocks_becomes_nought() -> None:
    torch.manual_seed(0)
    image = torch.ones(2, 8, 8, 6)
    masked = MaskBlocks(share=0.5, block=0.25)(image=image, segmentation=None)["image"] == 0
    assert torch.equal(masked[0], masked[1])  # all channels at the same places
    blocks = masked[0].reshape(4, 2, 4, 2, 3, 2).float().mean((1, 3, 5))
    assert set(blocks.unique().tolist()) == {0.0, 1.0} and blocks.sum() == 24
    assert image.min() == 1
    flat = MaskBlocks(share=0.05, block=0.5)(image=torch.ones(1, 5, 7))["image"]
    assert (flat == 0).any()  # one block at least, also where the edges do not divide


def forward(image: torch.Tensor, weak: torch.Tensor | None, features: torch.Tensor) -> ForwardPass:
    return ForwardPass(
        network=torch.nn.Identity(),
        image=image,
        labels=torch.zeros(image.shape[0], *image.shape[2:], dtype=torch.int16),
        logits=features,
        features=features,
        targets=make_targets(small_task()),
        context=RoundContext(),
        weak=weak,
    )


def test_the_error_is_that_of_masked_voxels() -> None:
    weak = torch.tensor([1.0, 3.0, 1.0, 3.0]).reshape(1, 1, 1, 1, 4)  # standardised: -1, 1, -1, 1
    image = torch.tensor([0.0, 3.0, 0.0, 3.0]).reshape(1, 1, 1, 1, 4)
    features = torch.zeros(1, 2, 1, 1, 4)
    features[0, 0, 0, 0] = torch.tensor([2.0, 9.0, -1.0, 9.0])
    weight = fixed_head(weak, features)[0, 0].item()
    expected = ((2 * weight + 1) ** 2 + (-weight + 1) ** 2) / 2
    assert Reconstruction()(forward(image, weak, features)).item() == pytest.approx(expected)
    assert Reconstruction()(forward(image, None, features)).item() == 0
    assert standardised(weak).flatten().tolist() == pytest.approx([-1, 1, -1, 1])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="masked"):
        Pretraining(masked=1.0)


def error_of(state, batch) -> float:
    with torch.no_grad(), capture_features(state.network) as features:
        logits = state.network(batch.image)[0]
    whole = replace(forward(batch.image, batch.weak, features[-1]), logits=logits)
    return Reconstruction()(whole).item()


def test_training_restores_patches_without_labels() -> None:
    from fednnunet.training.trainer import train

    plan, configuration = small_plan()
    volumes = MaskedVolumes(settings=Pretraining())
    wrong = MemoryStore(
        {name: replace(case, seg=np.roll(case.seg, 3, 0)) for name, case in blobs().cases.items()}
    )
    ends = []
    for store, iterations in ((blobs(), 30), (blobs(), 2), (wrong, 2)):
        state = new_state(plan, configuration, RECIPES["fast"], CPU, seed=1)
        state.network.eval()
        job = volumes.job(a_job(store=store, iterations=iterations))
        batch = a_source(second_view=volumes.second_view, foreground=0.0)[99]
        before = error_of(state, batch)
        summary = train(state, job, CPU)
        assert summary.loss == 0  # of labels
        ends.append((before, error_of(state, batch)))
    assert ends[0][1] < 0.9 * ends[0][0]
    assert ends[1] == ends[2]  # the labels do not matter
