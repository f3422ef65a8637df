"""The model card of a bundle: what it is for, how it was made, how good it is, and its limits.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. `card.json` is for programs and
`CARD.md` for readers; both are written with the bundle, and again when it has been scored. Sites
are a number; their names are there only if the federation file says so, to which they agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scipy.special import stdtrit

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.scores import MetricSum, SiteScores
from fednnunet.files import write_text
from fednnunet.planning.plan import Plan
from fednnunet.text import markdown, plural
from fednnunet.version import VERSION

JSON, MARKDOWN = "card.json", "CARD.md"
UNSTATED = "not stated: ask whoever gave the model before it is used or passed on"
_LEVEL = 0.95
_FEW = 20  # cases of a label
_METRICS = {"dice": "Dice", "hd95_mm": "HD95 mm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardScore:
    """The mean of a metric of one target over held-out cases, with its 95 % interval."""

    target: str
    metric: str
    cases: int
    mean: float
    low: float | None = None
    """Lower end of the interval; null with fewer than two cases, or without a site's squares."""
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """On what a model was scored, and the scores."""

    scores: tuple[CardScore, ...]
    cases: int
    sites: int
    """Sites whose held-out cases were scored."""
    external: int
    """Of these, the sites that did not train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The model card, as `card.json` has it."""

    schema: int = 1
    task: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    planner: str
    configuration: str
    spacing_mm: tuple[float, ...]
    patch_vox: tuple[int, ...]
    planned_from_cases: int
    method: str = ""
    rounds: str = ""
    sites: int | None = None
    """Sites that trained; null if it is not known."""
    site_names: tuple[str, ...] = ()
    scored: Scored | None = None
    never_tried: tuple[str, ...] = ()
    privacy: tuple[str, ...] = ()
    """What differential privacy of the training cost each site: epsilon, or why there is none."""
    licence: str = UNSTATED
    intended_use: str = ""
    checksum: str
    """SHA-256 of plan, configuration, weights and post-processing, checked when it is read."""
    version: str = VERSION


def make_card(plan: Plan, configuration: str, *, checksum: str, note: Mapping[str, str]) -> Card:
    """The card of a bundle that has not been scored."""
    settings = plan.configuration(configuration)
    return Card(
        task=plan.task.name,
        channels=plan.task.channels,
        labels=plan.task.labels,
        regions=plan.task.regions,
        planner=plan.planner,
        configuration=configuration,
        spacing_mm=settings.spacing_mm,
        patch_vox=settings.patch_vox,
        planned_from_cases=plan.cases,
        method=note.get("method", ""),
        rounds=note.get("rounds", ""),
        never_tried=tuple(_never_tried(plan)),
        checksum=checksum,
    )


def write_card(folder: Path, card: Card) -> None:
    """Write `card.json` and `CARD.md` into a bundle's folder."""
    records.write(card, folder / JSON)
    write_text(folder / MARKDOWN, card_text(card))


def amend_card(
    folder: Path,
    *,
    scores: Mapping[str, SiteScores] | None = None,
    external: Sequence[str] = (),
    sites: Sequence[str] = (),
    name_sites: bool = False,
    privacy: Sequence[str] = (),
    licence: str = "",
    intended_use: str = "",
) -> Card:
    """Write what became known later into the card in `folder`; what is not given stays.

    `scores` are each site's sums over its held-out cases, of which the `external` sites did not
    train; `sites` are those that did, and are counted, or named with `name_sites`. `privacy` says
    what differential privacy has cost.
    """
    card = records.read(Card, folder / JSON)
    if sites:
        names = tuple(sorted(sites)) if name_sites else ()
        card = replace(card, sites=len(sites), site_names=names)
    if scores is not None:
        card = replace(card, scored=scored_of(scores, external))
    card = replace(
        card,
        privacy=tuple(privacy) or card.privacy,
        licence=licence or card.licence,
        intended_use=intended_use or card.intended_use,
    )
    write_card(folder, card)
    return card


def read_card(folder: Path) -> Card:
    """The card in a bundle's folder; raises InputError where there is none."""
    if not (folder / JSON).is_file():
        raise InputError(
            f"{folder.name} has no model card",
            where=str(folder),
            mend="give a bundle's folder; bundles of older versions have no card: train again",
        )
    return records.read(Card, folder / JSON)


