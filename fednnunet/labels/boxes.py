"""Boxes: nothing of a class outside of its boxes, and every slice through a box meets the object.

Let B_c be the voxels inside the boxes of class c, N the number of all voxels, and S_v the classes
that voxel v may have: the background, those that were not looked for, and each c with v in B_c.

1. Outside: cross-entropy of "the label is in S_v",

       L_out = - 1/N sum over v of log sum over c in S_v of p_v(c).

   For regions, whose outputs are sigmoids, the mean of -log(1 - p_v(r)) where v is not in B_r.
2. Projection and tightness. For an axis a and a position s along it the profile is
   m_a(s) = max of p_v(c) over v in B_c with v_a = s. Whoever drew a tight box saw the object touch
   all its sides, so every slice through it meets the object, m_a(s) = 1:

       L_tight = - mean over slices of log m_a(s),
       D_proj = (2 sum m_a(s) + e) / (sum m_a(s) + number of slices + e).

   The maximum along axes against the box's projection is from Tian et al., BoxInst:
   High-Performance Instance Segmentation with Box Annotations, CVPR 2021 (there on lines of an
   image; a line through a box of a volume may miss the object, a slice may not). Tightness is from
   Kervadec et al., Bounding boxes for weakly supervised segmentation, MIDL 2020.
3. The share of the prediction that lies inside, as Dice has it where the truth is not known there:

       D_in = (sum over B_c of p(c) + e) / (sum over all voxels of p(c) + e).

4. The object's share of its box, f = mean over B_c of p(c), lies between `low` and `high`:

       L_share = max(0, log(low / f)) + max(0, log((1 - high) / (1 - f))),

   Kervadec's bounds on the size, as logarithms. This alone is an assumption: shares in
   four hippocampus sites are 0.12 to 0.45, an ellipsoid's is 0.52.

    L = w_ce (L_out + L_tight + w_share L_share) - w_dice (D_proj + D_in) / 2

What is certain in a patch, and else not taught: L_out and D_in always. A slice is left out where
the boxes in it reach the patch's border along one of the slice's own axes: the object may meet the
rest of it. L_share is left out for a class whose boxes reach the border anywhere. In 2D a patch is
a section of a box of a volume, whose lines may miss the object: the whole section is one slice. A
box that ends at the border by itself counts as cut.

Boxes of one class that share a slice are one: one object is asked for in it, not one in each. So
nothing has to be found out about single boxes, and all is a few maxima and sums over the patch.
Boxes are parallel to the axes, also after mirroring; patches with boxes are not rotated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fednnunet.labels.levels import NOWHERE, chosen_logits, levels_of, log_softmax, mean_where
from fednnunet.planning.plan import Configuration
from fednnunet.supervision import Supervision, partial_supervision
from fednnunet.task import Task
from fednnunet.training.losses import shrink
from fednnunet.training.recipe import Recipe
from fednnunet.training.targets import Targets, make_targets

_SMOOTH = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareBounds:
    """The least and the largest share of its boxes that a class fills, and the term's weight."""

    low: float = 0.1
    high: float = 0.6
    weight: float = 1.0

    def __call__(self, share: Tensor) -> Tensor:
        """How far shares (b, g) lie outside of the bounds, in nats."""
        above = math.log1p(-self.high) - torch.log1p(-share.clamp_max(1 - _SMOOTH))
        below = math.log(self.low) - torch.log(share.clamp_min(_SMOOTH))
        return self.weight * (below.clamp_min(0) + above.clamp_min(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLoss:
    """The sum of the terms at every resolution, weighted; labels are bits of boxes.

    `annotated` has the groups of outputs whose boxes are known (see `Targets`); `targets` says that
    no voxel's class is.
    """

    targets: Targets
    annotated: Targets
    level_weights: tuple[float, ...]
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    share: ShareBounds = ShareBounds()

    def __call__(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Scalar loss of logits (b, k, z, y, x), finest first, by bits (b, z, y, x); 2D without z.

        Bit c - 1 is set inside the boxes of the class with the value c; negative outside.
        """
        levels = zip(self.level_weights, logits, strict=False)
        terms = [w * self.level(x, shrink(labels, x.shape[2:])) for w, x in levels if w]
        return torch.stack(terms).sum()

    def level(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss at one resolution."""
        inside = self.inside(labels)
        if self.annotated.regions:
            chosen = chosen_logits(logits, self.annotated.outputs)
            outside = F.softplus(chosen).masked_fill(inside, 0.0).mean()
            log_p = F.logsigmoid(chosen)
            boxed = torch.where(inside, log_p, NOWHERE)
        else:
            every = log_softmax(logits, self.annotated.outputs)
            log_p = every[:, 1:]
            boxed = torch.where(inside, log_p, NOWHERE)
            outside = -_logsumexp(torch.cat([every[:, :1], boxed], 1)).mean()
        tight, projected, cut = profiles(boxed, inside)
        share, contained, there = _shares(log_p.exp(), inside)
        entropy = outside + tight + mean_where(self.share(share), there & ~cut)
        dice = (projected + contained) / 2
        return self.cross_entropy_weight * entropy - self.dice_weight * dice

    def inside(self, labels: Tensor) -> Tensor:
        """Whether voxels lie in a box of each group, (b, g, z, y, x) booleans."""
        groups = self.annotated.groups if self.annotated.regions else self.annotated.groups[1:]
        bits = labels.clamp_min(0)  # all bits of a negative number are set
        masks = [sum(1 << (value - 1) for value in set(group)) for group in groups]
        return torch.stack([bits & mask for mask in masks], 1) != 0


def profiles(boxed: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L_tight, D_proj (scalars) and whether boxes reach the patch's border, (b, g).

    `boxed` has log p where voxels are `inside` and `NOWHERE` elsewhere, both (b, g, z, y, x); in 2D
    without z.
    """
    faces = _faces(inside)
    if boxed.ndim == 4:
        cut = (faces[0].any(2) | faces[1].any(2))[..., None]
        best = boxed.amax((2, 3))[..., None]  # (b, g, 1)
    else:
        z_face, y_face, x_face = faces  # (b, g, y, x), (b, g, z, x), (b, g, z, y)
        along_x, along_z = boxed.amax(4), boxed.amax(2)  # (b, g, z, y), (b, g, y, x)
        best = torch.cat([along_x.amax(3), along_x.amax(2), along_z.amax(2)], 2)
        by_axis = (
            y_face.any(3) | x_face.any(3),  # slices (y, x), at each z
            z_face.any(3) | x_face.any(2),
            z_face.any(2) | y_face.any(2),
        )
        cut = torch.cat(by_axis, 2)  # (b, g, z + y + x)
    certain = (best > NOWHERE / 2) & ~cut
    found = torch.where(certain, best.exp(), 0.0).sum(2)
    number = certain.sum(2)
    projected = (2 * found + _SMOOTH) / (found + number + _SMOOTH)
    per_group = -torch.where(certain, best, 0.0).sum(2) / number.clamp_min(1)
    border = torch.stack([face.flatten(2).any(2) for face in faces]).any(0)
    return mean_where(per_group, number > 0), projected.mean(), border


def _logsumexp(log_p: Tensor) -> Tensor:
    """Logarithm of the sum over axis 1, whose first entries are finite, by a faster kernel."""
    return log_p[:, 0] - F.log_softmax(log_p, 1)[:, 0]


def _faces(inside: Tensor) -> list[Tensor]:
    """For each axis, whether boxes reach the border at its two ends (b, g, the other axes)."""
    return [
        inside.select(axis, 0) | inside.select(axis, inside.shape[axis] - 1)
        for axis in range(2, inside.ndim)
    ]


def _shares(p: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean p inside (b, g), D_in (a scalar), and whether there is a box (b, g)."""
    axes = tuple(range(2, p.ndim))
    size = inside.sum(axes)
    within = (p * inside).sum(axes)
    contained = (within + _SMOOTH) / (p.sum(axes) + _SMOOTH)
    return within / size.clamp_min(1), contained.mean(), size > 0


def make_box_loss(
    task: Task, supervision: Supervision, configuration: Configuration, recipe: Recipe
) -> BoxLoss:
    """The loss of cases with boxes.

    Raises InputError where no box was looked for that the task could be taught by.
    """
    return BoxLoss(
        targets=make_targets(task, supervision),
        annotated=make_targets(task, partial_supervision(supervision.classes(task), task)),
        level_weights=levels_of(configuration, recipe),
        dice_weight=recipe.dice_weight,
        cross_entropy_weight=recipe.cross_entropy_weight,
    )
