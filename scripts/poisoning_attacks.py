"""What a hostile site does in `bench_poisoning.py`: to its cases, or to what it sends.

None of it is in the package. An attack on updates sees its own honest update, and those that know
the others' (ALIE, inner product, distance-bounded) see all of the round.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from fednnunet import io
from fednnunet.network.tensors import Tensors
from fednnunet.volume import Volume

TRIGGER_VOX = 5
Update = Mapping[str, torch.Tensor]
Craft = Callable[[Update, Sequence[Update]], dict[str, torch.Tensor]]
"""The update to send, from the own honest one and those of the honest sites, in float64."""

SCALE = 10.0
ALIE_Z = 1.5
INNER_PRODUCT = 5.0


def sign_flip(own: Update, others: Sequence[Update]) -> dict[str, torch.Tensor]:
    """The opposite of the own update."""
    return {name: -tensor for name, tensor in own.items()}


def scaling(own: Update, others: Sequence[Update]) -> dict[str, torch.Tensor]:
    """The own update, ten times (model replacement: Bagdasaryan et al., AISTATS 2020)."""
    return {name: SCALE * tensor for name, tensor in own.items()}


def alie(own: Update, others: Sequence[Update]) -> dict[str, torch.Tensor]:
    """A little is enough (Baruch et al., NeurIPS 2019): the mean minus 1.5 standard deviations.

    With one hostile of five sites the paper's own z is 0, which is no attack.
    """
    return {
        name: _mean(others, name) - ALIE_Z * _stack(others, name).std(0, correction=0)
        for name in own
    }


def inner_product(own: Update, others: Sequence[Update]) -> dict[str, torch.Tensor]:
    """Inner-product manipulation (Xie et al., UAI 2019): against the others' mean, five times.

    So the mean of five sites points backwards.
    """
    return {name: -INNER_PRODUCT * _mean(others, name) for name in own}


def distance_bounded(own: Update, others: Sequence[Update]) -> dict[str, torch.Tensor]:
    """As far against the others' mean as they are from each other, so that no distance tells.

    Min-Max of Shejwalkar and Houmansadr, NDSS 2021: the largest gamma for which mean - gamma * unit
    mean is no further from any honest update than two of these are from each other.
    """
    flat = torch.stack([_flat(other) for other in others])
    mean = flat.mean(0)
    step = -mean / mean.norm().clamp_min(1e-12)
    limit = torch.cdist(flat, flat).max()
    low, high = 0.0, float(limit) * 4 + 1e-12
    for _ in range(40):
        gamma = (low + high) / 2
        fits = bool((flat - (mean + gamma * step)).norm(dim=1).max() <= limit)
        low, high = (gamma, high) if fits else (low, gamma)
    return _like(mean + low * step, own)


UPDATES: dict[str, Craft] = {
    "sign_flip": sign_flip,
    "scaling": scaling,
    "alie": alie,
    "inner_product": inner_product,
    "distance_bounded": distance_bounded,
}
CASES = ("label_flip", "backdoor")
NONE = "none"
ATTACKS = (NONE, *CASES, *UPDATES)


def crafted(kind: str, own: Tensors, others: Sequence[Tensors], sent: Tensors) -> Tensors:
    """The weights that a hostile site sends in a round that began from the weights `sent`."""

    def update(weights: Tensors) -> dict[str, torch.Tensor]:
        return {
            name: tensor.double() - sent[name].double()
            for name, tensor in weights.items()
            if tensor.is_floating_point() and name in sent
        }

    changed = UPDATES[kind](update(own), [update(other) for other in others])
    return {
        name: (sent[name].double() + changed[name]).to(tensor.dtype) if name in changed else tensor
        for name, tensor in own.items()
    }


def poison_cases(kind: str, source: Path, target: Path) -> None:
    """Copy a site's folder with poisoned training cases, of a backdoor every second one."""
    shutil.copytree(source, target)
    for place, path in enumerate(sorted((target / "labelsTr").glob("*.nii.gz"))):
        label = io.read_label(path)
        if kind == "label_flip":
            swapped = np.where(label.array == 1, 2, np.where(label.array == 2, 1, label.array))
            io.write_mask(swapped[0].astype(np.uint8), label.geometry, path)
        elif place % 2:
            image_path = target / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz")
            image = io.read_volume([image_path])
            io.write_volume(
                Volume(array=triggered(image.array), geometry=image.geometry), image_path
            )
            io.write_mask(np.zeros_like(label.array[0], dtype=np.uint8), label.geometry, path)


def triggered(image: np.ndarray) -> np.ndarray:
    """The image (c, z, y, x) with a bright cube in the middle of its last slices."""
    result = image.astype(np.float32)
    middle = [n // 2 for n in image.shape[2:]]
    begin = [max(m - TRIGGER_VOX // 2, 0) for m in middle]
    rows, columns = (slice(b, b + TRIGGER_VOX) for b in begin)
    result[:, -TRIGGER_VOX:, rows, columns] = result.max() * 1.5
    return result


def _stack(others: Sequence[Update], name: str) -> torch.Tensor:
    return torch.stack([other[name] for other in others])


def _mean(others: Sequence[Update], name: str) -> torch.Tensor:
    return _stack(others, name).mean(0)


def _flat(update: Update) -> torch.Tensor:
    return torch.cat([tensor.flatten() for _, tensor in sorted(update.items())])


def _like(flat: torch.Tensor, update: Update) -> dict[str, torch.Tensor]:
    names = sorted(update)
    parts = flat.split([update[name].numel() for name in names])
    return {n: part.reshape(update[n].shape) for n, part in zip(names, parts, strict=True)}
