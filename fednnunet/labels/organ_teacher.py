"""A model from elsewhere as an additional teacher of the classes that it knows.

A site that has a bundle for some organs, or a model imported from nnU-Net, names it in its own
`site.toml`. Where its labels leave these organs unknown, that model says where they are, and the
federation's teacher says the rest. With p the probabilities of the federation's teacher at a voxel
and q those of the other model for the classes K that both tasks name alike,

    p'_c = q_c  for c in K,    p'_c = p_c (1 - sum over K of q) / (1 - sum over K of p)  otherwise,

so the order of the other classes stays. Confidence, spread, refinements, the ramp, and whatever a
reader has marked hold for these pseudo-labels as for all others (`labels.pseudo`).

The other model sees the patches of this federation's plan: their intensities are turned into those
of its own plan, and their voxels into its own spacing, in whole patches without tiles. Channels and
their normalisation must be alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle
from fednnunet.labels.reliability import label_probabilities
from fednnunet.planning.plan import Configuration, Intensity, Plan
from fednnunet.training.device import Execution
from fednnunet.training.initial import plan_network

_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrganTeacher:
    """The model, and how patches of the federation's plan become its own."""

    plan: Plan
    configuration: Configuration
    weights: Mapping[str, Tensor]
    classes: Mapping[int, int]
    """Label values of the federation's task, and of the model's, by which both name a class."""
    spacing_mm: tuple[float, ...]
    """That of the federation's patches."""
    intensities: tuple[Intensity, ...]
    """Those of the federation's plan, a channel each."""

    def planes(self, image: Tensor, execution: Execution, at_once: int) -> dict[int, Tensor]:
        """The probability (b, z, y, x) of each class, by the federation's label value.

        `image` (b, c, z, y, x) is a batch as the federation prepares it, `at_once` samples go
        through the network together; in 2D without z.
        """
        with torch.device("meta"):
            network = plan_network(self.plan, self.configuration)
        device = execution.torch_device
        weights = {name: tensor.to(device) for name, tensor in self.weights.items()}
        run = partial(self._of, network.eval(), weights, execution)
        found = torch.cat([run(part) for part in image.to(device).split(max(at_once, 1))])
        return {ours: found[:, theirs] for ours, theirs in self.classes.items()}

    @torch.no_grad()
    def _of(
        self, network: nn.Module, weights: Mapping[str, Tensor], execution: Execution, image: Tensor
    ) -> Tensor:
        size = image.shape[2:]
        patch = _resized(self._as_own(image), self._own_size(size))
        own = patch.shape[2:]
        padding = [(-n) % step for n, step in zip(own, self._steps, strict=True)]
        patch = F.pad(patch, [edge for extra in reversed(padding) for edge in (0, extra)])
        with execution.device.autocast():
            logits = cast(Tensor, functional_call(network, dict(weights), (patch,)))
        kept = (slice(None), slice(None), *(slice(n) for n in own))
        return _resized(label_probabilities(logits[kept], self.plan.task), size)

    @property
    def _steps(self) -> tuple[int, ...]:
        """Voxels of which an edge must be a multiple, in each axis."""
        strides = [stage.stride for stage in self.configuration.architecture.stages]
        return tuple(math.prod(axis) for axis in zip(*strides, strict=True))

    def _own_size(self, size: Sequence[int]) -> tuple[int, ...]:
        ratios = zip(size, self.spacing_mm, self.configuration.spacing_mm, strict=True)
        return tuple(max(round(n * ours / theirs), 1) for n, ours, theirs in ratios)

    def _as_own(self, image: Tensor) -> Tensor:
        """The image with the intensities of the model's plan; those of CT alone depend on it."""
        channels = []
        for number, scheme in enumerate(self.configuration.normalisation):
            channel = image[:, number].float()
            if scheme == "ct":
                ours, theirs = self.intensities[number], self.plan.intensity[number]
                raw = channel * ours.std + ours.mean
                raw = raw.clamp(theirs.percentile_00_5, theirs.percentile_99_5)
                channel = (raw - theirs.mean) / theirs.std
            channels.append(channel)
        return torch.stack(channels, 1)


def organ_teacher(bundle: Bundle, plan: Plan, configuration: Configuration) -> OrganTeacher:
    """The teacher for patches of a plan's configuration.

    Raises InputError where the model has several experts, other channels, another normalisation or
    number of axes, or no class of the federation's task.
    """
    own, task = bundle.settings, plan.task
    theirs = bundle.plan.task
    where = f"bundle of the task {theirs.name}"
    if bundle.experts:
        raise InputError(
            "the teacher is a bundle of several experts",
            where=where,
            mend="name a bundle of one network in the site's policy, e.g. RUN/global",
        )
    seen = [
        (theirs.channels, own.normalisation, len(own.patch_vox)),
        (task.channels, configuration.normalisation, len(configuration.patch_vox)),
    ]
    if seen[0] != seen[1]:
        raise InputError(
            f"the teacher reads {', '.join(seen[0][0])} with {', '.join(seen[0][1])} in "
            f"{seen[0][2]} axes, the federation's patches are {', '.join(seen[1][0])} with "
            f"{', '.join(seen[1][1])} in {seen[1][2]}",
            where=where,
            mend="name a model of the same channels, normalisation and number of axes, or take "
            "teacher out of the site's policy and label the cases with fednnunet_pseudolabel",
        )
    names = {name: value for value, name in enumerate(theirs.labels) if value}
    classes = {v: names[n] for v, n in enumerate(task.labels) if v and n in names}
    if not classes:
        raise InputError(
            f"the teacher knows {', '.join(theirs.labels[1:])}, the federation asks for "
            f"{', '.join(task.labels[1:])}",
            where=where,
            mend="name a model of which a class has the same name as one of the federation's",
        )
    return OrganTeacher(
        plan=bundle.plan,
        configuration=own,
        weights=bundle.weights,
        classes=classes,
        spacing_mm=tuple(configuration.spacing_mm),
        intensities=plan.intensity,
    )


def with_organs(probabilities: Tensor, planes: Mapping[int, Tensor]) -> Tensor:
    """Probabilities (b, v, z, y, x) in which those of some classes are the `planes`."""
    classes = sorted(planes)
    taken = torch.stack([planes[c] for c in classes], 1).to(probabilities)
    taken = taken / taken.sum(1, keepdim=True).clamp_min(1)
    others = probabilities.clone()
    others[:, classes] = 0
    share = others.sum(1, keepdim=True)
    # Where the federation's teacher leaves nothing to the others, that is background.
    others[:, 0] = torch.where(share[:, 0] > _SMALLEST, others[:, 0], 1.0)
    others *= (1 - taken.sum(1, keepdim=True)) / torch.where(share > _SMALLEST, share, 1.0)
    others[:, classes] = taken
    return others


def _resized(volume: Tensor, size: Sequence[int]) -> Tensor:
    """The volume (b, c, ...) of another size, interpolated linearly; itself where it has it."""
    if tuple(volume.shape[2:]) == tuple(size):
        return volume
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return F.interpolate(volume, tuple(size), mode=mode, align_corners=False)
