"""Numbers as fixed-point integers modulo 2^k, so that masks of whole numbers hide them.

A weighted mean of n sites is the sum of `share * value`, with shares that sum to at most 1. Where
no value is above `limit`, neither is the sum, so the whole range of k bits serves: the scale is the
largest power of two with which the sum and the roundings of all n terms stay below 2^(k-1). Each
term is rounded by half of 1/scale at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from fednnunet.errors import FedNNUNetError

Bits = Literal[32, 64]
FRACTION_BITS = 40  # of planning sums, whose entries are multiples of 2^-40
_MANTISSA = 52


def word_of(bits: int) -> np.dtype:
    """The unsigned type of so many bits."""
    return np.dtype(np.uint32 if bits == 32 else np.uint64)


def _signed(values: np.ndarray) -> np.ndarray:
    return values.view(np.int32 if values.itemsize == 4 else np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """Fixed-point numbers of `bits` bits, for sums of at most `terms` terms.

    Values are at most `limit`, and shares sum to at most 1.
    """

    bits: Bits
    terms: int
    limit: float

    @property
    def scale(self) -> float:
        """How many units are 1: a power of two."""
        rounding = math.ceil(self.terms * (1 + 2.0 ** (self.bits - _MANTISSA)))  # in units
        largest = 2 ** (self.bits - 1) - 1 - rounding  # float64 would round it up
        exponent = self.bits - 1 - math.floor(math.log2(self.limit))
        while Fraction(self.limit) * Fraction(2) ** exponent > largest:
            exponent -= 1
        return 2.0**exponent

    def encode(self, values: np.ndarray, share: float) -> np.ndarray:
        """`share * values` (n,) as unsigned words.

        Raises FedNNUNetError for a value that is not finite or above the limit, or a share that is
        not from 0 to 1.
        """
        largest = float(np.abs(values).max(initial=0.0))
        if not largest <= self.limit:
            raise FedNNUNetError(
                f"a value of {largest:.3g} is to be summed under masks, and at most {self.limit:g} "
                "fits",
                mend="the training diverged: lower the recipe's learning rate",
            )
        if not 0 <= share <= 1:
            raise FedNNUNetError(
                f"the site would count by {share:g} of all",
                mend="give coordinator and sites the same federation file and version",
            )
        units = np.multiply(values, share * self.scale, dtype=np.float64)
        np.rint(units, out=units)
        word = word_of(self.bits)
        return units.astype(np.int32 if self.bits == 32 else np.int64).view(word)

    def decode(self, total: np.ndarray) -> np.ndarray:
        """The sum of shares times values (n,) in float64, of the sum of words modulo 2^bits."""
        return _signed(total).astype(np.float64) / self.scale


def encode_sums(vector: np.ndarray, terms: int) -> np.ndarray:
    """Sums over cases (n,) as 64-bit words (2 n,), exactly: whole parts, then 2^40ths.

    At most `terms` vectors may be added. Raises FedNNUNetError for a value that does not fit.
    """
    finite = np.isfinite(vector)
    whole = np.floor(np.where(finite, vector, 0.0))
    fraction = np.where(finite, vector - whole, 0.0) * 2.0**FRACTION_BITS
    fits = finite & (np.abs(whole) < 2.0**62 / terms)
    if terms >= 2 ** (63 - FRACTION_BITS) or not np.all(fits & (fraction == np.rint(fraction))):
        raise FedNNUNetError(
            "a sum over cases cannot be written as a whole number of 2^40ths, so it cannot be "
            "summed under masks exactly",
            mend="report it to the developers; planning without planning.secure goes on",
        )
    return np.concatenate([whole, fraction]).astype(np.int64).view(np.uint64)


def decode_sums(total: np.ndarray) -> np.ndarray:
    """The sums (n,) in float64 of the added words (2 n,): exact wherever float64 can be."""
    whole, fraction = np.split(_signed(total), 2)
    whole = whole + (fraction >> FRACTION_BITS)
    rest = fraction & (2**FRACTION_BITS - 1)
    sums: np.ndarray = whole.astype(np.float64) + rest.astype(np.float64) / 2.0**FRACTION_BITS
    return sums
