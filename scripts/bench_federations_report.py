"""The table and the curves of `bench_federations.py`, from its finished trainings."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from fednnunet.evaluation.charts import COLOURS, FAINT, STYLE, plain
from fednnunet.evaluation.pictures import png_of
from fednnunet.evaluation.trials import Entry, Trial, entries, own_models
from fednnunet.evaluation.verdicts import Pairs, pair
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.files import replacing, write_text

TABLE, PICTURE = "federations.md", "federations.png"
NO_WORSE, MIN_GAIN, FEW_CASES = -0.01, 0.005, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished training: its models' scores on held-out cases, and its rounds."""

    seed: int
    trials: tuple[Trial, ...]
    rounds: tuple[RoundRecord, ...]
    iterations_per_round: int


Found = dict[str, dict[str, list[Trained]]]
"""The trainings of each federation and length, by method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a training stands after a joint round, as a mean over sites.

    `dice` is on the same few patches of held-out cases in every round, `sent` and `received` are
    megabytes of all sites since the beginning.
    """

    iterations: int
    dice: float
    sent: float
    received: float


def curve(training: Trained) -> tuple[Point, ...]:
    """The joint rounds of a training; rounds without held-out patches are left out."""
    points, sent, received = [], 0, 0
    for number, record in enumerate((r for r in training.rounds if r.phase == "joint"), start=1):
        sent += sum(site.bytes_from_site for site in record.sites.values())
        received += sum(site.bytes_to_site for site in record.sites.values())
        sites = [[d for d in site.held_out if d is not None] for site in record.sites.values()]
        means = [statistics.fmean(dice) for dice in sites if dice]
        if means:
            iterations = number * training.iterations_per_round
            points.append(
                Point(
                    iterations=iterations,
                    dice=statistics.fmean(means),
                    sent=sent / 1e6,
                    received=received / 1e6,
                )
            )
    return tuple(points)


def bytes_to_reach(training: Trained, dice: float) -> float | None:
    """Megabytes sent by all sites until the mean Dice on held-out patches reaches `dice` for good.

    None if it ends below.
    """
    points, reached = curve(training), None
    for point in reversed(points):
        if point.dice < dice:
            break
        reached = point.sent
    return reached


def write_report(found: Found, folder: Path) -> None:
    """Write `federations.md` and `federations.png` of what there is."""
    parts = [_section(name, methods) for name, methods in found.items()]
    write_text(folder / TABLE, "\n".join(parts) or "Nothing is trained yet.\n")
    with replacing(folder / PICTURE) as temporary:
        temporary.write_bytes(_picture(found))


def _entries(methods: Mapping[str, Sequence[Trained]]) -> tuple[Entry, ...]:
    return entries(
        dataclasses.replace(trial, method=method)
        for method, trained in methods.items()
        for training in trained
        for trial in training.trials
    )


def _section(name: str, methods: Mapping[str, Sequence[Trained]]) -> str:
    """A table: every model's Dice, what it has over training alone, and the bytes."""
    models = _entries(methods)
    alone = own_models(models).get("local")
    sites = sorted({site for entry in models for site in entry.dice})
    lines = [
        f"\n**{name}**\n",
        f"| method | model | seeds | {' | '.join(sites)} | mean | over `local`, a case (95 %) |"
        " lowest lower end of a site | MB sent | until `local`'s Dice |",
        "|" + "---|" * (8 + len(sites)),
    ]
    for entry in models:
        over, lowest = "-", "-"
        if alone is not None and entry is not alone:
            inside = set(entry.dice) - entry.external
            over = _gain(pair(entry, alone, inside))
            ends = {site: pair(entry, alone, {site}).interval[0] for site in inside}
            defined = {site: end for site, end in ends.items() if not math.isnan(end)}
            if defined:
                worst = min(defined, key=lambda site: defined[site])
                lowest = f"{defined[worst]:+.4f} ({worst})"
        dice = " | ".join(_number(entry.dice.get(site, math.nan)) for site in sites)
        sent = "-" if entry.bytes_sent is None else f"{entry.bytes_sent / 1e6:.0f}"
        lines.append(
            f"| `{entry.method}` | {entry.model} | {len(entry.seeds)} | {dice} | "
            f"{_number(entry.mean)} | {over} | {lowest} | {sent} | "
            f"{_reached(methods, entry.method)} |"
        )
    return "\n".join((*lines, *_verdict(models))) + "\n"


def _verdict(models: Sequence[Entry]) -> list[str]:
    """Whether the default method keeps its promise here: no site worse, small sites better."""
    own = own_models(models)
    if "fedease" not in own or "local" not in own:
        return []
    entry, alone = own["fedease"], own["local"]
    by_site = {site: pair(entry, alone, {site}) for site in sorted(set(entry.dice))}
    judged = {site: pairs for site, pairs in by_site.items() if pairs.cases}
    worse = [site for site, pairs in judged.items() if pairs.interval[0] <= NO_WORSE]
    whole = pair(entry, alone, set(entry.dice))
    said = f"lower end of the interval at or below {NO_WORSE}: {', '.join(worse) or 'no site'}"
    gain = "reached" if whole.mean >= MIN_GAIN else "not reached"
    return [f"\n`fedease` over `local`: {said}; a mean gain of {MIN_GAIN} is {gain}."]


def _gain(pairs: Pairs) -> str:
    low, high = pairs.interval
    return f"{pairs.mean:+.4f} ({low:+.4f} to {high:+.4f})" if pairs.cases else "-"


def _reached(methods: Mapping[str, Sequence[Trained]], method: str) -> str:
    """Megabytes until the final Dice of `local` with the same seed, on held-out patches."""
    alone = {t.seed: points[-1].dice for t in methods.get("local", ()) if (points := curve(t))}
    if method in ("local", "pooled", "pooled_iterations") or not alone:
        return "-"
    found = [
        bytes_to_reach(training, alone[training.seed])
        for training in methods[method]
        if training.seed in alone
    ]
    whole = [value for value in found if value is not None]
    if not whole:
        return "not reached"
    return f"{statistics.median(whole):.0f} ({len(whole)} of {len(found)} seeds)"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _picture(found: Found) -> bytes:
    """A row for each federation: Dice on held-out patches against iterations and megabytes sent."""
    count = max(len(found), 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 2.6 * count), dpi=150, layout="constrained")
        grid = figure.subplots(count, 2, squeeze=False)
        for (name, methods), (left, right) in zip(found.items(), grid, strict=False):
            for index, (method, trained) in enumerate(methods.items()):
                colour = COLOURS[index % len(COLOURS)]
                for number, training in enumerate(trained):
                    points = curve(training)
                    dice = [point.dice for point in points]
                    label = method if number == 0 else None
                    left.plot([p.iterations for p in points], dice, color=colour, label=label)
                    if any(point.sent for point in points):
                        right.plot([p.sent for p in points], dice, color=colour)
            left.set_title(name, fontsize=9, loc="left")
            left.set_xlabel("iterations of each site")
            right.set_xlabel("MB sent by all sites")
            left.set_ylabel("Dice on held-out patches")
            left.legend(fontsize=7, frameon=False)
            for axes in (left, right):
                plain(axes)
                axes.grid(axis="y", color=FAINT, linewidth=0.6)
        return png_of(figure)
