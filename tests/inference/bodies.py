"""A made-up volume with two structures, and a network that finds them by thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from torch import nn

from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.ensemble import VolumePredictor, Vote
from fednnunet.planning.plan import Plan
from fednnunet.volume import Volume

_C, _S = float(np.cos(0.3)), float(np.sin(0.3))
DIRECTIONS = {
    "straight": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    "flipped": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0),
    "oblique": (_C, -_S, 0.0, _S, _C, 0.0, 0.0, 0.0, 1.0),
    "sagittal": (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
}
SHAPE = (12, 18, 15)
SPACING = (2.0, 0.9, 1.1)


class Threshold(nn.Module):
    """Label 1 where the normalised image is bright, 2 where it is very bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :1]
        return torch.cat([torch.full_like(x, 0.5), x, 2 * x - 2], 1)


def body() -> np.ndarray:
    """A body of 100, a bright box and a very bright one in it, off the middle; zeros about it."""
    array = np.zeros(SHAPE, np.float32)
    array[1:, 2:, :-1] = 100
    array[3:9, 4:11, 2:12] = 200
    array[4:8, 5:10, 3:10] = 400
    return array


def truth() -> np.ndarray:
    return np.digitize(body(), (150, 300)).astype(np.uint8)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def write_body(path: Path, direction: str = "straight") -> None:
    image = SimpleITK.GetImageFromArray(body())
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((-31.5, 12.25, 100.0))
    image.SetDirection(DIRECTIONS[direction])
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def mask_of(
    networks: Sequence[nn.Module],
    plan: Plan,
    volume: Volume,
    compute: Compute,
    *,
    mirror: bool = False,
) -> np.ndarray:
    """The mask of a volume by networks without bundles."""
    weights: dict[str, torch.Tensor] = {}
    bundles = [
        _Given(plan=plan, configuration=plan.configurations[0].name, weights=weights, mirrored=True)
        for _ in networks
    ]
    for bundle, network in zip(bundles, networks, strict=True):
        object.__setattr__(bundle, "given", network)
    return VolumePredictor(bundles, compute=compute, vote=Vote(mirror=mirror))(volume)


class _Given(Bundle):
    """A bundle whose network is given."""

    given: nn.Module

    def network(self) -> nn.Module:
        return self.given
