"""FedDG's amplitude exchange: training patches take on the appearance of other sites' images.

Liu et al., "FedDG: Federated Domain Generalization on Medical Image Segmentation via Episodic
Learning in Continuous Frequency Space", CVPR 2021. Each site sends the amplitude of its images' low
frequencies; in every other training patch, a site moves the amplitude of those frequencies towards
another site's by a random share (`training.amplitude` has the formula). The labels and the phase
stay. The merge is FedAvg's.

What differs from the paper:
- A site sends one amplitude, the mean over all its training cases, and not one of each image: no
  amplitude of a single patient leaves it, and it refuses where it has fewer training cases than its
  own policy asks for. All exchanged patches of a pair of sites thus share one appearance.
- The transform is in three dimensions, of patches of the plan's size. The paper's is of 2D slices,
  with a square whose half-width is a share of their edge; here it is `waves` whole waves over the
  patch.
- Patches are exchanged at random, as a part of the augmentation, instead of being added to the
  batch. The paper's episodic training (a meta-step on exchanged images, and a term at the
  boundary) is left out.

The amplitudes are measured in a site's first round; the exchange begins in the second. Besides
FedAvg's bytes a site sends a few hundred numbers, and receives as many for each site.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Reply, State, Streamed, Tensors
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.planning.minimum_counts import check_cases
from fednnunet.training.amplitude import Exchange, amplitude_shape, mean_amplitude
from fednnunet.training.local_rule import LocalRule, RoundContext

_OWN, _BANK = "amplitude", "amplitude/"
_FIRST = "encoder.0.blocks.0.conv.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowAmplitude:
    """The augmentation: with `chance`, towards one of the other sites' amplitudes.

    A site's own is not borrowed: it is known by what the site keeps in its memory.
    """

    chance: float

    def __post_init__(self) -> None:
        if not 0 < self.chance <= 1:
            raise InputError(f"the chance is {self.chance}", mend="choose above 0, at most 1")

    def __call__(self, memory: Tensors, context: RoundContext, /) -> Exchange | None:
        """The exchange, or None where no other site has sent its amplitude."""
        own = memory[_OWN].cpu() if _OWN in memory else None
        bank = [t.cpu() for name, t in sorted(context.extras.items()) if name.startswith(_BANK)]
        others = [t for t in bank if own is None or not torch.equal(t, own)]
        return Exchange(amplitudes=tuple(others), chance=self.chance) if others else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanAmplitude:
    """The extra: a site's mean amplitude of up to `waves` waves, over `patches` of every case."""

    words: str = (
        "mean strength of the lowest spatial frequencies over all of the site's training cases, "
        "which every site receives"
    )
    waves: int
    patches: int

    def __post_init__(self) -> None:
        if self.waves < 0 or self.patches < 1:
            raise InputError(
                f"waves is {self.waves}, patches {self.patches}",
                mend="choose waves of 0 or more, and at least one patch",
            )

    def like(self, tensors: Tensors, shared: Collection[str], /) -> dict[str, Tensor]:
        """Its size, from the first convolution's weight (f, c, z, y, x)."""
        weight = tensors[_FIRST]
        return {_OWN: torch.zeros(amplitude_shape(weight.shape[1], weight.ndim - 2, self.waves))}

    def received(self, like: Tensors, sites: Collection[str], /) -> Tensors:
        """The amplitudes of the sites that have sent theirs."""
        return {_BANK + site: like[_OWN] for site in sites}

    def reply(self, site: TrainedSite, /) -> dict[str, Tensor]:
        """Measured once, then remembered; raises RefusalError where the site has too few cases."""
        check_cases(site.cases, site.min_cases)
        if _OWN not in site.state.memory:
            patches = (batch.image for batch in site.each_case(self.patches))
            site.state.memory[_OWN] = mean_amplitude(patches, self.waves)
        return {_OWN: site.state.memory[_OWN].cpu()}


class AmplitudeAggregation:
    """The mean of a round's weights, and the amplitude of every site that has ever replied."""

    def __init__(self, state: State) -> None:
        self._mean = mean_by_cases.start(state)
        self._amplitudes: dict[str, Tensor] = {}

    def add(self, reply: Reply, /) -> None:
        """Add the reply; raises ReplyError where it cannot be summed."""
        self._mean.add(reply)
        self._amplitudes[_BANK + reply.site] = reply.extras[_OWN].clone()

    def finish(self) -> State:
        """The state after the round, with each site's amplitude among its extras."""
        new = self._mean.finish()
        return replace(new, extras={**new.extras, **dict(sorted(self._amplitudes.items()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class FedDG:
    """Patches take on other sites' mean low-frequency amplitude (FedDG, Liu 2021)."""

    tag: ClassVar[str] = "feddg"

    chance: float = 0.5
    """Share of the training patches whose amplitude is exchanged, above 0 and up to 1."""

    waves: int = 2
    """The highest frequency that is exchanged, in whole waves over a patch; 0 or more."""

    patches: int = 4
    """Patches of each training case over which a site measures its amplitude, at least 1."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(augmentations=(BorrowAmplitude(chance=self.chance),)),
            extras=(MeanAmplitude(waves=self.waves, patches=self.patches),),
            merge=Streamed(AmplitudeAggregation, keeps_equal_sites=True),
        )
