"""The coordinator's report of a run: one HTML file of figures, without any case by its name.

It is made of what the sites' messages brought, pictures only where a site shares them. What a site
shows of its cases to its own staff is in `site_report`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fednnunet.evaluation.charts import RoundPoint, dice_chart, history_chart
from fednnunet.evaluation.contribution import Contributions
from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.metrics import METRICS
from fednnunet.evaluation.page import png_source, signed, svg_source, write_page
from fednnunet.evaluation.pictures import structure_colours
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.site_graph import SiteGraph, graph_chart
from fednnunet.evaluation.verdict import Verdict, best_model, federation_verdict
from fednnunet.planning.plan import Plan

V = TypeVar("V", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a report shows.

    `facts` are pairs of a word and its value for the head of the page (method, rounds, cases);
    `notes` are warnings that a reader must see first. `models` maps a model's name ("local",
    "global", "personal"), in the order of the columns, to its scores at each site. `detailed`
    names the model whose scores are shown per target (the best on average, if empty). The
    `external` sites did not train, so no mean over sites counts them. `graph` holds the
    similarity of the sites' updates, `contributions` an estimate of what each site contributed,
    where these were measured. `gains` has by model and site the differences over training alone,
    and `pictures` by site and rank the PNG of a case, where sites send them.
    """

    title: str
    plan: Plan
    configuration: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    history: tuple[RoundPoint, ...] = ()
    models: dict[str, dict[str, SiteScores]] = field(default_factory=dict)
    detailed: str = ""
    external: frozenset[str] = frozenset()
    graph: SiteGraph | None = None
    contributions: Contributions | None = None
    gains: dict[str, dict[str, Gain]] = field(default_factory=dict)
    pictures: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """What the page says first; empty before anything was trained."""
        if not self.models:
            return Verdict()
        dice, cases = dice_by_model(self.models), _cases(self.models)
        return federation_verdict(dice, cases, external=self.external, gains=self.gains)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """A model over the sites: plain mean of the sites' Dice, its spread (n - 1), the worst site."""

    mean: float
    spread: float
    worst: float
    worst_site: str


def summarise(dice: Mapping[str, float], *, external: Collection[str] = ()) -> ModelSummary:
    """Summarise a model's mean foreground Dice per site; sites where it is NaN do not count.

    Nor do those `external`, which judge global models alone, unless there is no other.
    """
    judged = {site: value for site, value in dice.items() if not math.isnan(value)}
    defined = _inside(judged, external)
    if not defined:
        return ModelSummary(mean=math.nan, spread=math.nan, worst=math.nan, worst_site="")
    mean = sum(defined.values()) / len(defined)
    squares = sum((value - mean) ** 2 for value in defined.values())
    spread = math.sqrt(squares / (len(defined) - 1)) if len(defined) > 1 else math.nan
    worst_site = min(sorted(defined), key=lambda site: defined[site])
    return ModelSummary(mean=mean, spread=spread, worst=defined[worst_site], worst_site=worst_site)


def _inside(judged: dict[str, V], external: Collection[str]) -> dict[str, V]:
    """What is judged at the sites that train, or else all of it."""
    return {site: value for site, value in judged.items() if site not in external} or judged


def left_out(external: Collection[str], sites: Collection[str]) -> str:
    """What a table of `sites` says of its means: "leave out ..."; empty where all sites train."""
    names = ", ".join(sorted(set(external) & set(sites)))
    if not names:
        return ""
    return f"leave out {names}, which did not train, unless a model is judged nowhere else"


def dice_by_model(models: Mapping[str, Mapping[str, SiteScores]]) -> dict[str, dict[str, float]]:
    """Mean foreground Dice of each model at each site."""
    return {
        model: {site: sites[site].mean("dice") for site in sorted(sites)}
        for model, sites in models.items()
    }


def write_report(path: Path, report: Report) -> None:
    """Write `report` to `path` (report.html), atomically. It refers to nothing outside itself."""
    dice = dice_by_model(report.models)
    sites = sorted({site for values in dice.values() for site in values})
    cases = _cases(report.models)
    best = best_model(dice, report.external) or next(reversed(report.models), "")
    detailed = report.detailed or best
    write_page(
        path,
        "report.html.j2",
        page=report,
        report=report,
        configuration=report.plan.configuration(report.configuration),
        dice=dice,
        summaries={m: summarise(values, external=report.external) for m, values in dice.items()},
        sites=sites,
        left_out=left_out(report.external, sites),
        best=best_models(dice),
        cases=cases,
        counted=sum(_inside({s: n for s, n in cases.items() if n}, report.external).values()),
        detailed=detailed,
        details=report.models.get(detailed, {}),
        metrics=METRICS,
        dice_chart=svg_source(dice_chart(dice)) if dice else "",
        history_chart=svg_source(history_chart(report.history)) if report.history else "",
        graph=_graph(report.graph),
        gains=_gains(dice),
        intervals=_intervals(report.gains),
        pictures=[
            (site, rank, png_source(png))
            for site, found in sorted(report.pictures.items())
            for rank, png in found.items()
        ],
        colours=structure_colours(report.plan.task),
    )


def _graph(graph: SiteGraph | None) -> str:
    """The picture of a graph; two sites have none, as a single number says it all."""
    return svg_source(graph_chart(graph)) if graph and len(graph.sites) > 2 else ""


def _gains(dice: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """What each other model has over "local" at each site; empty without that reference."""
    alone = dice.get("local", {})
    return {
        model: {site: value - alone[site] for site, value in values.items() if site in alone}
        for model, values in dice.items()
        if alone and model != "local"
    }


def _intervals(gains: Mapping[str, Mapping[str, Gain]]) -> dict[str, dict[str, str]]:
    """What stands below a difference in the table: its interval and the signs, by model, site."""
    return {
        model: {site: _signs(gain) for site, gain in found.items()}
        for model, found in gains.items()
    }


def _signs(gain: Gain) -> str:
    text = f"better in {gain.better} of {gain.cases} cases, worse in {gain.worse}"
    if gain.interval is None:
        return text
    low, high = gain.interval
    return f"{signed(low)} to {signed(high)}; {text}"


def best_models(dice: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The highest Dice at each site over the models, to be set in bold."""
    best: dict[str, float] = {}
    for values in dice.values():
        for site, value in values.items():
            if not math.isnan(value):
                best[site] = max(best.get(site, value), value)
    return best


def _cases(models: Mapping[str, Mapping[str, SiteScores]]) -> dict[str, int]:
    """How many cases each site was evaluated on."""
    counts: dict[str, int] = {}
    for sites in models.values():
        for site, scores in sites.items():
            counts[site] = max(counts.get(site, 0), scores.cases)
    return counts
