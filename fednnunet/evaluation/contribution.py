"""The estimated contribution of each site to the global model, as a file for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CONTRIBUTION = "contribution.json"
_MIN_SHARE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContribution:
    """Measurements of a site in one joint round."""

    divergence: float
    """1 - cosine between the site's update and the mean update of the other sites: from 0 (same
    direction) to 2 (opposite direction)."""
    dice_loss: float | None = None
    """1 - Dice, on the site's training cases, of the model merged without the site. Measured in
    the last joint round only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteContribution:
    """The estimate for one site over all joint rounds."""

    divergence: float
    """Mean divergence over the rounds in which the site took part."""
    dice_loss: float | None
    """Dice loss of the last joint round."""
    share: float
    """Estimated contribution; the shares of all sites sum to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """The estimate for all sites."""

    sites: dict[str, SiteContribution]


def estimate(rounds: Iterable[Mapping[str, RoundContribution]]) -> Contributions:
    """FedCE's estimate of contributions from the measurements of all joint rounds.

    Jiang et al., "Fair Federated Medical Image Segmentation via Client Contribution Estimation",
    CVPR 2023. A site contributes what the others lack. Its share has two parts: the divergence of
    its gradients from those of the others, averaged over rounds, and the Dice loss on its cases of
    a model trained without it. Each part is normalised over the sites (at least 0.001 each); the
    parts are added and normalised again. If the Dice loss of a site is missing, only the divergence
    is used. The paper measures the Dice loss in every round and weights the aggregation with the
    estimate; here it is measured once, for the report only. Noisy data diverge as well, so a high
    share should be checked.
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
    """Values as shares of their sum, each at least `_MIN_SHARE`."""
    total = sum(values.values())
    shares = {s: max(v / total if total > 0 else 1.0, _MIN_SHARE) for s, v in values.items()}
    whole = sum(shares.values())
    return {site: share / whole for site, share in shares.items()}
