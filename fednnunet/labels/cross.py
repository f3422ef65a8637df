"""Two heads supervise each other: the finest one and that of the next coarser decoder stage.

Chen et al., "Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision", CVPR 2021, and
Wicaksana et al., "FedMix: Mixed Supervised Federated Learning for Medical Image Segmentation", IEEE
TMI 2023, train two networks, each on the other's pseudo-labels, FedMix only where both agree. A
plan's network has a head at every decoder stage, so here the second opinion is that of the coarser
head: a label counts where both of the teacher's heads give it, and both of the student's learn it.
The network must have two decoder stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fednnunet.labels.reliability import label_probabilities
from fednnunet.supervision import UNKNOWN
from fednnunet.task import Task

STAGE = "decoder.1"
"""The stage of the second head."""


@contextmanager
def captured_stage(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the features (b, f, z, y, x) of the second head's stage within the context."""
    captured: list[Tensor] = []
    handle = network.get_submodule(STAGE).register_forward_hook(
        lambda module, inputs, output: captured.append(output)
    )
    try:
        yield captured
    finally:
        handle.remove()


def second_opinion(
    features: Tensor, head: Mapping[str, Tensor], possible: Tensor, task: Task
) -> Tensor:
    """The coarser head's label (b, z, y, x; int16) of each voxel among the possible ones.

    `features` are those of `captured_stage`; `head` has its `weight` and `bias`.
    """
    convolve = F.conv3d if features.ndim == 5 else F.conv2d
    logits = convolve(features.to(head["weight"].dtype), head["weight"], head["bias"])
    fine = F.interpolate(label_probabilities(logits, task), possible.shape[2:], mode="nearest")
    return (fine * possible).argmax(1).to(torch.int16)


def agreed(labels: Tensor, other: Tensor) -> Tensor:
    """The labels where the other head gives the same, UNKNOWN elsewhere."""
    return torch.where(labels == other, labels, torch.full_like(labels, UNKNOWN))
