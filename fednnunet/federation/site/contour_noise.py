"""How far the model that a site received disputes the contours of the site's labels: one number.

After Wu et al., "FedA3I: Annotation Quality-Aware Aggregation for Federated Medical Image
Segmentation against Heterogeneous Annotation Noise", AAAI 2024. With T the voxels of a class in a
case's label map, P those that the model predicts, I the inner band of T (voxels of T with a
neighbour that is not in T) and O its outer band (voxels not in T with a neighbour in T),

    wide = |I without P| / |I|,    narrow = |O and P| / |O|,
    noise of the case = mean over classes of max(wide, narrow).

A label that was dilated has an inner band in which the model sees no object, an eroded one an
outer band in which it does; a shifted one has both by halves. The site's figure is the mean over
cases, of two patches each without augmentation, the same ones in every round. The received model
has learnt from all sites: the site's own would have learnt the site's mistakes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.training.counts import found_and_true
from fednnunet.training.evaluate_patches import Prediction, evaluate_patches
from fednnunet.training.state import TrainingState
from fednnunet.training.targets import Targets, make_targets

PATCHES = 2
"""Patches of each case."""

_WHOLE_MAPS = ("full", "partial")


def contour_noise(site: PreparedSite, state: TrainingState) -> float | None:
    """The site's figure, by the network of `state` as it is; None of too few cases.

    Only cases with whole label maps of some class count, and they must be as many as the site's
    policy wants of a score.
    """
    needed = site.policy.min_scored_cases
    kinds = [site.supervision.of(name).kind for name in site.cases]
    if sum(kind in _WHOLE_MAPS for kind in kinds) < needed:
        return None
    patches = (
        batch
        for batch in site.patches_of_each_case(PATCHES)
        if batch.supervision[0].kind in _WHOLE_MAPS
    )

    def measure(prediction: Prediction) -> float | None:
        return disputed(prediction, make_targets(site.plan.task, prediction.batch.supervision[0]))

    found = evaluate_patches(state.network, patches, site.execution(), measure)
    values = [value for value in found if value is not None]
    return math.fsum(values) / len(values) if len(values) >= needed else None


def disputed(prediction: Prediction, targets: Targets) -> float | None:
    """The noise of one case, whose patches are the batch; None where they show no class."""
    found, truth = found_and_true(prediction.logits, prediction.batch.labels, targets)
    counted = targets.valid(prediction.batch.labels)
    everywhere = torch.ones_like(truth) if counted is None else counted[:, None].expand_as(truth)
    inner = truth & dilated(everywhere & ~truth)
    outer = everywhere & ~truth & dilated(truth)
    wide, narrow = _share(inner & ~found, inner), _share(outer & found, outer)
    shown = inner.sum(_axes(inner)) > 0
    values = torch.maximum(wide, narrow)[shown]
    return float(values.mean()) if len(values) else None


def dilated(mask: Tensor) -> Tensor:
    """A mask (b, t, z, y, x) and all voxels that touch it, diagonally too; in 2D without z."""
    pool = F.max_pool3d if mask.ndim == 5 else F.max_pool2d
    return pool(mask.float(), kernel_size=3, stride=1, padding=1) > 0


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Of each target, over all patches together."""
    return part.sum(_axes(part)) / whole.sum(_axes(whole)).clamp_min(1)


def _axes(mask: Tensor) -> tuple[int, ...]:
    return (0, *range(2, mask.ndim))
