"""The views that vote on a tile: every network, on the tile and on its mirrored copies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fednnunet.device import Device
from fednnunet.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Views:
    """Networks in eval mode on one device, each with its share of the vote.

    `mirror_axes` are axes of the patch; every combination of their flips is a view. With `spread`
    one more channel says how far the views are from agreement: the largest standard deviation, over
    classes (`regions`: over regions), of the views' probabilities, from 0 to 0.5.
    """

    networks: tuple[nn.Module, ...]
    shares: tuple[float, ...] = ()
    """One above 0 for each network; without any, all count alike."""
    mirror_axes: tuple[int, ...] = ()
    spread: bool = False
    regions: bool = False

    def __post_init__(self) -> None:
        if not self.networks:
            raise InputError("no network was given", mend="give at least one bundle")
        if self.shares and len(self.shares) != len(self.networks):
            raise InputError(
                f"{len(self.shares)} weights for {len(self.networks)} bundles",
                mend="give one weight for each bundle, in the same order",
            )
        if any(not 0 < share < float("inf") for share in self.shares):
            raise InputError(
                f"the weights of the bundles are {list(self.shares)}",
                mend="give numbers above 0, such as 2,1",
            )

    @property
    def count(self) -> int:
        """The number of views of a tile."""
        return len(self.networks) * 2 ** len(self.mirror_axes)

    def __call__(self, batch: Tensor, device: Device) -> Tensor:
        """Mean logits (b, k, *patch) float32 of a batch (b, c, *patch), on the device."""
        total: Tensor | None = None
        moments: tuple[Tensor, Tensor] | None = None
        batch = device.arrange(batch.to(device.torch_device))
        with device.autocast():
            for network, share, flip in self._each():
                logits = network(batch.flip(flip) if flip else batch)
                logits = (logits.flip(flip) if flip else logits).float()
                if self.spread:
                    p = logits.sigmoid() if self.regions else logits.softmax(1)
                    first, second = moments or (0.0, 0.0)
                    moments = first + share * p, second + share * p * p
                logits = logits if share == 1 else share * logits
                total = logits if total is None else total + logits
        whole = sum(share for _, share, _ in self._each())
        if total is None:
            raise InputError("no network was given", mend="give at least one bundle")
        mean = total if whole == 1 else total.div_(whole)
        if moments is None:
            return mean
        first, second = (moment / whole for moment in moments)
        deviation = (second - first * first).clamp_(min=0).amax(1, keepdim=True).sqrt_()
        return torch.cat([mean, deviation], 1)

    def _each(self) -> Iterator[tuple[nn.Module, float, list[int]]]:
        shares: Sequence[float] = self.shares or (1.0,) * len(self.networks)
        flips = [
            [axis + 2 for axis in axes]
            for count in range(len(self.mirror_axes) + 1)
            for axes in itertools.combinations(self.mirror_axes, count)
        ]
        for network, share in zip(self.networks, shares, strict=True):
            for flip in flips:
                yield network, share, flip
