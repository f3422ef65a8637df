"""Which mixture of several experts' weights suits a case, found on its image alone.

Jiang, Yang, Cheng and Dou, "IOP-FL: Inside-Outside Personalization for Federated Medical Image
Segmentation", IEEE Transactions on Medical Imaging 2023: a hospital outside the federation uses a
mixture of the global model and the sites' own, which is adapted at test time so that predictions
are consistent and of a smooth shape. Here, as there, every layer has its own mixture of the
experts' weights, so the mixed network costs what one network does. For each case it begins as their
even mean, and a few steps of Adam lower the sum of

    consistency   1 - Dice of the predictions for patches and for noisy ones a few voxels away
    certainty     entropy of the predictions, over their foreground
    shape         how much the foreground changes within a small window, over the foreground

which need no label. Patches are where the even mean finds most foreground. Shifted patches demand
little that training did not teach: networks of the recipe `fast`, which sees no mirrored
patches, disagree with themselves on those however well they suit a case.

What differs from the paper and its published code: a table of weights a layer, by softmax, is
adapted for each case, in place of small routing networks over all test images; normalisation
layers are mixed, not trained; the terms and their weights are this package's. Each of them is
relative to the foreground, so that an expert which finds nothing cannot win by being certain of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.inference.compute import Compute
from fednnunet.inference.sliding import predict_logits
from fednnunet.inference.tiles import tile_starts

Part = tuple[EllipsisType | slice, ...]

_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How a mixture is sought.

    `noise` is in standard deviations of the normalised image. `shift_vox` is the distance of the
    second view from the first along every axis, at most an eighth of a patch, and `window_vox` the
    reach of the shape's window on each side. The patches cost one more prediction of the case, and
    a step about six forward passes of them: small volumes take some nine times as long as with one
    network.
    """

    steps: int = 5
    learning_rate: float = 0.5
    patches: int = 2
    noise: float = 0.1
    shift_vox: int = 2
    window_vox: int = 1
    certainty: float = 0.1
    shape: float = 0.1

    def __post_init__(self) -> None:
        whole = self.steps >= 0 and self.patches >= 1 and self.window_vox >= 1
        smallest = min(self.noise, self.shift_vox, self.certainty, self.shape)
        if not (whole and self.learning_rate > 0 and smallest >= 0):
            raise InputError(
                f"routing cannot have the settings {self}",
                mend="give steps, noise, shift_vox, certainty and shape of 0 or more, and "
                "learning_rate, patches and window_vox above 0",
            )


@dataclass(frozen=True, slots=True)
class Experts:
    """Weights of networks of one plan, stacked: `weights[name]` is (experts, ...).

    `layers` says for each tensor which row of a table of mixtures it goes by; all tensors of a
    layer go by the same.
    """

    names: tuple[str, ...]
    weights: Mapping[str, Tensor]
    layers: Mapping[str, int]

    @classmethod
    def of(cls, experts: Mapping[str, Mapping[str, Tensor]], device: torch.device) -> Experts:
        """From each expert's tensors by name."""
        first = next(iter(experts.values()))
        stacked = {n: torch.stack([e[n] for e in experts.values()]).to(device) for n in first}
        modules = list(dict.fromkeys(name.rpartition(".")[0] for name in first))
        layers = {name: modules.index(name.rpartition(".")[0]) for name in first}
        return cls(tuple(experts), stacked, layers)

    def table(self) -> Tensor:
        """The even mixture: zeros (layers, experts), before softmax."""
        rows = max(self.layers.values()) + 1
        return torch.zeros(rows, len(self.names), device=next(iter(self.weights.values())).device)

    def mix(self, table: Tensor) -> dict[str, Tensor]:
        """A network's tensors; counters are the first expert's."""
        shares = table.softmax(1)
        return {
            name: torch.tensordot(shares[self.layers[name]].to(stack), stack, 1)
            if stack.is_floating_point()
            else stack[0]
            for name, stack in self.weights.items()
        }

    def shares(self, table: Tensor) -> dict[str, float]:
        """Each expert's share in the mixture, the mean over layers; they sum to 1."""
        means = table.softmax(1).mean(0).tolist()
        return dict(zip(self.names, means, strict=True))


def route(
    network: nn.Module,
    experts: Experts,
    data: np.ndarray,
    patch_vox: Sequence[int],
    *,
    regions: bool,
    compute: Compute,
    routing: Routing | None = None,
) -> dict[str, float]:
    """Put the mixture for a prepared volume float32 (c, z, y, x) into `network`; returns shares.

    `network` is in eval mode and on `compute`'s device; `regions` says whether its outputs are
    regions (sigmoid) or classes (softmax). The same volume gives the same mixture.
    """
    routing = routing or Routing()
    table = experts.table()
    network.load_state_dict(experts.mix(table))
    views = _views(network, data, patch_vox, regions, compute, routing)
    table.requires_grad_(True)
    optimiser = torch.optim.Adam([table], lr=routing.learning_rate)
    for step in range(routing.steps):
        optimiser.zero_grad()
        with torch.enable_grad():
            mixed = experts.mix(table)
            first, second = (
                _probabilities(torch.func.functional_call(network, mixed, (view,))[shared], regions)
                for view, shared in views.pair(step)
            )
            prediction_inconsistency(first, second, routing, regions=regions).backward()
        optimiser.step()
    network.load_state_dict(experts.mix(table.detach()))
    return experts.shares(table.detach())


