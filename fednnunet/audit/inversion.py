"""Gradient inversion: images whose gradient is the update that a site has sent.

Geiping et al., "Inverting Gradients - How Easy Is It to Break Privacy in Federated Learning?",
NeurIPS 2020: from noise, an image is optimised (signed Adam) until the gradient of the loss on it
points the way of the update, by cosine, with a penalty on total variation. The attacker is given
more than a real one has: the label map of the patch, the site's learning rate, and, when images are
compared, the best brightness and contrast. With instance normalisation these are not in a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from fednnunet.network.tensors import Tensors

Loss = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Scalar loss of logits, finest first, and labels (b, z, y, x)."""
VARIATION = 1e-2  # weight of total variation
LEARNING_RATE = 0.1
STEP = 1e-2  # norm by which the weights are moved for a difference
_WINDOW = 7  # voxels of the window of SSIM


def gradient(network: nn.Module, image: Tensor, labels: Tensor, loss: Loss) -> dict[str, Tensor]:
    """The gradient of the loss by every parameter that has one."""
    value = loss(network(image), labels)
    named = dict(network.named_parameters())
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def invert(
    network: nn.Module,
    update: Tensors,
    labels: Tensor,
    loss: Loss,
    *,
    channels: int,
    steps: int,
    seed: int,
) -> Tensor:
    """An image (1, c, z, y, x) whose gradient points against `update`; labels (1, z, y, x)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, channels, *labels.shape[1:])
    image = torch.randn(shape, generator=generator).requires_grad_(True)
    optimiser = torch.optim.Adam([image], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimiser, [steps * part // 8 for part in (3, 5, 7)], gamma=0.1
    )
    size = torch.stack([t.square().sum() for t in update.values()]).sum().sqrt()
    wanted = {name: -tensor / size.clamp_min(1e-12) for name, tensor in update.items()}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(steps):
        found = gradient(network, image, labels, loss)
        rise = _slope_by_image(network, image, labels, loss, _towards(found, wanted))
        (rough,) = torch.autograd.grad(variation(image), image)
        image.grad = (VARIATION * rough - rise).sign()
        optimiser.step()
        schedule.step()
        network.load_state_dict(before)  # without the rounding of the moves
    return image.detach()


def _towards(found: Tensors, wanted: Tensors) -> dict[str, Tensor]:
    """The derivative of the cosine of a gradient with the unit vector `wanted`, by the gradient."""
    shared = {name: tensor for name, tensor in found.items() if name in wanted}
    size = torch.stack([t.square().sum() for t in shared.values()]).sum().sqrt().clamp_min(1e-12)
    cosine = torch.stack([(t * wanted[n]).sum() for n, t in shared.items()]).sum() / size
    return {n: (wanted[n] - cosine * t / size) / size for n, t in shared.items()}


def _slope_by_image(
    network: nn.Module, image: Tensor, labels: Tensor, loss: Loss, along: Tensors
) -> Tensor:
    """The derivative by the image of the product of the weights' gradient with `along`.

    It is the change of the image's gradient as the weights move along it (a central difference),
    which takes two passes and no second derivatives, for which a CPU takes a hundred times as long.
    """
    size = torch.stack([t.square().sum() for t in along.values()]).sum().sqrt().clamp_min(1e-12)
    parts = []
    for sign in (1, -1):
        _move(network, along, sign * STEP / float(size))
        (slope,) = torch.autograd.grad(loss(network(image), labels), image)
        _move(network, along, -sign * STEP / float(size))
        parts.append(slope)
    difference: Tensor = (parts[0] - parts[1]) * (float(size) / (2 * STEP))
    return difference


def _move(network: nn.Module, along: Tensors, share: float) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in along:
                parameter.add_(along[name], alpha=share)


def variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbours along each axis, summed over axes."""
    edges = [image.diff(dim=axis).abs().mean() for axis in range(2, image.ndim)]
    return torch.stack(edges).sum()


def similarity(found: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """SSIM and PSNR in dB of two images (z, y, x), after the best brightness and contrast."""
    x, y = found.astype(np.float64), target.astype(np.float64)
    spread = x.var()
    slope = ((x - x.mean()) * (y - y.mean())).mean() / spread if spread > 0 else 0.0
    fitted = (x - x.mean()) * slope + y.mean()
    span = float(np.ptp(y)) or 1.0
    window = min(_WINDOW, *(edge - 1 + edge % 2 for edge in y.shape))
    ssim = float(structural_similarity(fitted, y, data_range=span, win_size=window))
    error = float(((fitted - y) ** 2).mean())
    return ssim, 10 * float(np.log10(span**2 / max(error, 1e-12)))
