"""Statistical tests of a comparison of methods: which differences are significant.

Two models are paired by held-out case, with each case's Dice averaged over the seeds that both
have. A verdict requires at least `MIN_SEEDS` trainings, since cases do not show the variation
between trainings, and enough cases for the test to reach significance at all. It is given only if
the test with Holm's correction, the bootstrap interval and every single seed agree.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fednnunet.evaluation.paired import bootstrap_interval, holm, signed_rank, smallest_p
from fednnunet.evaluation.trials import CaseKey, Entry, mean_by_key, own_models

ALPHA = 0.05
MIN_SEEDS = 3
MARGIN = 0.02

BETTER, WORSE = "better", "worse"
NO_WORSE, NOT_SHOWN = "no worse", "not shown"
NO_DIFFERENCE = "no difference shown"
SEEDS_DISAGREE = "seeds disagree"
FEW_SEEDS = "not enough seeds"
FEW_CASES = "not enough cases"
TRAINING, EXTERNAL = "training", "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Differences in Dice of two models on the same held-out cases, first minus second."""

    cases: Mapping[CaseKey, float]
    """Mean difference over seeds of each case."""
    by_seed: Mapping[int, float]
    """Mean difference over cases of each seed."""

    @property
    def values(self) -> list[float]:
        """The differences, in the order of sites and cases."""
        return [self.cases[key] for key in sorted(self.cases)]

    @property
    def mean(self) -> float:
        """Mean over cases; NaN without cases."""
        return statistics.fmean(self.values) if self.cases else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean, stratified by site."""
        sites = sorted({site for site, _ in self.cases})
        strata = [[d for key, d in sorted(self.cases.items()) if key[0] == s] for s in sites]
        return bootstrap_interval(strata)

    @property
    def seed_spread(self) -> float:
        """Standard deviation (n - 1) over seeds of the mean; NaN for fewer than two."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else math.nan

    def agree(self, sign: int) -> bool:
        """Whether the mean of every seed has this sign (1 or -1)."""
        return all(sign * value > 0 for value in self.by_seed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A comparison of the models `name` and `over` at the sites `where` (training or external).

    `p` is two-sided; `p_holm` is corrected for all comparisons of the page.
    """

    name: str
    over: str
    where: str
    pairs: Pairs
    p: float
    p_holm: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCheck:
    """Non-inferiority of a method's model to local training at one site.

    `p` is one-sided, for a difference above `-margin`. `p_holm` is corrected for the sites of the
    method.
    """

    method: str
    site: str
    margin: float
    pairs: Pairs
    p: float
    p_holm: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCheck:
    """Non-inferiority of a method's models to local training at all sites together.

    This is an intersection-union test: it holds at level `ALPHA` if the test of every single site
    does, without correction (Berger, "Multiparameter hypothesis testing and acceptance sampling",
    Technometrics 24, 1982).
    """

    method: str
    sites: tuple[SiteCheck, ...]
    verdict: str


def pair(first: Entry, second: Entry, sites: Collection[str]) -> Pairs:
    """Pair two models on the cases of `sites` that both were evaluated on with the same seeds.

    A case for which Dice is not defined with one of these seeds is left out.
    """
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    found = {}
    for seed in seeds:
        mine, theirs = first.case_runs[seed], second.case_runs[seed]
        common = (key for key in mine.keys() & theirs.keys() if key[0] in sites)
        found[seed] = {key: mine[key] - theirs[key] for key in common}
    everywhere = set.intersection(*map(set, found.values())) if found else set()
    kept = {key for key in everywhere if not any(math.isnan(found[s][key]) for s in seeds)}
    found = {seed: {key: found[seed][key] for key in kept} for seed in seeds}
    by_seed = {seed: statistics.fmean(f.values()) for seed, f in found.items() if f}
    return Pairs(cases=mean_by_key(found.values()), by_seed=by_seed)


def compare(
    found: Sequence[Entry], *, reference: str, external: Collection[str] = ()
) -> tuple[Difference, ...]:
    """Compare each method with `reference` and with "local", by the model that sites would use.

    At training sites this is the personal model if there is one. At external sites it is the global
    model, compared with that of the reference. All comparisons are corrected together.
    """
    own = own_models(found)
    global_models = {entry.method: entry for entry in found if entry.model == "global"}
    training = {site for entry in found for site in entry.dice} - set(external)
    planned = [
        (own[method], own[over], training, TRAINING) for method, over in _pairs(own, reference)
    ]
    if external and reference in global_models:
        planned += [
            (entry, global_models[reference], set(external), EXTERNAL)
            for method, entry in global_models.items()
            if method != reference
        ]
    pairs = [pair(a, b, sites) for a, b, sites, _ in planned]
    p_values = [signed_rank(p.values) for p in pairs]
    corrected = holm(p_values)
    return tuple(
        Difference(
            name=a.name,
            over=b.name,
            where=where,
            pairs=own_pairs,
            p=p,
            p_holm=p_holm,
            verdict=_verdict(own_pairs, p_holm, len(planned)),
        )
        for (a, b, _, where), own_pairs, p, p_holm in zip(
            planned, pairs, p_values, corrected, strict=True
        )
    )


def _pairs(methods: Collection[str], reference: str) -> list[tuple[str, str]]:
    """The pairs of methods to compare: all with the reference, then all with "local"."""
    return [
        (method, over)
        for over in dict.fromkeys((reference, "local"))
        for method in methods
        if over in methods and method not in (reference, over)
    ]


def no_worse_than_local(
    found: Sequence[Entry], *, margin: float = MARGIN, external: Collection[str] = ()
) -> tuple[MethodCheck, ...]:
    """Test each method for non-inferiority to "local" at each training site; empty without it.

    Sites without held-out cases are left out.
    """
    own = own_models(found)
    local = own.get("local")
    if local is None:
        return ()
    evaluated = {site for site, dice in local.dice.items() if not math.isnan(dice)}
    sites = sorted(evaluated - set(external))
    return tuple(
        _check(entry, local, [site for site in sites if site in entry.dice], margin)
        for method, entry in own.items()
        if method != "local"
    )


def _check(entry: Entry, local: Entry, sites: Sequence[str], margin: float) -> MethodCheck:
    pairs = {site: pair(entry, local, {site}) for site in sites}
    above = [
        signed_rank([d + margin for d in p.values], alternative="greater") for p in pairs.values()
    ]
    below = [signed_rank(p.values, alternative="less") for p in pairs.values()]
    checks = tuple(
        SiteCheck(
            method=entry.method,
            site=site,
            margin=margin,
            pairs=p,
            p=p_above,
            p_holm=p_holm,
            verdict=_site_verdict(p, p_holm, p_below, margin, len(sites)),
        )
        for (site, p), p_above, p_holm, p_below in zip(
            pairs.items(), above, holm(above), holm(below), strict=True
        )
    )
    return MethodCheck(method=entry.method, sites=checks, verdict=_method_verdict(checks))


def _verdict(pairs: Pairs, p_holm: float, comparisons: int) -> str:
    if len(pairs.by_seed) < MIN_SEEDS:
        return FEW_SEEDS
    if smallest_p(len(pairs.cases)) * comparisons >= ALPHA:
        return FEW_CASES
    low, high = pairs.interval
    if p_holm >= ALPHA or low <= 0 <= high:
        return NO_DIFFERENCE
    sign = 1 if low > 0 else -1
    if not pairs.agree(sign):
        return SEEDS_DISAGREE
    return BETTER if sign > 0 else WORSE


def _site_verdict(pairs: Pairs, p_holm: float, p_below: float, margin: float, sites: int) -> str:
    if len(pairs.by_seed) < MIN_SEEDS:
        return FEW_SEEDS
    if smallest_p(len(pairs.cases), alternative="greater") * sites >= ALPHA:
        return FEW_CASES
    if p_holm < ALPHA and all(value > -margin for value in pairs.by_seed.values()):
        return NO_WORSE
    if p_below < ALPHA and pairs.agree(-1):
        return WORSE
    return NOT_SHOWN


def _method_verdict(checks: Sequence[SiteCheck]) -> str:
    """The verdict for all sites; that a site is worse is reported before missing seeds or cases."""
    if any(check.verdict == WORSE for check in checks):
        return WORSE
    if any(len(check.pairs.by_seed) < MIN_SEEDS for check in checks):
        return FEW_SEEDS
    if any(smallest_p(len(c.pairs.cases), alternative="greater") >= ALPHA for c in checks):
        return FEW_CASES
    steady = all(value > -c.margin for c in checks for value in c.pairs.by_seed.values())
    return NO_WORSE if checks and steady and all(c.p < ALPHA for c in checks) else NOT_SHOWN
