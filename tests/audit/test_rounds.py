"""What is seen of a round: a step's gradient, and what each defence leaves of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.audit.inversion import gradient
from fednnunet.audit.rounds import Defence, Patches, cut, names_that_leave, play_round
from fednnunet.federation.privacy.settings import Privacy
from tests.audit.made_up import training
from tests.audit.test_inversion import LABELS, Dense, loss, smooth_image

NAMES = frozenset({"layer.weight", "layer.bias"})
PATCHES = Patches(images=(smooth_image(),), labels=(LABELS,))


def played(defence: Defence):
    return play_round(Dense(), PATCHES, loss, defence, learning_rate=0.5)


def norm(tensors) -> float:
    return float(torch.stack([t.square().sum() for t in tensors.values()]).sum().sqrt())


def test_without_a_defence_one_step_is_the_gradient():
    network = Dense()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    bare = Defence(training=None, shared=NAMES)
    seen = play_round(network, PATCHES, loss, bare, learning_rate=0.5)
    for name, slope in gradient(network, smooth_image(), LABELS, loss).items():
        torch.testing.assert_close(seen[name], -0.5 * slope, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_tensors_that_stay_are_not_seen():
    assert played(Defence(training=None, shared=frozenset({"layer.bias"}))).keys() == {"layer.bias"}


@pytest.mark.parametrize(("unit", "expected"), [("site", 0.01), ("patient", 0.005)])
def test_clips_are_those_of_the_training(unit, expected):
    """By patient the gradient is clipped, and a step has the learning rate 0.5."""
    clipped = training(Privacy(unit=unit, clip=0.01, noise=0.0))
    found = norm(played(Defence(training=clipped, shared=NAMES)))
    assert found == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("unit", ["site", "patient"])
def test_noise_covers_what_was_sent(unit):
    noisy = training(Privacy(unit=unit, clip=0.01, noise=10.0))
    seen = played(Defence(training=noisy, shared=NAMES))
    assert norm(seen) > 0.01 * 10 * 0.5 * (2 * 216) ** 0.5 * 0.8


def test_patches_are_cut_in_their_middle():
    whole = torch.arange(6.0).reshape(1, 1, 6).expand(1, 6, 6)
    assert cut(whole, (2, 4)).shape == (1, 2, 4)
    assert cut(whole, (9, 2))[0, 0].tolist() == [2, 3]


def test_a_private_head_does_not_leave():
    names = ["encoder.0.blocks.0.conv.weight", "heads.0.weight"]
    assert names_that_leave(training(), names) == frozenset(names)
    assert "heads.0.weight" not in names_that_leave(replace(training(), method="fedbn_head"), names)
