"""What each site contributes to the common model, as one file that a report can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CONTRIBUTION = "contribution.json"
_LEAST = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContribution:
    """A site in one joint round.

    `apart` is 1 - cosine between its change and the mean change of the others, from 0 (the same
    way) to 2 (the opposite way). `missing` is 1 - Dice, on its training cases, of a model that the
    others made without it; it is asked in the last joint round only.
    """

    divergence: float
    dice_loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteContribution:
    """A site over all joint rounds: mean `apart`, last `missing`, and its estimated `share`.

    The shares of all sites sum to 1.
    """

    divergence: float
    dice_loss: float | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """The estimate for all sites."""

    sites: dict[str, SiteContribution]


def estimate(rounds: Iterable[Mapping[str, RoundContribution]]) -> Contributions:
    """FedCE's estimate from what was measured in each joint round.

    Jiang et al., "Fair Federated Medical Image Segmentation via Client Contribution Estimation",
    CVPR 2023: a site gives the others what they lack, so it counts by how far its gradients point
    apart from theirs, a mean over rounds, and by how badly a model made without it does on its
    cases. Each part is normalised over the sites (0.001 at least), the two are added and normalised
    again; where a site was not asked for the second, the first stands alone. The paper measures the
    second in every round and weights the mean of the replies by the estimate; here it is measured
    once, and nothing depends on it. Noise points apart too: a high share is a reason to look.
    """
    divergence: dict[str, list[float]] = {}
    dice_loss: dict[str, float] = {}
    for measured in rounds:
        for site, found in measured.items():
            divergence.setdefault(site, []).append(found.divergence)
            if found.dice_loss is not None:
                dice_loss[site] = found.dice_loss
    means = {site: sum(values) / len(values) for site, values in sorted(divergence.items())}
    shares = _shares(means)
    if dice_loss.keys() == means.keys():
        second = _shares(dice_loss)
        shares = _shares({site: shares[site] + second[site] for site in shares})
    sites = {
        site: SiteContribution(divergence=mean, dice_loss=dice_loss.get(site), share=shares[site])
        for site, mean in means.items()
    }
    return Contributions(sites=sites)


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    """Values as shares of their sum, with a least one each."""
    total = sum(values.values())
    shares = {s: max(v / total if total > 0 else 1.0, _LEAST) for s, v in values.items()}
    whole = sum(shares.values())
    return {site: share / whole for site, share in shares.items()}
