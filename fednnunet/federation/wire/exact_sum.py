"""Sums of tensors whose last bit does not depend on the order of the terms.

Replies come in any order, and each is to be dropped when it is added, so terms cannot be sorted
first. Floating-point sums depend on the order, integer sums do not: each term is computed in
float64 and added as a fixed-point number. Memory: 12 bytes an element as long as the sum of the
terms stays below 2048, else 16, whatever the number of terms.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import torch
from torch import Tensor

from fednnunet.errors import ReplyError
from fednnunet.network.tensors import Tensors

MAX_TERM = 2.0**30
MAX_TERMS = 2**13 - 1
_COARSE, _FINE = 2.0**20, 2.0**71
_NARROW = 2.0**31 - 1  # largest value of the coarse part while it takes 4 bytes
_CERTAIN = 2.0**-30  # terms from here on give a mean that is exact where all tensors agree
_CHUNK = 2**16  # elements whose intermediate results fit in a core's cache
_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


class ExactSum:
    """The sum of weight * tensor over up to `MAX_TERMS` terms, each below `MAX_TERM`.

    A term is split into a multiple of 2^-20 and a rest, which is rounded to a multiple of 2^-71;
    each part is summed in 64-bit integers without any error. So a term is rounded by at most 2^-72,
    in a way that depends on the term alone. See `check_terms` for terms that are too large. The
    coarse part begins with 32 bits, and gets 64 before it can overflow.
    """

    def __init__(self, shape: torch.Size) -> None:
        self._shape = shape
        self._coarse = torch.zeros(shape.numel(), dtype=torch.int32)
        self._bound = 0.0
        self._fine = torch.zeros(shape.numel(), dtype=torch.int64)

    def add(self, tensor: Tensor, weight: float = 1.0) -> None:
        """Add weight * tensor."""
        flat = tensor.detach().reshape(-1)
        self._widen(flat, weight)
        size = min(len(flat), _CHUNK)
        terms, coarses = (torch.empty(size, dtype=torch.float64) for _ in range(2))
        integers = torch.empty(size, dtype=torch.int64)
        for begin in range(0, len(flat), _CHUNK):
            values = flat[begin : begin + _CHUNK]
            part = slice(begin, begin + len(values))
            term, coarse, integer = (t[: len(values)] for t in (terms, coarses, integers))
            term.copy_(values).mul_(weight)
            torch.mul(term, _COARSE, out=coarse).round_()
            self._coarse[part].add_(integer.copy_(coarse))
            term.sub_(coarse, alpha=1 / _COARSE)  # exact: the rest is at most 2^-21
            self._fine[part].add_(integer.copy_(term.mul_(_FINE).round_()))

    def _widen(self, flat: Tensor, weight: float) -> None:
        """Make room for a term, by a bound on all values of the coarse part."""
        if self._coarse.dtype == torch.int64 or not len(flat):
            return
        self._bound += _largest(flat) * abs(weight) * _COARSE + 1
        if not self._bound <= _NARROW:
            self._coarse = self._coarse.to(torch.int64)

    def total(self) -> Tensor:
        """The sum in float64."""
        total = self._coarse.to(torch.float64).div_(_COARSE)
        return total.add_(self._fine.to(torch.float64).div_(_FINE)).reshape(self._shape)


def check_terms(site: str, tensors: Tensors, weight: float = 1.0) -> None:
    """Raise ReplyError where the weight is negative or not finite, or a term is too large."""
    if not 0 <= weight < float("inf"):
        raise ReplyError(
            f"the reply would count by {weight}",
            where=f"reply of site {site}",
            mend="check the site's number of training cases, its loss and the method's settings",
        )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        largest = _largest(tensor.detach())
        if not largest * weight < MAX_TERM:
            raise ReplyError(
                f"tensor {name} holds {largest:.3g}, too large to be summed by {weight:.3g}",
                where=f"reply of site {site}",
                mend="the site's training diverged: lower its learning rate or leave it out",
            )


def _largest(tensor: Tensor) -> float:
    """The largest absolute value of a tensor that is not empty; NaN if any value is."""
    return float(torch.stack(torch.aminmax(tensor)).double().abs().max())


class _Agreed:
    """The values on which all terms agree so far, where their mean might not be just these bits.

    For a dtype of at most 4 bytes the mean of equal values v is v after rounding, as its relative
    error is below 2^-29 where the first term is at least 2^-30 and v is a normal number. So only
    the other values are kept, of which networks have few; zeros need not be, but for negative ones.
    """

    def __init__(self, first: Tensor, weight: float) -> None:
        flat = first.detach().reshape(-1)
        self._places = _uncertain(flat, weight)
        self._values = flat.clone() if self._places is None else flat[self._places]
        self._same = torch.ones(len(self._values), dtype=torch.bool)

    def add(self, tensor: Tensor) -> bool:
        """Compare with a further term; whether any value is left on which all agree."""
        flat = tensor.detach().reshape(-1)
        values = flat if self._places is None else flat[self._places]
        bits = _BITS[values.element_size()]
        self._same &= values.contiguous().view(bits) == self._values.view(bits)
        return bool(self._same.any())

    def put(self, mean: Tensor) -> Tensor:
        """The mean with these values in their places."""
        flat = mean.reshape(-1)
        if self._places is None:
            flat = torch.where(self._same, self._values, flat)
        else:
            flat[self._places[self._same]] = self._values[self._same]
        return flat.reshape(mean.shape)


def _uncertain(flat: Tensor, weight: float) -> Tensor | None:
    """Where equal values might not be their own mean; None for a part that is not small."""
    if flat.element_size() > 4 or not weight > 0:
        return None
    limit = max(2 * torch.finfo(flat.dtype).tiny, _CERTAIN / weight)
    if not limit < torch.finfo(flat.dtype).max:
        return None
    small = (flat < limit) & (flat > -limit)
    small &= flat.contiguous().view(_BITS[flat.element_size()]) != 0
    places = small.nonzero().reshape(-1)
    return places if len(places) <= len(flat) // 4 else None


class _Mean:
    """The mean of one floating-point tensor; elements on which all terms agree are kept."""

    def __init__(self, first: Tensor, weight: float) -> None:
        self._sum = ExactSum(first.shape)
        self._agreed: _Agreed | None = _Agreed(first, weight)
        self._dtype = first.dtype

    def add(self, tensor: Tensor, weight: float) -> None:
        self._sum.add(tensor, weight)
        if self._agreed is not None and not self._agreed.add(tensor):
            self._agreed = None

    def value(self, weight: float) -> Tensor:
        mean = self._sum.total().div_(weight).to(self._dtype)
        return mean if self._agreed is None else self._agreed.put(mean)


class WeightedMean:
    """The weighted mean of named tensors, which does not depend on the order of the replies.

    It is computed in float64 and rounded to each tensor's dtype. Elements on which all replies
    agree are kept bit for bit. Integer tensors (counters) are not averaged: they are those of the
    site whose name sorts first. Memory does not grow with the number of replies.
    """

    def __init__(self) -> None:
        self._means: dict[str, _Mean] = {}
        self._integers: dict[str, Tensor] = {}
        self._first_site: str | None = None
        self._weight = Fraction(0)
        self._count = 0

    def add(self, site: str, tensors: Tensors, weight: float) -> None:
        """Add a reply; raises ReplyError, with nothing added, where it cannot be summed."""
        check_terms(site, tensors, weight)
        if self._count >= MAX_TERMS:
            raise ReplyError(
                f"more than {MAX_TERMS} replies cannot be summed",
                where=f"reply of site {site}",
                mend="set training.sites_per_round to fewer sites",
            )
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                if name not in self._means:
                    self._means[name] = _Mean(tensor, weight)
                self._means[name].add(tensor, weight)
            elif self._first_site is None or site < self._first_site:
                self._integers[name] = tensor.clone()
        self._first_site = min(site, self._first_site or site)
        self._weight += Fraction(weight)
        self._count += 1

    def mean(self) -> dict[str, Tensor]:
        """The mean; the sums are dropped as it is made. Raises ReplyError if there is none."""
        if not self._weight:
            raise ReplyError(
                "there is nothing to average", mend="at least one site must have cases"
            )
        weight = float(self._weight)
        means = {name: self._means.pop(name).value(weight) for name in sorted(self._means)}
        return {**means, **self._integers}


def weighted_mean(items: Iterable[tuple[str, Tensors, float]]) -> dict[str, Tensor]:
    """The mean of tensors by site and weight, see `WeightedMean`."""
    mean = WeightedMean()
    for site, tensors, weight in items:
        mean.add(site, tensors, weight)
    return mean.mean()
