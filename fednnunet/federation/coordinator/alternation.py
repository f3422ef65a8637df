"""Rounds of labelled and of unlabelled sites in turn.

Mushtaq et al., "Federated Alternate Training (FAT): Leveraging Unannotated Data Silos in Federated
Segmentation for Medical Imaging", ISBI 2023. With s the share of the rounds after which
pseudo-labels begin (`PseudoLabels.start`) and R the number of joint rounds, the joint rounds
r = 0, 1, ... are those of

    all sites                    where r is 0, so that each says whether it has labels,
    the sites with labels        where r < s R, or r is even,
    the sites without labels     otherwise.

The paper gives each kind several rounds at a time, and unlabelled sites begin after the labelled
ones have converged; here it is every second round. A site that has not replied yet is asked in
every round, and where one of the kinds has no member in a round, all are asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.labels.settings import PseudoLabels


def sites_in_turn(
    sites: Sequence[str],
    number: int,
    rounds: int,
    history: Sequence[RoundRecord],
    settings: PseudoLabels | None,
) -> tuple[str, ...]:
    """Those of the `sites` whose turn it is in the joint round `number` (from 0) of `rounds`."""
    if settings is None or settings.unlabelled_sites != "alternate" or number == 0:
        return tuple(sites)
    labelled = has_labels(history)
    theirs = number >= settings.start * rounds and number % 2 == 1
    known = {labelled[site] for site in sites if site in labelled}
    if len(known) < 2:
        return tuple(sites)
    return tuple(site for site in sites if labelled.get(site) in (None, not theirs))


def has_labels(history: Sequence[RoundRecord]) -> dict[str, bool]:
    """Whether each site that has replied has a labelled case, by its last reply."""
    found: dict[str, bool] = {}
    for record in history:
        found |= {name: site.unlabelled < site.cases for name, site in record.sites.items()}
    return found
