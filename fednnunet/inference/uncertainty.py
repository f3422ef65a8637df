"""How unsure a network is, voxel by voxel: the entropy of its own probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fednnunet.inference.export import native_logits
from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.pipeline import Placement, to_native
from fednnunet.task import Task


def entropy_of_logits(
    logits: np.ndarray, placement: Placement, task: Task, resampling: Resampling
) -> np.ndarray:
    """The entropy (z, y, x) float32 on the whole native image, from 0 (sure) to 1 (any class).

    With p the softmax over k labels it is -sum(p log p) / log k; with regions, the mean over the
    regions of the entropy of each sigmoid, divided by log 2. Outside of the crop it is 0. `logits`
    are (k, z, y, x) of the prepared volume, the mean over networks and flips if there are several,
    so that disagreement among them flattens the softmax and counts, too. Channels are resampled one
    by one, so that memory for four native volumes is enough for any number.
    """
    channels = (
        native_logits(logits, index, placement, resampling).astype(np.float32)
        for index in range(len(logits))
    )
    crop = _of_regions(channels) if task.regions else _of_softmax(channels)
    return to_native(crop, placement)


def unsure_share(entropy: np.ndarray, mask: np.ndarray) -> float:
    """The unsure voxels of a case for every voxel of its mask; infinite where nothing is found.

    A voxel counts by its entropy (0 to 1). The volume's size does not matter, and what may have
    been missed counts as much as what may be too much.
    """
    found = int((mask > 0).sum())
    return float(entropy.sum(dtype=np.float64)) / found if found else math.inf


def _of_softmax(channels: Iterator[np.ndarray]) -> np.ndarray:
    """log Z - sum(exp(l) l) / Z over the channels' logits l, with Z the sum of exp(l), by log k.

    The logits so far are kept relative to their maximum, so that nothing overflows.
    """
    top = next(channels).copy()
    total, weighted = np.ones_like(top), np.zeros_like(top)  # sums of exp(l - top), and times that
    count = 1
    for current in channels:
        higher = np.maximum(top, current)
        scale = np.exp(top - higher)
        weighted = scale * (weighted + (top - higher) * total)
        total *= scale
        share = np.exp(current - higher)
        total += share
        weighted += share * (current - higher)
        top = higher
        count += 1
    entropy = np.log(total) - weighted / total
    return np.clip(entropy / math.log(max(count, 2)), 0, 1)


def _of_regions(channels: Iterator[np.ndarray]) -> np.ndarray:
    """The mean of the binary entropies, each log(1 + e) + |l| e / (1 + e) with e = exp(-|l|)."""
    total, count = 0.0, 0
    for current in channels:
        size = np.abs(current)
        small = np.exp(-size)
        total = total + np.log1p(small) + size * small / (1 + small)
        count += 1
    return np.clip(np.asarray(total, np.float32) / (count * math.log(2)), 0, 1)
