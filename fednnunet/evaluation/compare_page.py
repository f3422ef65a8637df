"""The page of a comparison: methods side by side, what may be said of them, and their pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fednnunet.evaluation.compare_charts import boxes_chart, differences_chart, seeds_chart
from fednnunet.evaluation.compare_tables import seconds_of
from fednnunet.evaluation.page import svg_source, write_page
from fednnunet.evaluation.report import best_models, left_out
from fednnunet.evaluation.trials import Entry
from fednnunet.evaluation.verdicts import (
    FEWEST_SEEDS,
    MARGIN,
    Difference,
    MethodCheck,
    compare,
    no_worse_than_local,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that the page shows; `reference` is the method that the others are held against."""

    title: str
    entries: tuple[Entry, ...]
    differences: tuple[Difference, ...]
    checks: tuple[MethodCheck, ...]
    reference: str
    margin: float = MARGIN
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def comparison(
    title: str, found: Sequence[Entry], *, reference: str, outside: Collection[str] = ()
) -> Comparison:
    """Hold every method against `reference` and against "local"; `outside` are sites left out."""
    seeds = sorted({seed for entry in found for seed in entry.seeds})
    judged = {key for entry in found for key in entry.cases}
    sites = sorted({site for site, _ in judged})
    return Comparison(
        title=title,
        entries=tuple(found),
        differences=compare(found, reference=reference, outside=outside),
        checks=no_worse_than_local(found, outside=outside),
        reference=reference,
        facts=(
            ("methods", str(len({entry.method for entry in found}))),
            ("seeds", ", ".join(map(str, seeds))),
            ("held-out cases", ", ".join(f"{s} {sum(k[0] == s for k in judged)}" for s in sites)),
            ("sites left out of training", ", ".join(sorted(outside)) or "none"),
        ),
        notes=(
            "This page is for one machine. It compares scores of single cases and names cases, "
            "read from the folders of all sites; between hospitals these never leave a site.",
        ),
    )


def write_comparison(path: Path, page: Comparison) -> None:
    """Write the page to `path`, atomically. It refers to nothing outside itself."""
    sites = sorted({site for entry in page.entries for site in entry.dice})
    outside = {site for entry in page.entries for site in entry.outside}
    write_page(
        path,
        "compare.html.j2",
        page=page,
        sites=sites,
        left_out=left_out(outside, sites),
        summaries={entry.name: entry.summary for entry in page.entries},
        best=best_models({entry.name: entry.dice for entry in page.entries}),
        fewest_seeds=FEWEST_SEEDS,
        reference_s=seconds_of(page.entries, page.reference),
        boxes=svg_source(boxes_chart(page.entries)),
        seeds=svg_source(seeds_chart(page.entries)),
        steps=svg_source(differences_chart(page.differences)) if page.differences else "",
    )


def verdicts_in_words(page: Comparison) -> str:
    """Markdown: a line a comparison, and whether any site is worse off; empty without any."""
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
        lines += ["", f"Any site worse off than alone, by more than {page.margin}?"]
        lines += [f"{check.method}: {check.verdict}" for check in page.checks]
    return "\n".join(lines) + "\n" if lines else ""
