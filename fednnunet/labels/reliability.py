"""Which of a teacher's labels count: the two tests, on probabilities of what a voxel may be.

With p the teacher's probabilities and C the labels that are possible at a voxel, the label is the
most probable one of C, and its confidence its share of what C has together. It counts where

* C has at least half of the probability: a teacher that contradicts what is known says nothing,
* the confidence reaches a bound, which may be lower for classes that the teacher is less sure of
  than of others: with `by_class` it is multiplied by the mean confidence of the class's voxels in
  the patches (after FlexMatch; Zhang et al., NeurIPS 2021), since one bound for all lets the
  background pass first and teaches the network nothing else, and
* the label's probability has at most so large a standard deviation over several views.

The views of "dropout" are the teacher's head on its last features with channels dropped at random
(Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, in the last layer only): one
pass through the network serves all of them. Those of "flip" are the image as it is and mirrored,
those of "received" the teacher and the model that the site received: a second pass each. That a
federation's pseudo-labels are filtered before they teach follows Qiu et al., "Federated
Semi-Supervised Learning for Medical Image Segmentation via Pseudo-Label Denoising", IEEE JBHI 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fednnunet.supervision import UNKNOWN
from fednnunet.task import Task

DROPOUT, SAMPLES = 0.3, 4
_MIN_SHARE = 0.5


def label_probabilities(logits: Tensor, task: Task) -> Tensor:
    """Probability of each label value (b, v, z, y, x) from a network's logits (b, k, z, y, x).

    With regions, a label has the product over regions of the probability that the voxel is in the
    region, or is not, as the label is; the products are normalised. Of labels that no region tells
    apart the lowest stands for all.
    """
    if not task.regions:
        return logits.float().softmax(1)
    inside, outside = F.logsigmoid(logits.float()), F.logsigmoid(-logits.float())
    impossible = torch.full_like(inside[:, 0], -torch.inf)
    planes, seen = [], set[tuple[bool, ...]]()
    for value in range(len(task.labels)):
        belongs = tuple(value in values for values in task.regions.values())
        if belongs in seen:
            planes.append(impossible)
            continue
        seen.add(belongs)
        parts = [inside[:, r] if there else outside[:, r] for r, there in enumerate(belongs)]
        planes.append(torch.stack(parts).sum(0))
    return torch.stack(planes, 1).softmax(1)


def dropped_logits(features: Tensor, weight: Tensor, bias: Tensor, seed: int) -> list[Tensor]:
    """Logits (b, k, z, y, x) of the head on features (b, f, z, y, x) with channels dropped.

    `weight` (k, f, 1, ...) and `bias` (k) are the head's. Which channels are dropped is the same
    for all voxels and follows from `seed`; the others are scaled to keep the mean.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(SAMPLES, weight.shape[1], generator=generator) >= DROPOUT
    factor = (kept / (1 - DROPOUT)).to(weight)
    weights = (weight.flatten(1)[None] * factor[:, None]).flatten(0, 1)  # (samples * k, f)
    flat = features.flatten(2).to(weight.dtype)
    logits = torch.matmul(weights, flat) + bias.repeat(SAMPLES)[:, None]
    return list(logits.unflatten(2, features.shape[2:]).chunk(SAMPLES, 1))


def reliable_labels(
    views: Sequence[Tensor],
    possible: Tensor,
    *,
    confidence: float,
    max_spread: float,
    by_class: bool = False,
) -> Tensor:
    """Labels int16 (b, z, y, x) that pass the tests, UNKNOWN elsewhere.

    `views` are probabilities (b, v, z, y, x), the teacher's own first; `possible` are booleans of
    that shape. Where nothing is possible there is no label.
    """
    own = views[0]
    among = own * possible
    share = among.sum(1)
    best, label = among.max(1)
    there = share >= _MIN_SHARE
    bound: Tensor | float = confidence
    if by_class:
        bound = confidence * _mean_by_class(
            best / share.clamp_min(1e-12), label, there, own.shape[1]
        )
    passed = there & (best >= bound * share)
    if len(views) > 1:
        chosen = torch.stack([view.gather(1, label[:, None])[:, 0] for view in views])
        variance = (chosen - chosen.mean(0)).square_().mean(0)
        passed &= variance <= max_spread**2
    label = label.to(torch.int16)
    return torch.where(passed, label, torch.full_like(label, UNKNOWN))


def _mean_by_class(confidence: Tensor, label: Tensor, there: Tensor, classes: int) -> Tensor:
    """At each voxel (b, z, y, x) the mean confidence of its label, over voxels that are `there`."""
    means = []
    for value in range(classes):
        members = there & (label == value)
        means.append((confidence * members).sum() / members.sum().clamp_min(1))
    return torch.stack(means)[label]
