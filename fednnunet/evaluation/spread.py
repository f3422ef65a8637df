"""Means, medians, spread and bootstrap intervals of the scores of cases, per site and target.

The interval of a mean is the percentile interval of Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, over patients: all cases of a patient are resampled together, and each site's
patients separately, so that the number of patients of each site is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fednnunet.evaluation.lesions import LesionCounts
from fednnunet.evaluation.metrics import CASE_METRICS, CaseScores
from fednnunet.evaluation.paired import RESAMPLES

LEVEL = 0.95
_BLOCK = 4_000_000  # numbers of patients in resamples that are held at a time
SiteCases = Mapping[str, Sequence[CaseScores]]
Patients = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One metric over the `cases` for which it is defined; NaN where there are none."""

    cases: int = 0
    mean: float = math.nan
    median: float = math.nan
    std: float = math.nan
    """Standard deviation (n - 1); NaN with fewer than two cases."""
    q25: float = math.nan
    q75: float = math.nan
    low: float = math.nan
    """Lower end of the 95 % interval of the mean; NaN with fewer than two patients."""
    high: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpread:
    """Every metric of one target over cases."""

    metrics: dict[str, Spread] = field(default_factory=dict)
    """By the name of the metric (`metrics.CASE_METRICS`)."""
    false_negatives: int = 0
    """Cases that have the target, with nothing of it predicted."""
    false_positives: int = 0
    """Cases without the target, with something of it predicted."""
    lesions: LesionCounts | None = None
    """The lesions of all cases together, where they were matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSpread:
    """The targets of one site, or of all sites together."""

    cases: int
    patients: int
    targets: dict[str, TargetSpread] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The spread at each site, and over all cases."""

    sites: dict[str, SiteSpread]
    all_cases: SiteSpread


def statistics_of(
    targets: Sequence[str], cases: SiteCases, patients: Patients | None = None
) -> Statistics:
    """The statistics of the scores of each site's cases.

    `patients` names the patient of a site's case; a case that it does not name is one of its own.
    """
    known = patients or {}
    groups = {
        site: [known.get(site, {}).get(case.case, case.case) for case in own]
        for site, own in cases.items()
    }
    sites = {
        site: _site(targets, {site: cases[site]}, {site: groups[site]}) for site in sorted(cases)
    }
    return Statistics(sites=sites, all_cases=_site(targets, cases, groups))


def mean_interval(
    strata: Sequence[tuple[np.ndarray, Sequence[str]]], *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the 95 % bootstrap interval of the mean of each column.

    Each stratum has values (cases, columns), NaN where they are not defined, and the patient of
    each case. Both ends are NaN for a column with fewer than two patients.
    """
    rng = np.random.default_rng(seed)
    columns = strata[0][0].shape[1]
    sums, counts = (np.zeros((RESAMPLES, columns)) for _ in range(2))
    patients = np.zeros(columns, dtype=int)
    for values, owners in strata:
        names, owner = np.unique(np.asarray(owners, dtype=str), return_inverse=True)
        defined = ~np.isnan(values)
        own_sums, own_counts = (np.zeros((len(names), columns)) for _ in range(2))
        np.add.at(own_sums, owner, np.where(defined, values, 0.0))
        np.add.at(own_counts, owner, defined)
        patients += (own_counts > 0).sum(axis=0)
        block = max(_BLOCK // len(names), 1)
        for start in range(0, RESAMPLES, block):
            rows = slice(start, min(start + block, RESAMPLES))
            weights = _weights(rng, rows.stop - start, len(names))
            sums[rows] += weights @ own_sums
            counts[rows] += weights @ own_counts
    ends = np.full((2, columns), math.nan)
    for column in np.flatnonzero(patients > 1):
        there = counts[:, column] > 0
        means = sums[there, column] / counts[there, column]
        ends[:, column] = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return ends[0], ends[1]


def _weights(rng: np.random.Generator, resamples: int, patients: int) -> np.ndarray:
    """How often each patient is in each of some resamples: (resamples, patients)."""
    chosen = rng.integers(patients, size=(resamples, patients))
    places = (chosen + np.arange(resamples)[:, None] * patients).ravel()
    found = np.bincount(places, minlength=resamples * patients)
    return found.reshape(resamples, patients).astype(np.float64)


def _site(targets: Sequence[str], cases: SiteCases, owners: Mapping[str, list[str]]) -> SiteSpread:
    """The spread over the cases of some sites, each a stratum of the interval."""
    sites = [site for site in sorted(cases) if cases[site]]
    every = [case for site in sites for case in cases[site]]
    patients = sum(len(set(owners[site])) for site in sites)
    if not every:
        return SiteSpread(cases=0, patients=0, targets={name: TargetSpread() for name in targets})
    tables = [(_table(targets, cases[site]), owners[site]) for site in sites]
    low, high = mean_interval(tables)
    values = np.concatenate([table for table, _ in tables])
    found, column = {}, 0
    for name in targets:
        metrics = {}
        for metric in CASE_METRICS:
            ends = float(low[column]), float(high[column])
            metrics[metric] = _spread(values[:, column], ends)
            column += 1
        scores = [case.targets[name] for case in every]
        lesions = [score.lesions for score in scores if score.lesions is not None]
        found[name] = TargetSpread(
            metrics=metrics,
            false_negatives=sum(score.is_false_negative for score in scores),
            false_positives=sum(score.is_false_positive for score in scores),
            lesions=sum(lesions, LesionCounts()) if lesions else None,
        )
    return SiteSpread(cases=len(every), patients=patients, targets=found)


def _table(targets: Sequence[str], cases: Sequence[CaseScores]) -> np.ndarray:
    """The values (cases, targets x metrics)."""
    return np.array(
        [
            [getattr(case.targets[name], metric) for name in targets for metric in CASE_METRICS]
            for case in cases
        ],
        dtype=np.float64,
    )


def _spread(column: np.ndarray, ends: tuple[float, float]) -> Spread:
    values = column[~np.isnan(column)]
    if not values.size:
        return Spread()
    q25, median, q75 = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(
        cases=int(values.size),
        mean=float(values.mean()),
        median=float(median),
        std=float(values.std(ddof=1)) if values.size > 1 else math.nan,
        q25=float(q25),
        q75=float(q75),
        low=ends[0],
        high=ends[1],
    )
