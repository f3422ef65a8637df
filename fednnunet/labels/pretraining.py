"""Self-supervised rounds before the first labelled one: masked patches are restored.

Every site trains on all of its cases, labelled or not. Blocks of an augmented patch are set to 0,
the mean of normalised intensities, and the network is to restore what was there:

    L = mean over samples of  1 / |M| sum over v in M and channels of ((W f(v)) - t(v))^2

with M the masked voxels, f(v) the features that the finest segmentation head reads, and t the
patch's own intensities before those were changed by augmentation, with mean 0 and standard
deviation 1 in each patch and channel. Masked modelling of volumes: Chen et al., "Masked Image
Modeling Advances 3D Medical Image Analysis", WACV 2023; targets normalised by patch: He et al.,
"Masked Autoencoders Are Scalable Vision Learners", CVPR 2022. Encoder and decoder are trained, so
that nothing but the heads begins anew; He et al. throw the decoder away.

The head W of the reconstruction is a fixed random matrix, the same at every site. The last
convolution of the decoder can learn what a trained head would, and a head that is not trained needs
no place in a site's state or in a message. The segmentation heads get no gradient.

In these rounds the method's own rules rest: what it shares is merged by the mean over cases, in
which unlabelled sites count like all others; what it keeps private every site trains alone.

FedMoCo's contrast (Dong and Voiculescu, "Federated Contrastive Learning for Decentralized Unlabeled
Medical Images", MICCAI 2021) is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.labels.unlabelled import make_zero_loss
from fednnunet.planning.plan import Configuration
from fednnunet.ranges import Within, check_ranges
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from fednnunet.training.batches import Batch, SecondView
from fednnunet.training.completion import CompletedLoss, Moment
from fednnunet.training.imbalance import ClassBalance
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_rule import ForwardPass, LocalRule
from fednnunet.training.recipe import Recipe
from fednnunet.training.state import TrainingState

_SEED = 20_221  # of the fixed head; a number like any other


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """Self-supervised rounds: how patches are masked."""

    masked: Annotated[float, Within(0.05, 0.95)] = 0.6
    """Share of a patch's blocks that is masked."""
    block: Annotated[float, Within(0.01, 0.5)] = 0.125
    """Edge of a block, as a share of the patch's edge on each axis."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.pretraining]")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskBlocks:
    """A step of augmentation: a `share` of the blocks of a patch becomes 0, at least one.

    It uses torch's global random generator, which the augmenter seeds for each patch.
    """

    share: float
    block: float

    def __call__(self, **values: Any) -> dict[str, Any]:
        """The values with `image` (c, *patch) changed."""
        image = values["image"]
        edges = [max(1, round(size * self.block)) for size in image.shape[1:]]
        grid = [-(-size // edge) for size, edge in zip(image.shape[1:], edges, strict=True)]
        chance = torch.rand(grid)
        count = max(1, round(self.share * chance.numel()))
        masked = chance <= chance.flatten().kthvalue(count).values
        for axis, (edge, size) in enumerate(zip(edges, image.shape[1:], strict=True)):
            masked = masked.repeat_interleave(edge, axis).narrow(axis, 0, size)
        return {**values, "image": image.masked_fill(masked, 0)}


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The term of the loss; without a weak view (the target) there is none."""

    def __call__(self, forward: ForwardPass, /) -> Tensor:
        """The mean over samples of the squared error on masked voxels, a scalar."""
        target, features = forward.weak, forward.features
        if target is None or features is None:
            return forward.logits.new_zeros(())
        masked = (forward.image == 0).all(1) & (target != 0).any(1)  # (b, z, y, x)
        restored = torch.einsum("cf,bf...->bc...", fixed_head(target, features), features.float())
        axes = tuple(range(1, restored.ndim))
        error = ((restored - standardised(target)).square() * masked[:, None]).sum(axes)
        count = masked.sum(axes[:-1]).clamp_min(1) * target.shape[1]
        return (error / count).mean()


def fixed_head(target: Tensor, features: Tensor) -> Tensor:
    """The matrix W (c, f) for channels of the target and features, the same on every machine."""
    generator = torch.Generator().manual_seed(_SEED)
    channels, width = target.shape[1], features.shape[1]
    weights = torch.randn(channels, width, generator=generator) / width**0.5
    return weights.to(features.device)


def standardised(image: Tensor) -> Tensor:
    """An image (b, c, z, y, x) with mean 0 and standard deviation 1 in each sample and channel."""
    axes = tuple(range(2, image.ndim))
    centred = image.float() - image.float().mean(axes, keepdim=True)
    return centred / centred.square().mean(axes, keepdim=True).sqrt().clamp_min(1e-6)


def every_case(supervision: Supervision) -> bool:
    """Whether a sample is masked: all are, whatever their labels."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedVolumes:
    """What a job needs in these rounds, in the place of what completes labels."""

    settings: Pretraining

    def job(self, job: LocalJob) -> LocalJob:
        """A job turned into one of these rounds: no label decides what is trained, nor where."""
        recipe = replace(job.recipe, foreground=0.0, balance=ClassBalance())
        return replace(job, recipe=recipe, make_loss=make_zero_loss, completion=self)

    @property
    def second_view(self) -> SecondView:
        """Every patch is masked in one view."""
        mask = MaskBlocks(share=self.settings.masked, block=self.settings.block)
        return SecondView(wanted=every_case, strong=(mask,))

    @property
    def local_rule(self) -> LocalRule:
        """The reconstruction."""
        return LocalRule(terms=(Reconstruction(),), features=True)

    def make_loss(self, task: Task, configuration: Configuration, recipe: Recipe) -> CompletedLoss:
        """No loss on completed labels: there are none."""
        return _nothing

    def begin(self, state: TrainingState) -> None:
        """Nothing."""

    def complete(self, state: TrainingState, batch: Batch, moment: Moment) -> Batch:
        """The batch as it is."""
        return batch

    def follow(self, state: TrainingState) -> None:
        """Nothing."""

    def end(self, state: TrainingState) -> None:
        """Nothing."""


def _nothing(logits: Sequence[Tensor], batch: Batch) -> Tensor:
    return logits[0].new_zeros(())
