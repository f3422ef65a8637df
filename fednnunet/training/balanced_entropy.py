"""Cross-entropy with margins, weights and difficulty of classes; see `imbalance` for the papers.

A voxel v of group y in sample b has the loss w_y d_by CE(z_v - m_y e_y, y), with the weights w and
the margins m of the groups, the unit vector e_y, and the difficulty

    d_by = (l_by / mean over the sample's groups of l_b)^g,

where l_by is the mean of w_y CE over the sample's voxels of the group. Groups are those of a loss
(see `Targets`). A region is two groups, of which the voxels beyond it have weight 1 and no margin.
Every sample has its own difficulty, so that no batch depends on how it is divided.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fednnunet.training.imbalance import GroupBalance


def softmax_entropy(
    logits: Tensor,
    classes: Tensor,
    outputs: Sequence[Sequence[int]],
    valid: Tensor | None,
    balance: GroupBalance,
) -> Tensor:
    """Loss of each voxel (b, z, y, x) by logits (b, k, z, y, x) and groups `classes` (b, z, y, x).

    `outputs` are the logits of each group, whose probabilities are added.
    """
    planes = list(logits.unbind(1))
    for group, margin in enumerate(balance.margins):
        for output in outputs[group]:
            planes[output] = planes[output] - margin * (classes == group)
    log_p = F.log_softmax(torch.stack(planes, 1), 1)
    grouped = torch.stack(
        [torch.stack([log_p[:, o] for o in group], 1).logsumexp(1) for group in outputs], 1
    )
    voxels = F.nll_loss(grouped, classes, reduction="none")
    for group, weight in enumerate(balance.weights):
        voxels = torch.where(classes == group, voxels * weight, voxels)
    return by_difficulty(voxels, classes, valid, len(outputs), balance.difficulty)


def sigmoid_entropy(
    logits: Tensor, truth: Tensor, valid: Tensor | None, balance: GroupBalance
) -> Tensor:
    """Loss of each voxel and region (b, g, z, y, x) by their logits and booleans, likewise."""
    planes = []
    for region in range(logits.shape[1]):
        there = truth[:, region]
        z = logits[:, region]
        if balance.margins:
            z = z - balance.margins[region] * there
        voxels = F.binary_cross_entropy_with_logits(z, there.to(z.dtype), reduction="none")
        if balance.weights:
            voxels = torch.where(there, voxels * balance.weights[region], voxels)
        planes.append(by_difficulty(voxels, there.long(), valid, 2, balance.difficulty))
    return torch.stack(planes, 1)


def by_difficulty(
    voxels: Tensor, classes: Tensor, valid: Tensor | None, groups: int, exponent: float
) -> Tensor:
    """Losses (b, z, y, x) times d of their groups in their samples; d has no gradient.

    Voxels that are not `valid` say nothing of a group's difficulty.
    """
    if not exponent:
        return voxels
    axes = tuple(range(1, voxels.ndim))
    found, there = [], []
    for group in range(groups):
        members = classes == group if valid is None else (classes == group) & valid
        number = members.sum(axes)
        found.append((voxels.detach() * members).sum(axes) / number.clamp_min(1))
        there.append(number > 0)
    mean_loss, present = torch.stack(found, 1), torch.stack(there, 1)  # (b, groups)
    mean = (mean_loss * present).sum(1) / present.sum(1).clamp_min(1)
    relative = (mean_loss / mean[:, None].clamp_min(1e-8)) ** exponent
    factor = torch.ones_like(voxels)
    for group in range(groups):
        weight = relative[:, group].reshape(-1, *(1 for _ in axes))
        factor = torch.where(classes == group, weight, factor)
    return voxels * factor
