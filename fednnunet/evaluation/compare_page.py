"""The HTML page of a comparison of methods: tables, charts and statistical tests."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fednnunet.evaluation.compare_charts import boxes_chart, differences_chart, seeds_chart
from fednnunet.evaluation.compare_tables import seconds_of
from fednnunet.evaluation.page import svg_source, write_page
from fednnunet.evaluation.report import best_models, left_out
from fednnunet.evaluation.trials import Entry
from fednnunet.evaluation.verdict import Verdict
from fednnunet.evaluation.verdicts import (
    BETTER,
    FEW_CASES,
    FEW_SEEDS,
    MARGIN,
    MIN_SEEDS,
    TRAINING,
    Difference,
    MethodCheck,
    compare,
    no_worse_than_local,
)
from fednnunet.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The contents of the page; `reference` is the method that the others are compared with."""

    title: str
    entries: tuple[Entry, ...]
    differences: tuple[Difference, ...]
    checks: tuple[MethodCheck, ...]
    reference: str
    margin: float = MARGIN
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    verdict: Verdict = field(default_factory=Verdict)


def comparison(
    title: str,
    found: Sequence[Entry],
    *,
    reference: str,
    external: Collection[str] = (),
    runs: int = 0,
) -> Comparison:
    """Compare each method with `reference` and with "local"; `external` sites did not train.

    `runs` is the number of trainings when all are finished: with fewer, the page says so.
    """
    seeds = sorted({seed for entry in found for seed in entry.seeds})
    evaluated = {key for entry in found for key in entry.cases}
    sites = sorted({site for site, _ in evaluated})
    differences = compare(found, reference=reference, external=external)
    finished = len({(entry.method, seed) for entry in found for seed in entry.seeds})
    return Comparison(
        title=title,
        entries=tuple(found),
        differences=differences,
        verdict=_answer(found, differences, finished, runs),
        checks=no_worse_than_local(found, external=external),
        reference=reference,
        facts=(
            ("methods", str(len({entry.method for entry in found}))),
            ("seeds", ", ".join(map(str, seeds))),
            (
                "held-out cases",
                ", ".join(f"{s} {sum(k[0] == s for k in evaluated)}" for s in sites),
            ),
            ("external sites (no training)", ", ".join(sorted(external)) or "none"),
        ),
        notes=(
            "This page is for one machine. It compares scores of single cases and names cases, "
            "read from the folders of all sites; between hospitals these never leave a site.",
        ),
    )


def _answer(
    found: Sequence[Entry], differences: Sequence[Difference], finished: int, runs: int
) -> Verdict:
    """The answer in one line: which method is best, and whether that is shown."""
    known = [entry for entry in found if not math.isnan(entry.mean)]
    if not known:
        return Verdict(headline="Nothing has been evaluated yet")
    best = max(known, key=lambda entry: entry.mean)
    partial = (
        f"{finished} of {plural(runs, 'training')} finished; so far " if finished < runs else ""
    )
    text = f"“{best.name}” has the highest mean Dice, {best.mean:.3f}"
    shown = [d for d in differences if d.name == best.name and d.where == TRAINING]
    better = [f"“{d.over}”" for d in shown if d.verdict == BETTER]
    if better:
        text += f"; it is better than {' and '.join(better)}"
    elif any(d.verdict in (FEW_SEEDS, FEW_CASES) for d in shown):
        text += (
            "; there are too few seeds or cases to say whether the difference is more than chance"
        )
    elif len(known) > 1:
        text += "; no difference to the others is shown"
    steps = ("Wait for all trainings: this page is written anew after each.",) if partial else ()
    return Verdict(headline=partial + text, steps=steps)


def write_comparison(path: Path, page: Comparison) -> None:
    """Write the page to `path`, atomically, as a single file."""
    sites = sorted({site for entry in page.entries for site in entry.dice})
    external = {site for entry in page.entries for site in entry.external}
    write_page(
        path,
        "compare.html.j2",
        page=page,
        sites=sites,
        left_out=left_out(external, sites),
        summaries={entry.name: entry.summary for entry in page.entries},
        best=best_models({entry.name: entry.dice for entry in page.entries}),
        min_seeds=MIN_SEEDS,
        reference_s=seconds_of(page.entries, page.reference),
        boxes=svg_source(boxes_chart(page.entries)),
        seeds=svg_source(seeds_chart(page.entries)),
        differences=svg_source(differences_chart(page.differences)) if page.differences else "",
    )


def verdicts_as_markdown(page: Comparison) -> str:
    """A table of all comparisons, and whether any site is worse than "local"; may be empty."""
    lines = []
    if page.differences:
        lines += ["", "| compared | sites | difference in Dice of a case | p (Holm) | verdict |"]
        lines += ["|---|---|---|---|---|"]
    for found in page.differences:
        low, high = found.pairs.interval
        cells = (
            f"{found.name} - {found.over}",
            found.where,
            f"{found.pairs.mean:+.4f} ({low:+.4f} to {high:+.4f})",
            f"{found.p_holm:.3g}",
            found.verdict,
        )
        lines.append("| " + " | ".join(cells) + " |")
    if page.checks:
        lines += ["", f"Is any site worse than with local training, by more than {page.margin}?"]
        lines += [f"{check.method}: {check.verdict}" for check in page.checks]
    return "\n".join(lines) + "\n" if lines else ""
