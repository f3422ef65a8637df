"""Of each class only the largest component of its pseudo-labels is kept.

An organ is one piece; what lies apart from it is mostly a mistake of the teacher (nnU-Net decides
the same for its predictions; Isensee et al., Nature Methods 2021). What is dropped becomes unknown,
not background. A lesion may come in several pieces: leave it off there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from fednnunet.labels.refinement import Guess
from fednnunet.supervision import UNKNOWN


def largest_components(guess: Guess) -> Tensor:
    """The labels without all but the largest face-connected component of each class."""
    labels = guess.labels.cpu().numpy().copy()
    for sample in labels:
        for _, parts, count in class_components(sample):
            sizes = np.bincount(parts.ravel(), minlength=count + 1)
            largest = int(sizes[1:].argmax()) + 1
            sample[(parts > 0) & (parts != largest)] = UNKNOWN
    return torch.from_numpy(labels).to(guess.labels.device)


def class_components(sample: np.ndarray) -> Iterator[tuple[int, np.ndarray, int]]:
    """Each class of labels (z, y, x) with its components, numbered from 1, and their number."""
    for value in np.unique(sample[sample > 0]).tolist():
        parts, count = ndimage.label(sample == value)
        yield value, parts, count
