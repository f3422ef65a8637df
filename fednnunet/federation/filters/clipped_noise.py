"""Differential privacy of a site's update: clipped to an L2 norm, with Gaussian noise on it.

A site sends, for the floating-point tensors of the network together,

    received + u * min(1, C / |u|) + z * C * N(0, 1),      u = new - received.

McMahan et al., "Learning Differentially Private Recurrent Language Models", ICLR 2018, but noised
at the site, so that the coordinator need not be trusted. Whatever the site's cases are, its clipped
update lies in a ball of radius C, so two sets of cases change it by at most 2 C: that is the
sensitivity that epsilon is computed with. The noise is a function of the site's secret key and of
the clipped update (`secret_noise`). It is the first filter of a chain: what follows sees noisy
weights only, and the coordinator has nothing to undo.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.filters.change import is_change
from fednnunet.federation.filters.filter import FilterContext
from fednnunet.network.tensors import Tensors
from fednnunet.secret_noise import digest_of
from fednnunet.training.per_patient import norm_of
from fednnunet.training.secret_key import key_in, normal_like

KEY = "key"
"""Where the site's key lies in the filter's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedNoise:
    """Clips a site's update to `clip` and adds noise of `noise` times the clip."""

    clip: float
    noise: float

    @property
    def words(self) -> str:
        """For the ledger."""
        return f"update clipped to {self.clip:g} with noise of {self.noise:g} clips"

    def site(self, payload: Tensors, context: FilterContext, /) -> dict[str, Tensor]:
        """The received tensors with the clipped, noisy update.

        Raises FedNNUNetError for a tensor without a received one, and for values not finite.
        """
        stray = [name for name in payload if not is_change(name, context)]
        if stray:
            raise _fault(f"tensor {stray[0]} cannot be sent with noise", context)
        update = {name: t.float() - context.received[name].float() for name, t in payload.items()}
        norm = float(norm_of(update))
        if not norm < float("inf"):
            raise _fault("after local training the weights are not finite", context)
        share = min(1.0, self.clip / norm) if norm else 1.0
        clipped = {name: tensor * share for name, tensor in sorted(update.items())}
        noisy = self._noisy(clipped, context)
        return {
            name: context.received[name] + noisy[name].to(t.dtype) for name, t in payload.items()
        }

    def _noisy(self, clipped: dict[str, Tensor], context: FilterContext) -> dict[str, Tensor]:
        if not self.noise:
            return clipped
        key = key_in(context.memory, KEY)
        digest = digest_of(_bytes(clipped.values())).hex()
        about = f"update/{context.run}/{context.phase}/{context.round}/{digest}"
        std = self.noise * self.clip
        return {
            name: tensor.add(normal_like(key, f"{about}/{name}", tensor), alpha=std)
            for name, tensor in clipped.items()
        }

    def coordinator(self, payload: Tensors, context: FilterContext, /) -> Tensors:
        """The tensors as they came."""
        return payload


def _bytes(tensors: Iterable[Tensor]) -> Iterable[bytes]:
    return (tensor.cpu().contiguous().numpy().tobytes() for tensor in tensors)


def _fault(what: str, context: FilterContext) -> FedNNUNetError:
    return FedNNUNetError(
        what,
        where=f"site {context.site}, round {context.round + 1}",
        mend="train without [training.privacy], or with a method and recipe that suit it",
    )
