"""What refines pseudo-labels after the tests: the common form, and the refinements in their order.

A refinement may add and drop labels; what is known overrules it afterwards. All of them look at
single voxels, so that a GPU waits for the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.labels.known import certain_labels
from fednnunet.supervision import UNKNOWN


@dataclass(frozen=True, slots=True)
class Guess:
    """Pseudo-labels of patches, and what they were made from; in 2D without z.

    `labels` int16 (b, z, y, x) with UNKNOWN where there is none, `possible` booleans (b, v, z, y,
    x), the weakly augmented `image` (b, c, z, y, x), and the teacher's `features` (b, f, z, y, x).
    """

    labels: Tensor
    possible: Tensor
    image: Tensor
    features: Tensor


Refinement = Callable[[Guess], Tensor]
"""The labels of a guess, refined: as `Guess.labels`."""


def overruled(labels: Tensor, possible: Tensor) -> Tensor:
    """Labels (b, z, y, x) as far as they are possible; certain labels in any case."""
    index = labels.clamp_min(0).long()
    allowed = possible.gather(1, index[:, None])[:, 0] & (labels != UNKNOWN)
    kept = torch.where(allowed, labels, torch.full_like(labels, UNKNOWN))
    certain = certain_labels(possible)
    return torch.where(certain != UNKNOWN, certain, kept)