def scored_of(scores: Mapping[str, SiteScores], external: Sequence[str] = ()) -> Scored:
    """The scores of several sites together, with Student's interval of the mean over cases."""
    given = {site: own for site, own in scores.items() if own.cases}
    found: list[CardScore] = []
    if given:
        together = sum((given[site] for site in sorted(given)), start=_nothing(given))
        for target, sums in together.targets.items():
            for metric in _METRICS:
                values: MetricSum = getattr(sums, metric)
                if values.count:
                    low, high = _interval(values)
                    found.append(
                        CardScore(
                            target=target,
                            metric=metric,
                            cases=values.count,
                            mean=values.mean,
                            low=low,
                            high=high,
                        )
                    )
    return Scored(
        scores=tuple(found),
        cases=sum(own.cases for own in given.values()),
        sites=len(given),
        external=len(given.keys() & set(external)),
    )


def card_text(card: Card) -> str:
    """The card as Markdown."""
    parts = [
        f"# Model card: {markdown(card.task)}",
        "**Not a medical device:** for research only; no result may be used to treat a patient.",
        _list(_facts(card)),
        "## Scores on held-out cases",
        _scores_text(card.scored),
        "## What it was never tried on",
        "\n".join(f"- {markdown(line)}" for line in _all_never_tried(card)),
    ]
    return "\n\n".join(parts) + "\n"


def _nothing(scores: Mapping[str, SiteScores]) -> SiteScores:
    return SiteScores.empty(tuple(next(iter(scores.values())).targets))


def _interval(values: MetricSum) -> tuple[float | None, float | None]:
    if math.isnan(values.std):
        return None, None
    half = float(stdtrit(values.count - 1, (1 + _LEVEL) / 2)) * values.std
    half /= math.sqrt(values.count)
    return values.mean - half, values.mean + half


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    yield "task", card.task
    yield "channels", ", ".join(card.channels)
    yield "labels", ", ".join(f"{value} {name}" for value, name in enumerate(card.labels))
    if card.regions:
        regions = (f"{n} ({', '.join(map(str, v))})" for n, v in card.regions.items())
        yield "regions", "; ".join(regions)
    if card.intended_use:
        yield "meant for", card.intended_use
    spacing = " x ".join(f"{v:.4g}" for v in card.spacing_mm)
    patch = " x ".join(map(str, card.patch_vox))
    yield "plan", f"{card.planner}, {card.configuration}"
    yield "resolution", f"{spacing} mm, patches of {patch} voxels (z, y, x)"
    yield "planned from", plural(card.planned_from_cases, "case")
    if card.sites is not None:
        names = f": {', '.join(card.site_names)}" if card.site_names else ""
        yield "trained by", f"{plural(card.sites, 'site')}{names}"
    yield "method", ", ".join(filter(None, (card.method, card.rounds and f"{card.rounds} rounds")))
    yield "differential privacy", "; ".join(card.privacy)
    yield "licence", card.licence
    yield "checksum", f"sha256 {card.checksum}"
    yield "made by", f"fednnunet {card.version}"


def _list(facts: Iterator[tuple[str, str]]) -> str:
    return "\n".join(f"- {word}: {markdown(value)}" for word, value in facts if value)


def _scores_text(scored: Scored | None) -> str:
    if scored is None or not scored.scores:
        return "It was not scored, so nothing is known of its quality."
    sites = plural(scored.sites, "site")
    lines = [
        f"{plural(scored.cases, 'case')} of {sites}, of which {scored.external} did not train. "
        "Means over cases with their 95 % interval (Student).",
        "",
        "| target | metric | cases | mean | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for score in scored.scores:
        known = score.low is not None and score.high is not None
        ends = f"{score.low:.3f} to {score.high:.3f}" if known else "not known"
        name = _METRICS.get(score.metric, score.metric)
        cells = (markdown(score.target), name, str(score.cases), f"{score.mean:.3f}", ends)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _all_never_tried(card: Card) -> Iterator[str]:
    if card.scored is None or not card.scored.external:
        yield "cases of a hospital that did not train: scores there may be lower"
    if card.scored is None or not card.scored.scores:
        yield "any held-out case"
    yield from card.never_tried


def _never_tried(plan: Plan) -> Iterator[str]:
    """What the plan's cases did not have."""
    channels = ", ".join(plan.task.channels)
    yield f"images other than {channels}, in this order"
    seen = plan.seen
    if seen is not None:
        spacing = " x ".join(f"{low:g}-{high:g}" for low, high in seen.spacing_mm)
        size = " x ".join(f"{low:g}-{high:g}" for low, high in seen.size_mm)
        yield f"voxels other than {spacing} mm (along the plan's axes)"
        yield f"volumes with a length other than {size} mm"
        if seen.orientations:
            yield f"volumes stored other than as {', '.join(seen.orientations)}"
        if seen.always:
            yield f"cases without {', '.join(seen.always)}: every case had it"
    for name, cases in plan.label_cases.items():
        if 0 < cases < _FEW and name != plan.task.labels[0]:
            yield f"more than {plural(cases, 'case')} with {name}"
