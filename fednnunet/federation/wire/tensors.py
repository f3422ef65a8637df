"""Named tensors: weighted mean, difference, norm. Sums are in float64 and in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fednnunet.errors import ReplyError
from fednnunet.network.tensors import Tensors


def weighted_mean(items: Sequence[tuple[Tensors, float]]) -> dict[str, Tensor]:
    """Mean of tensors of the same names and shapes, in float64, rounded to their dtype at the end.

    The sum runs in the order of `items`: sort them by site first, and the order in which replies
    came cannot show in the last bit. Integer tensors (counters) are not averaged: the first
    item's is taken.
    """
    total = sum(weight for _, weight in items)
    if not items or total <= 0:
        raise ReplyError("there is nothing to average", mend="at least one site must have cases")
    merged = {}
    for name, first in items[0][0].items():
        if not first.is_floating_point():
            merged[name] = first.clone()
            continue
        mean = torch.zeros(first.shape, dtype=torch.float64)
        for tensors, weight in items:
            mean += tensors[name].to(torch.float64) * (weight / total)
        merged[name] = mean.to(first.dtype)
    return merged


def difference(new: Tensors, old: Tensors) -> dict[str, Tensor]:
    """`new - old` for the floating-point tensors of `old`, in float64."""
    return {
        name: new[name].to(torch.float64) - tensor.to(torch.float64)
        for name, tensor in old.items()
        if tensor.is_floating_point()
    }


def norm(tensors: Tensors) -> float:
    """Euclidean norm over all floating-point tensors together, summed in the order of names."""
    squares = (tensors[name].to(torch.float64).square().sum() for name in sorted(tensors))
    return float(torch.stack([torch.zeros((), dtype=torch.float64), *squares]).sum().sqrt())


def check_like(reply: Tensors, expected: Tensors, *, site: str) -> None:
    """Refuse a reply whose tensors have other names or shapes than expected, or are not finite."""
    _check_names(reply.keys(), expected.keys(), site)
    for name, tensor in expected.items():
        got = reply[name]
        if got.shape != tensor.shape or got.dtype != tensor.dtype:
            raise ReplyError(
                f"tensor {name} is {list(got.shape)} {got.dtype}, "
                f"not {list(tensor.shape)} {tensor.dtype}",
                where=f"reply of site {site}",
                mend="the site must run the same plan and the same version",
            )
        if got.is_floating_point() and not bool(torch.isfinite(got).all()):
            raise ReplyError(
                f"tensor {name} holds values that are not finite",
                where=f"reply of site {site}",
                mend="the site's training diverged: lower its learning rate or leave it out",
            )


def _check_names(got: Iterable[str], expected: Iterable[str], site: str) -> None:
    missing, extra = set(expected) - set(got), set(got) - set(expected)
    if missing or extra:
        raise ReplyError(
            f"{len(missing)} tensors are missing and {len(extra)} were not asked for, "
            f"e.g. {sorted(missing | extra)[0]}",
            where=f"reply of site {site}",
            mend="the site must run the same plan and method",
        )