def prediction_inconsistency(
    first: Tensor, second: Tensor, routing: Routing, *, regions: bool
) -> Tensor:
    """What a mixture should have little of: the sum of the three terms, a scalar.

    `first` and `second` are probabilities (b, k, z, y, x) of two views of the same voxels; in 2D
    without z. Where they are classes, the first one is the background.
    """
    kept = slice(None) if regions else slice(1, None)
    found, other = first[:, kept], second[:, kept]
    axes = (0, *range(2, first.ndim))
    overlap = 2 * (found * other).sum(axes) + _EPSILON
    dice = overlap / (found.square().sum(axes) + other.square().sum(axes) + _EPSILON)
    mass = found.sum() + _EPSILON
    certainty = _entropy(first, regions).sum() / mass
    shape = _spread(found, routing.window_vox).sum() / mass
    return 1 - dice.mean() + routing.certainty * certainty + routing.shape * shape


def _entropy(p: Tensor, regions: bool) -> Tensor:
    """Entropy of each voxel (b, 1, ...), relative to that of not knowing anything."""
    safe = p.clamp(_EPSILON, 1 - _EPSILON)
    if regions:
        binary = safe * safe.log() + (1 - safe) * (1 - safe).log()
        return -binary.sum(1, keepdim=True) / math.log(2)
    return -(safe * safe.log()).sum(1, keepdim=True) / math.log(p.shape[1])


def _spread(found: Tensor, reach: int) -> Tensor:
    """The largest minus the smallest probability within `reach` voxels, for each voxel."""
    pool = F.max_pool3d if found.ndim == 5 else F.max_pool2d
    size = 2 * reach + 1
    return pool(found, size, 1, reach) + pool(-found, size, 1, reach)


def _probabilities(logits: Tensor, regions: bool) -> Tensor:
    return logits.sigmoid() if regions else logits.softmax(1)


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Boxes (b, c, z, y, x) larger than the patches by `reach` on each side; in 2D without z."""

    boxes: Tensor
    reach: tuple[int, ...]
    noise: float

    def pair(self, step: int) -> tuple[tuple[Tensor, Part], ...]:
        """The patches and shifted, noisy ones, each with the part of it that both show."""
        signs = [1 if (step + 1) >> axis & 1 else -1 for axis in range(len(self.reach))]
        shift = [sign * reach for sign, reach in zip(signs, self.reach, strict=True)]
        first, second = self._crop([0] * len(shift)), self._crop(shift)
        generator = torch.Generator().manual_seed(step)
        grain = torch.randn(second.shape, generator=generator).to(second)
        back = [-s for s in shift]
        return (first, _shared(shift)), (second + self.noise * grain, _shared(back))

    def _crop(self, shift: Sequence[int]) -> Tensor:
        edges = zip(self.boxes.shape[2:], self.reach, shift, strict=True)
        part: Part = (..., *(slice(r + s, n - r + s) for n, r, s in edges))
        return self.boxes[part]


def _shared(shift: Sequence[int]) -> Part:
    """The part of a view that one shifted against it shows as well."""
    return (..., *(slice(max(s, 0), min(s, 0) or None) for s in shift))


def _views(
    network: nn.Module,
    data: np.ndarray,
    patch_vox: Sequence[int],
    regions: bool,
    compute: Compute,
    routing: Routing,
) -> _Views:
    """Of the patches in which the network finds most foreground."""
    logits = torch.from_numpy(predict_logits(network, data, patch_vox, compute=compute))
    p = _probabilities(logits[None], regions)[0]
    found = (p.amax(0) if regions else 1 - p[0]).numpy()
    flat = 3 - len(patch_vox)
    box = (1,) * flat + tuple(patch_vox)
    reach = (0,) * flat + tuple(min(routing.shift_vox, edge // 8) for edge in patch_vox)
    short = [(0, max(edge - n, 0)) for edge, n in zip(box, found.shape, strict=True)]
    found = np.pad(found, short)
    padded = np.pad(data, [(0, 0), *((r, s + r) for r, (_, s) in zip(reach, short, strict=True))])
    corners = itertools.product(
        *(tile_starts(n, edge, 0.5) for n, edge in zip(found.shape, box, strict=True))
    )

    def foreground(corner: Sequence[int]) -> float:
        place = tuple(slice(c, c + e) for c, e in zip(corner, box, strict=True))
        return float(found[place].sum(dtype=np.float64))

    best = sorted(corners, key=foreground, reverse=True)[: routing.patches]
    larger = [e + 2 * r for e, r in zip(box, reach, strict=True)]
    places = [
        tuple(slice(c, c + e) for c, e in zip(corner, larger, strict=True)) for corner in best
    ]
    chosen = [padded[(slice(None), *place)] for place in places]
    tensor = torch.from_numpy(np.stack(chosen).astype(np.float32, copy=False))
    layout = compute.device.memory_format(len(patch_vox))
    boxes = tensor.flatten(2, 2 + flat).to(compute.device.torch_device)
    return _Views(boxes.contiguous(memory_format=layout), reach[flat:], routing.noise)
