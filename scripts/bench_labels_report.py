"""The table and the picture of `bench_labels.py`, from the stored scores of its cells."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from bench_labels_cells import CELLS, ROWS, CellScores, Claim, Row
from matplotlib.figure import Figure

from fednnunet.evaluation.charts import COLOURS, FAINT, STYLE, plain
from fednnunet.evaluation.paired import bootstrap_interval
from fednnunet.evaluation.pictures import png_of
from fednnunet.files import replacing, write_text

Found = Mapping[str, Sequence[CellScores]]
CaseKey = tuple[str, str]  # site, case
TABLE, PICTURE = "labels.md", "labels.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over cases with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    cases: int

    def text(self, *, sign: bool = False) -> str:
        """As a cell of the table."""
        form = "+.4f" if sign else ".4f"
        return f"{self.mean:{form}} ({self.low:{form}} to {self.high:{form}})"


def case_dice(
    scores: Sequence[CellScores], seeds: Sequence[int], target: str = ""
) -> dict[CaseKey, float]:
    """Dice of every case, of one target or the mean of all, then averaged over the seeds."""
    values: dict[CaseKey, list[float]] = {}
    for each in scores:
        if each.seed not in seeds:
            continue
        for site, cases in each.cases.items():
            for case, dice in cases.items():
                names = (target,) if target else each.targets
                known = [d for name in names if (d := dice.get(name)) is not None]
                if known:
                    values.setdefault((site, case), []).append(statistics.fmean(known))
    return {key: statistics.fmean(found) for key, found in sorted(values.items())}


def estimate(values: Mapping[CaseKey, float]) -> Estimate:
    """The mean over cases; each site's cases are resampled on their own."""
    sites: dict[str, list[float]] = {}
    for (site, _), value in values.items():
        sites.setdefault(site, []).append(value)
    low, high = bootstrap_interval(list(sites.values()))
    mean = statistics.fmean(values.values()) if values else math.nan
    return Estimate(mean=mean, low=low, high=high, cases=len(values))


def difference(found: Found, cell: str, other: str, target: str = "") -> Estimate:
    """A cell's Dice less another's, paired over cases, on the seeds that both have."""
    seeds = common_seeds(found, cell, other)
    ours, theirs = (case_dice(found[name], seeds, target) for name in (cell, other))
    return estimate({key: ours[key] - theirs[key] for key in ours.keys() & theirs.keys()})


def common_seeds(found: Found, *cells: str) -> tuple[int, ...]:
    """The seeds that all of some cells were trained with."""
    sets = [{each.seed for each in found[name]} for name in cells]
    return tuple(sorted(set.intersection(*sets)))


def verdict(found: Found, claim: Claim) -> tuple[str, str, bool] | None:
    """What must be, what was found, and whether that is so; None while a cell is missing."""
    names = [name for name in (claim.cell, claim.low, claim.high) if name]
    if any(name not in found for name in names):
        return None
    seeds = common_seeds(found, *names)

    def mean(name: str) -> float:
        return estimate(case_dice(found[name], seeds)).mean

    if claim.kind == "gap":
        gap = mean(claim.high) - mean(claim.low)
        share = (mean(claim.cell) - mean(claim.low)) / gap if gap else math.nan
        found_words = f"{share:.0%} of a gap of {gap:.4f}"
        return f"{claim.cell} closes >= {claim.wanted:.0%}", found_words, share >= claim.wanted
    if claim.kind == "within":
        change = difference(found, claim.cell, claim.high)
        words = f"{claim.cell} within {claim.wanted} of {claim.high}"
        return words, change.text(sign=True), change.mean >= -claim.wanted
    if claim.kind == "ratio":
        ratio = mean(claim.cell) / mean(claim.high)
        return (
            f"{claim.cell} >= {claim.wanted} of {claim.high}",
            f"{ratio:.3f}",
            (ratio >= claim.wanted),
        )
    if claim.kind == "above":
        change = difference(found, claim.cell, claim.low)
        words = f"{claim.cell} above {claim.low}" + (f" by {claim.wanted}" if claim.wanted else "")
        met = change.mean >= claim.wanted if claim.wanted else change.mean > 0
        return words, change.text(sign=True), met
    change = difference(found, claim.cell, claim.low)
    targets = found[claim.cell][0].targets
    worse = [t for t in targets if difference(found, claim.cell, claim.low, t).mean < 0]
    words = f"{claim.cell} above {claim.low}, no organ worse"
    said = f"{change.text(sign=True)}; worse: {', '.join(worse) or 'none'}"
    return words, said, change.mean > 0 and not worse


