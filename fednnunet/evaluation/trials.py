"""Trials of several methods on the same held-out cases, and what they come to over the seeds.

A trial keeps the scores of single cases. These stay at a site in a federation; comparisons are for
sites that are folders on one's own machine.
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
    """One model of one method after training with one seed, judged on held-out cases.

    `model` is "personal" (each site its own) or "global". `bytes_sent` is what all sites sent in
    all rounds (none where cases are pooled), `seconds` the time they trained, added up. The
    sites `outside` did not train.
    """

    method: str
    model: str
    seed: int
    targets: tuple[str, ...]
    cases: Mapping[str, Sequence[CaseScores]]
    bytes_sent: int | None
    seconds: float
    outside: frozenset[str] = frozenset()

    @property
    def sites(self) -> dict[str, SiteScores]:
        """Sums over each site's cases."""
        return {site: SiteScores.of(self.targets, self.cases[site]) for site in sorted(self.cases)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """The held-out case that a model segments worst, by its Dice averaged over seeds."""

    site: str
    case: str
    dice: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of one method over its seeds.

    `dice` is each site's mean foreground Dice averaged over seeds, `cases` each case's; `by_seed`
    is the mean over sites for each seed, and `runs` the values of each site for each seed. Means
    over sites are over those that train, so that all models are judged at the same.
    """

    method: str
    model: str
    seeds: tuple[int, ...]
    dice: Mapping[str, float]
    runs: Mapping[int, Mapping[str, float]]
    cases: Mapping[CaseKey, float]
    case_runs: Mapping[int, Mapping[CaseKey, float]]
    bytes_sent: float | None
    seconds: float
    outside: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Method and model, as they stand in a table."""
        return f"{self.method}, {self.model}"

    @property
    def summary(self) -> ModelSummary:
        """Mean, spread and worst over sites."""
        return summarise(self.dice, outside=self.outside)

    @property
    def mean(self) -> float:
        """Plain mean over sites."""
        return self.summary.mean

    @property
    def by_seed(self) -> dict[int, float]:
        """The mean over sites, for every seed."""
        return {
            seed: summarise(dice, outside=self.outside).mean for seed, dice in self.runs.items()
        }

    @property
    def seed_spread(self) -> float:
        """Standard deviation (n - 1) over seeds of the mean over sites; NaN for one seed."""
        values = [value for value in self.by_seed.values() if not math.isnan(value)]
        return statistics.stdev(values) if len(values) > 1 else math.nan

    @property
    def worst_case(self) -> WorstCase | None:
        """The case with the lowest Dice; None where no case has one."""
        defined = {key: dice for key, dice in self.cases.items() if not math.isnan(dice)}
        if not defined:
            return None
        site, case = min(sorted(defined), key=lambda key: defined[key])
        return WorstCase(site=site, case=case, dice=defined[site, case])


def over_folds(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Trials of the same method, model and seed as one, as of a training for each fold.

    It holds the cases of all, and what all sent and took. A site that never trains is judged in
    every fold, so it has every case as often.
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
    sent = [trial.bytes_sent for trial in trials if trial.bytes_sent is not None]
    return replace(
        trials[0],
        cases=cases,
        bytes_sent=sum(sent) if sent else None,
        seconds=sum(trial.seconds for trial in trials),
    )


def entries(trials: Iterable[Trial]) -> tuple[Entry, ...]:
    """One entry a method and model, in the order in which these first come."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.method, trial.model), []).append(trial)
    return tuple(_entry(sorted(group, key=lambda trial: trial.seed)) for group in groups.values())


def own_models(found: Iterable[Entry]) -> dict[str, Entry]:
    """What each method gives to a site that trains: its personal model, else the global one."""
    own: dict[str, Entry] = {}
    for entry in found:
        if entry.method not in own or entry.model == "personal":
            own[entry.method] = entry
    return own


def _entry(trials: Sequence[Trial]) -> Entry:
    runs = {t.seed: {site: s.mean("dice") for site, s in t.sites.items()} for t in trials}
    case_runs = {t.seed: _case_dice(t) for t in trials}
    sent = [trial.bytes_sent for trial in trials if trial.bytes_sent is not None]
    return Entry(
        method=trials[0].method,
        model=trials[0].model,
        seeds=tuple(runs),
        dice=mean_by_key(runs.values()),
        runs=runs,
        cases=mean_by_key(case_runs.values()),
        case_runs=case_runs,
        bytes_sent=statistics.fmean(sent) if sent else None,
        seconds=statistics.median(trial.seconds for trial in trials),
        outside=trials[0].outside,
    )


def mean_by_key(values: Iterable[Mapping[CaseKey, float] | Mapping[str, float]]) -> dict:
    """Mean of each key's values where they are defined; NaN where none is."""
    found: dict = {}
    for mapping in values:
        for key, value in mapping.items():
            found.setdefault(key, []).append(value)
    return {key: _mean(column) for key, column in sorted(found.items())}


def _case_dice(trial: Trial) -> dict[CaseKey, float]:
    """The Dice of every case; of one that was judged in several folds, its mean."""
    return mean_by_key(
        {(site, c.case): c.dice} for site, cases in trial.cases.items() for c in cases
    )


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return statistics.fmean(defined) if defined else math.nan
