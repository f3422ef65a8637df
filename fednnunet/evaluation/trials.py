"""Trials of several methods on the same held-out cases, and their averages over seeds.

A trial holds the scores of single cases, which never leave a site in a real federation. Comparisons
are for sites that are folders on one machine.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.report import ModelSummary, summarise
from fednnunet.evaluation.scores import SiteScores

CaseKey = tuple[str, str]  # site, case


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One model of one method, trained with one seed, with its scores on held-out cases."""

    method: str
    model: str
    """"personal" (a model for each site) or "global"."""
    seed: int
    targets: tuple[str, ...]
    cases: Mapping[str, Sequence[CaseScores]]
    """The scores of each site's cases."""
    bytes_sent: int | None
    """Bytes that all sites sent in all rounds; None if the cases were pooled."""
    seconds: float
    """Training time, summed over the sites."""
    external: frozenset[str] = frozenset()
    """The sites that did not train."""
    bytes_received: int | None = None
    """Bytes that all sites received in all rounds; None if the cases were pooled."""

    @property
    def sites(self) -> dict[str, SiteScores]:
        """Sums over each site's cases."""
        return {site: SiteScores.of(self.targets, self.cases[site]) for site in sorted(self.cases)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """The held-out case with the lowest Dice, averaged over seeds."""

    site: str
    case: str
    dice: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of one method over its seeds.

    Means over sites include only sites that train, so that all models are compared on the same
    sites.
    """

    method: str
    model: str
    seeds: tuple[int, ...]
    dice: Mapping[str, float]
    """Mean foreground Dice of each site, averaged over seeds."""
    runs: Mapping[int, Mapping[str, float]]
    """Mean foreground Dice of each site, for each seed."""
    cases: Mapping[CaseKey, float]
    """Mean foreground Dice of each case, averaged over seeds."""
    case_runs: Mapping[int, Mapping[CaseKey, float]]
    """Mean foreground Dice of each case, for each seed."""
    bytes_sent: float | None
    """Bytes that all sites sent in one training, averaged over seeds; None for pooled cases."""
    seconds: float
    """Training time summed over sites, the median over seeds."""
    external: frozenset[str] = frozenset()
    """The sites that did not train."""
    bytes_received: float | None = None
    """Bytes that all sites received in one training, as `bytes_sent`."""

    @property
    def name(self) -> str:
        """Method and model, for tables."""
        return f"{self.method}, {self.model}"

    @property
    def summary(self) -> ModelSummary:
        """Mean, spread and worst over sites."""
        return summarise(self.dice, external=self.external)

    @property
    def mean(self) -> float:
        """Plain mean over sites."""
        return self.summary.mean

    @property
    def by_seed(self) -> dict[int, float]:
        """The mean over sites, for every seed."""
        return {
            seed: summarise(dice, external=self.external).mean for seed, dice in self.runs.items()
        }

    @property
    def seed_spread(self) -> float:
        """Standard deviation (n - 1) over seeds of the mean over sites; NaN for one seed."""
        values = [value for value in self.by_seed.values() if not math.isnan(value)]
        return statistics.stdev(values) if len(values) > 1 else math.nan

    @property
    def worst_case(self) -> WorstCase | None:
        """The case with the lowest Dice; None if Dice is not defined for any case."""
        defined = {key: dice for key, dice in self.cases.items() if not math.isnan(dice)}
        if not defined:
            return None
        site, case = min(sorted(defined), key=lambda key: defined[key])
        return WorstCase(site=site, case=case, dice=defined[site, case])


def over_folds(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Combine the trials of all folds of the same method, model and seed into one.

    It holds the cases of all folds, and the sums of bytes and times. A site that never trains is
    evaluated in every fold, so each of its cases occurs once per fold.
    """
    groups: dict[tuple[str, str, int], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.method, trial.model, trial.seed), []).append(trial)
    return tuple(_together(group) for group in groups.values())


def _together(trials: Sequence[Trial]) -> Trial:
    cases: dict[str, list[CaseScores]] = {}
    for trial in trials:
        for site, scores in trial.cases.items():
            cases.setdefault(site, []).extend(scores)
    sent, received = _bytes(trials)
    return replace(
        trials[0],
        cases=cases,
        bytes_sent=sum(sent) if sent else None,
        bytes_received=sum(received) if received else None,
        seconds=sum(trial.seconds for trial in trials),
    )


def entries(trials: Iterable[Trial]) -> tuple[Entry, ...]:
    """One entry per method and model, in the order of their first occurrence."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.method, trial.model), []).append(trial)
    return tuple(_entry(sorted(group, key=lambda trial: trial.seed)) for group in groups.values())


def own_models(found: Iterable[Entry]) -> dict[str, Entry]:
    """The model that each method gives to a training site: personal if there is one, or global."""
    own: dict[str, Entry] = {}
    for entry in found:
        if entry.method not in own or entry.model == "personal":
            own[entry.method] = entry
    return own


def _entry(trials: Sequence[Trial]) -> Entry:
    runs = {t.seed: {site: s.mean("dice") for site, s in t.sites.items()} for t in trials}
    case_runs = {t.seed: _case_dice(t) for t in trials}
    sent, received = _bytes(trials)
    return Entry(
        method=trials[0].method,
        model=trials[0].model,
        seeds=tuple(runs),
        dice=mean_by_key(runs.values()),
        runs=runs,
        cases=mean_by_key(case_runs.values()),
        case_runs=case_runs,
        bytes_sent=statistics.fmean(sent) if sent else None,
        bytes_received=statistics.fmean(received) if received else None,
        seconds=statistics.median(trial.seconds for trial in trials),
        external=trials[0].external,
    )


def _bytes(trials: Sequence[Trial]) -> tuple[list[int], list[int]]:
    """What was sent and received in the trials of which it is known."""
    sent = [trial.bytes_sent for trial in trials if trial.bytes_sent is not None]
    received = [trial.bytes_received for trial in trials if trial.bytes_received is not None]
    return sent, received


def mean_by_key(values: Iterable[Mapping[CaseKey, float] | Mapping[str, float]]) -> dict:
    """Mean of the defined values of each key; NaN if there are none."""
    found: dict = {}
    for mapping in values:
        for key, value in mapping.items():
            found.setdefault(key, []).append(value)
    return {key: _mean(column) for key, column in sorted(found.items())}


def _case_dice(trial: Trial) -> dict[CaseKey, float]:
    """The Dice of every case; the mean if it was evaluated in several folds."""
    return mean_by_key(
        {(site, c.case): c.dice} for site, cases in trial.cases.items() for c in cases
    )


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return statistics.fmean(defined) if defined else math.nan
