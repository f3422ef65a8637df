"""Gradient inversion on a network from which it must succeed, and the measures of likeness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fednnunet.audit.inversion import _slope_by_image, gradient, invert, similarity, variation

EDGE = 6


class Dense(nn.Module):
    """One dense layer: its gradient is a multiple of the image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(EDGE**3, 2)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [torch.tanh(self.layer(image.flatten(1)))]


def loss(logits, labels: Tensor) -> Tensor:
    return ((logits[0] - 1) ** 2).sum()


def smooth_image() -> Tensor:
    z, y, x = np.indices((EDGE,) * 3) / EDGE
    return torch.from_numpy(np.sin(3 * z) + np.cos(4 * y) + x).float()[None, None]


LABELS = torch.zeros(1, EDGE, EDGE, EDGE)


def test_a_dense_layers_gradient_gives_the_image_away():
    network, image = Dense(), smooth_image()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    update = {name: -slope for name, slope in gradient(network, image, LABELS, loss).items()}
    found = invert(network, update, LABELS, loss, channels=1, steps=150, seed=1)
    truth = image[0, 0].numpy()
    ssim, psnr = similarity(found[0, 0].numpy(), truth)
    noise = similarity(np.random.default_rng(0).normal(size=truth.shape), truth)
    assert ssim > 0.8 > 0.4 > noise[0]
    assert psnr > noise[1] + 5
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_the_slope_by_the_image_is_that_of_second_derivatives():
    network, image = Dense().double(), smooth_image().double().requires_grad_(True)
    along = {name: torch.randn_like(p) for name, p in network.named_parameters()}
    value = loss(network(image), LABELS)
    slopes = torch.autograd.grad(value, list(network.parameters()), create_graph=True)
    product = sum((s * along[n]).sum() for s, n in zip(slopes, along, strict=True))
    (exact,) = torch.autograd.grad(product, image)
    found = _slope_by_image(network, image, LABELS, loss, along)
    torch.testing.assert_close(found, exact, rtol=1e-2, atol=1e-3)


def test_likeness_does_not_see_brightness_and_contrast():
    truth = smooth_image()[0, 0].numpy()
    ssim, psnr = similarity(-3 * truth + 7, truth)
    assert ssim == pytest.approx(1, abs=1e-6)
    assert psnr > 80
    assert similarity(np.zeros_like(truth), truth)[0] < 0.5


def test_variation_of_a_flat_image_is_0():
    assert float(variation(torch.ones(1, 1, 3, 3, 3))) == 0
    assert float(variation(torch.arange(3.0).reshape(1, 1, 3, 1, 1).expand(1, 1, 3, 2, 2))) == 1