def write_report(found: Found, rows: Sequence[str], folder: Path) -> None:
    """Write `labels.md` and `labels.png` of the cells that are there."""
    parts = [_summary(found, rows)]
    for name in rows:
        if any(cell in found for cell in ROWS[name].cells):
            parts.append(_section(found, ROWS[name]))
    write_text(folder / TABLE, "\n".join(parts))
    with replacing(folder / PICTURE) as temporary:
        temporary.write_bytes(_picture(found, rows))


def _summary(found: Found, rows: Sequence[str]) -> str:
    lines = ["| federation | must | found (95 %) | met |", "|---|---|---|---|"]
    for name in rows:
        for claim in ROWS[name].claims:
            if said := verdict(found, claim):
                must, what, met = said
                title = ROWS[name].title
                lines.append(f"| {title} | {must} | {what} | {'yes' if met else 'no'} |")
    return "\n".join(lines) + "\n"


def _section(found: Found, row: Row) -> str:
    """A table of the row's cells, with the Dice of every target."""
    there = [name for name in row.cells if name in found]
    targets = found[there[0]][0].targets
    first = found[there[0]][0]
    head = f"{first.rounds} rounds of {first.iterations_per_round} iterations"
    lines = [
        f"\n**{row.title}** ({head})\n",
        f"| labels | seeds | Dice | {' | '.join(targets)} | from `{row.reference}` (95 %) |"
        " s an iteration |",
        "|" + "---|" * (5 + len(targets)),
    ]
    for name in there:
        seeds = [each.seed for each in found[name]]
        whole = estimate(case_dice(found[name], seeds))
        each = [estimate(case_dice(found[name], seeds, t)).mean for t in targets]
        change = "-"
        if name != row.reference and row.reference in found:
            change = difference(found, name, row.reference).text(sign=True)
        seconds = [s for c in found[name] for s in c.seconds_per_iteration.values()]
        pace = f"{statistics.median(seconds):.2f}" if seconds else "-"
        dice = " | ".join(f"{value:.4f}" for value in each)
        words = f"`{name}`: {CELLS[name].words}"
        lines.append(f"| {words} | {len(seeds)} | {whole.mean:.4f} | {dice} | {change} | {pace} |")
    lines += _organs(found, row, targets)
    return "\n".join(lines) + "\n"


def _organs(found: Found, row: Row, targets: Sequence[str]) -> list[str]:
    """For claims by organ: the difference of every target."""
    lines = []
    for claim in row.claims:
        if claim.kind != "organs" or claim.cell not in found or claim.low not in found:
            continue
        lines += [f"\n| `{claim.cell}` - `{claim.low}` | cases | Dice (95 %) |", "|---|---|---|"]
        for target in targets:
            change = difference(found, claim.cell, claim.low, target)
            lines.append(f"| {target} | {change.cases} | {change.text(sign=True)} |")
    return lines


def _picture(found: Found, rows: Sequence[str]) -> bytes:
    """A line for each cell: the mean Dice with its interval, and each seed's; grouped by row."""
    shown = [(ROWS[r], [c for c in ROWS[r].cells if c in found]) for r in rows]
    lines = sum(len(cells) + 1 for _, cells in shown if cells)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.8 + 0.24 * max(lines, 1)), dpi=150, layout="constrained")
        axes = figure.subplots()
        place, ticks, names = 0, [], []
        for index, (row, cells) in enumerate((r, c) for r, c in shown if c):
            colour = COLOURS[index % len(COLOURS)]
            axes.text(0.0, place, row.title, transform=axes.get_yaxis_transform(), va="center",
                      fontweight="bold", fontsize=8.5)  # fmt: skip
            for name in cells:
                place += 1
                seeds = [each.seed for each in found[name]]
                whole = estimate(case_dice(found[name], seeds))
                axes.plot([whole.low, whole.high], [place, place], color=colour, linewidth=2)
                axes.scatter([whole.mean], [place], color=colour, s=36, zorder=3)
                own = [estimate(case_dice(found[name], [seed])).mean for seed in seeds]
                axes.scatter(own, [place] * len(own), color=colour, s=9, alpha=0.5, zorder=2)
                ticks.append(place)
                names.append(CELLS[name].words)
            place += 1
        plain(axes)
        axes.set_yticks(ticks, names)
        axes.set_ylim(max(place, 1) - 0.5, -0.6)
        axes.set_xlabel("mean Dice of held-out cases, with the 95 % interval over cases")
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        return png_of(figure)
