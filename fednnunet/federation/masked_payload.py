"""How the tensors of a round's reply become one vector of words, alike at sites and coordinator.

In the vector are the changes against the received tensors, in the order of their names: first of
the floating-point tensors of the network, then of its counters, then a method's extras as they are.
Counters become the rounded mean over the sites (without masks: those of the first site by name).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fednnunet.federation.secure.fixed_point import FixedPoint
from fednnunet.federation.secure_spec import SecureAggregation
from fednnunet.federation.wire.extras import is_extra
from fednnunet.network.tensors import Tensors

MAX_CHANGE = 2.0**21  # of a value, and of an extra: twice the largest value that sites accept
MAX_COUNT = 2.0**20  # by how much a counter may change in a round


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPayload:
    """The layout of the vector, and the numbers in it.

    `like` has the names, shapes and types of a reply's tensors, extras included, `received` the
    tensors that all sites have trained from, and `sites` is the number of sites in the sum.
    """

    settings: SecureAggregation
    received: Tensors
    like: Tensors
    sites: int

    @property
    def size(self) -> int:
        """The number of words."""
        return sum(tensor.numel() for tensor in self.like.values())

    def encode(self, tensors: Tensors, share: float) -> np.ndarray:
        """A site's words, unmasked: `share` times its changes, cut to the norm of `clip`.

        Raises FedNNUNetError for a value that does not fit.
        """
        parts = []
        for names, number, is_weight in self._parts():
            values = np.concatenate([self._change(name, tensors[name]) for name in names])
            if is_weight and self.settings.clip:
                norm = float(np.linalg.norm(values))
                values *= min(1.0, self.settings.clip / norm) if norm > 0 else 1.0
            parts.append(number.encode(values, share))
        return np.concatenate(parts)

    def decode(self, total: np.ndarray, factor: float) -> dict[str, Tensor]:
        """The mean of the sites' tensors, from the sum of their words without masks.

        `factor` is the sum of the weights by which shares were made, over that of those in the sum.
        """
        place, found = 0, {}
        for names, number, _ in self._parts():
            for name in names:
                size = self.like[name].numel()
                mean = number.decode(total[place : place + size]) * factor
                found[name] = self._changed(name, mean)
                place += size
        return {name: found[name] for name in self.like}

    def _parts(self) -> Iterator[tuple[list[str], FixedPoint, bool]]:
        """The names of each part in order, its numbers, and whether they are the weights."""
        names = sorted(self.like)
        network = [name for name in names if not is_extra(name)]
        floating = [name for name in network if self.like[name].is_floating_point()]
        counts = [name for name in network if not self.like[name].is_floating_point()]
        limit = self.settings.clip or MAX_CHANGE
        extras = [name for name in names if is_extra(name)]
        for part, largest in ((floating, limit), (counts, MAX_COUNT), (extras, MAX_CHANGE)):
            if part:
                number = FixedPoint(bits=self.settings.bits, terms=self.sites, limit=largest)
                yield part, number, part is floating

    def _base(self, name: str) -> Tensor | None:
        return None if is_extra(name) else self.received.get(name)

    def _change(self, name: str, tensor: Tensor) -> np.ndarray:
        """The change of a tensor (n,) in float64."""
        values, base = tensor.detach().cpu().to(torch.float64), self._base(name)
        changes = values if base is None else values - base.to(torch.float64)
        array: np.ndarray = changes.flatten().numpy()
        return array

    def _changed(self, name: str, change: np.ndarray) -> Tensor:
        like, base = self.like[name], self._base(name)
        values = torch.from_numpy(change).reshape(like.shape)
        if base is not None:
            values = values + base.to(torch.float64)
        return (values if like.is_floating_point() else values.round()).to(like.dtype)
