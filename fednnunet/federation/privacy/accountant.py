"""Epsilon of what has left a site: Rényi differential privacy, composed over all releases.

The sums and conversions are those of Google's `dp-accounting` (Mironov 2017; Mironov, Talwar and
Zhang 2019 for Poisson sampling; Canonne, Kamath and Steinke 2020 for the conversion). Every figure
is an upper bound, a few per cent above the tightest one. It is not a bound on what is not in the
list of releases.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from fednnunet.errors import InputError
from fednnunet.ranges import Within, check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One release of noisy values: `steps` times Gaussian noise on a sampled sum.

    `noise` is the standard deviation over the sensitivity; it is that of adding or removing one
    unit, or of any change of it, whichever the release is for. `rate` is the probability with which
    a unit is in a step's sum, 1 where all are.
    """

    noise: Annotated[float, Within(0, 1e9)]
    rate: Annotated[float, Within(0, 1)] = 1.0
    steps: Annotated[int, Within(1, 10**9)] = 1

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="restore the file from a copy")


def epsilon(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """The epsilon of all mechanisms together; infinite where one has no noise.

    Raises InputError where the package `dp-accounting` is not installed.
    """
    steps: Counter[tuple[float, float]] = Counter()
    for one in mechanisms:
        steps[(one.noise, one.rate)] += one.steps
    if any(noise == 0 and rate > 0 for noise, rate in steps):
        return math.inf
    return _epsilon(tuple(sorted((n, r, s) for (n, r), s in steps.items() if r > 0)), delta)


@cache
def _epsilon(steps: tuple[tuple[float, float, int], ...], delta: float) -> float:
    library, rdp = _library()
    accountant = rdp.RdpAccountant()
    for noise, rate, count in steps:
        event = library.GaussianDpEvent(noise)
        if rate < 1:
            event = library.PoissonSampledDpEvent(rate, event)
        accountant.compose(event, count)
    return float(accountant.get_epsilon(delta)) if steps else 0.0


def check_installed() -> None:
    """Raise InputError where the accountant's package is not installed."""
    _library()


def _library() -> tuple[Any, Any]:
    try:
        import dp_accounting
        from dp_accounting import rdp
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package {error.name} is not installed, which counts epsilon",
            where="this installation",
            mend="pip install 'fednnunet[dp]'",
            advice="check_settings",
        ) from None
    logging.getLogger("absl").setLevel(logging.ERROR)  # orders that do not converge are left out
    return dp_accounting, rdp
