"""A method's merge with a rule of weights wherever it takes the mean by cases."""

from __future__ import annotations

from dataclasses import replace

from fednnunet.errors import InputError
from fednnunet.federation.methods.mean import MeanBy, by_cases
from fednnunet.federation.methods.merge import Merge, with_mean
from fednnunet.federation.methods.similarity import BySimilarity
from fednnunet.federation.methods.site_mean import SiteMean


def weighted_merge(merge: Merge, mean: SiteMean, *, method: str) -> Merge:
    """The merge with `mean` in the place of the mean by cases.

    Raises InputError, which names the method, where it has weights of its own, or needs more of the
    replies than their mean.
    """
    if mean == SiteMean():
        return merge

    def replaced(inner: Merge) -> Merge | None:
        if isinstance(inner, BySimilarity):
            return replace(inner, common=mean)
        return mean if isinstance(inner, MeanBy) and inner.weight is by_cases else None

    found = with_mean(merge, replaced)
    if found is None:
        raise InputError(
            f"method {method} weights sites by itself, or needs more of the replies than their "
            "mean; it takes no other weights",
            where="training.weights, training.merging",
            mend="choose a method such as fedavg, fedbn_head, fedprox, fedavgm, ditto or fedease, "
            "or remove both tables",
        )
    return found
