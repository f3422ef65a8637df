"""Named tensors: the range of their values, the norm of an update, the check of a reply."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fednnunet.errors import ReplyError
from fednnunet.network.tensors import Tensors

MAX_VALUE = 1e6
MAX_EXTRA = 1e12  # of extras, which may be sums over the voxels of a patch
MAX_COUNT = 2**40  # of integer tensors, such as the number of batches


def largest_value(tensor: Tensor, *, extra: bool) -> float:
    """The largest absolute value that coordinator and sites accept in a tensor of this kind."""
    if not tensor.is_floating_point():
        return MAX_COUNT
    return MAX_EXTRA if extra else MAX_VALUE


def is_in_range(tensor: Tensor, *, extra: bool) -> bool:
    """Whether all values are finite and within the limits, for a site to accept the tensor."""
    limit = largest_value(tensor, extra=extra)
    return bool(((tensor >= -limit) & (tensor <= limit)).all())  # NaN is in no range


def update_norm(new: Tensors, old: Tensors) -> float:
    """Euclidean norm of `new - old` over the floating-point tensors of `old` together, in float64.

    Squares are summed in the order of names.
    """
    squares = [torch.zeros((), dtype=torch.float64)]
    for name, tensor in sorted(old.items()):
        if tensor.is_floating_point():
            difference = new[name].to(torch.float64, copy=True).sub_(tensor)
            squares.append(difference.square_().sum())
    return float(torch.stack(squares).sum().sqrt())


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
        if got.is_floating_point() and not _is_finite(got):
            raise ReplyError(
                f"tensor {name} holds values that are not finite",
                where=f"reply of site {site}",
                mend="the site's training diverged: lower its learning rate or leave it out",
            )


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite; their extremes tell it faster than each by itself."""
    if not tensor.numel():
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _check_names(got: Iterable[str], expected: Iterable[str], site: str) -> None:
    missing, extra = set(expected) - set(got), set(got) - set(expected)
    if missing or extra:
        raise ReplyError(
            f"{len(missing)} tensors are missing and {len(extra)} were not asked for, "
            f"e.g. {sorted(missing | extra)[0]}",
            where=f"reply of site {site}",
            mend="the site must run the same plan and method",
        )
