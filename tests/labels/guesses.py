"""Pseudo-labels on pictures small enough to read, for tests of their refinements."""

from __future__ import annotations

import torch

from fednnunet.labels.refinement import Guess


def guess(*samples, image=None, features=None, possible=None):
    """A 2D guess with two classes; each of `samples` is a list of rows of labels.

    `image` (y, x) and `features` (f, y, x) hold for every sample. Without them they are 0, and
    without `possible` (b, v, y, x) every label is possible.
    """
    labels = torch.tensor(samples, dtype=torch.int16)
    count, *shape = labels.shape
    free = torch.ones(count, 3, *shape, dtype=torch.bool)
    shown = torch.zeros(1, *shape) if image is None else torch.tensor(image)[None]
    felt = torch.zeros(1, *shape) if features is None else torch.tensor(features)
    return Guess(
        labels,
        free if possible is None else possible,
        shown.expand(count, *shown.shape),
        felt.expand(count, *felt.shape),
    )
