"""The page of an evaluation: what is good, what failed, the worst cases, and boxes per site."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from fednnunet.evaluation.box_plots import box_plots
from fednnunet.evaluation.evaluated import ALL, Evaluation
from fednnunet.evaluation.metrics import RULE
from fednnunet.evaluation.page import number, png_source, svg_source, write_page
from fednnunet.evaluation.pictures import structure_colours
from fednnunet.evaluation.spread import Spread, Statistics, TargetSpread
from fednnunet.evaluation.verdict import FEW_CASES, Verdict
from fednnunet.evaluation.worst_cases import POOR_DICE, ShownCase, failures_of
from fednnunet.text import plural
from fednnunet.version import VERSION

GOOD_DICE = 0.8
"""From this median Dice on a target is called good."""
_PLOTTED = 24  # targets
_LISTED = 100  # failures


def write_scores_page(path: Path, found: Evaluation, shown: Sequence[ShownCase] = ()) -> None:
    """Write the page to `path`, atomically; it refers to nothing but the viewer's pages.

    `shown` are the worst cases with their pictures, the worst first. The page shows patients'
    images and scores of single cases.
    """
    statistics, failures = found.statistics, failures_of(found)
    medians = {name: own.metrics for name, own in statistics.all_cases.targets.items()}
    plotted = sorted(medians, key=lambda name: _median(medians[name]))[:_PLOTTED]
    write_page(
        path,
        "scores.html.j2",
        page={
            "title": f"{found.task.name}: evaluation of masks",
            "facts": _facts(found, statistics),
            "notes": (),
            "verdict": verdict_of(statistics, failed=len({(f.site, f.case) for f in failures})),
        },
        sites=[*statistics.sites.items(), (ALL, statistics.all_cases)]
        if len(statistics.sites) > 1
        else list(statistics.sites.items()),
        failures=failures[:_LISTED],
        more=len(failures) - len(failures[:_LISTED]),
        shown=[(case, png_source(case.png)) for case in shown],
        colours=structure_colours(found.task),
        plots=[(name, svg_source(box_plots(name, found.cases))) for name in plotted],
        unplotted=len(medians) - len(plotted),
        image_level=found.image_level,
        settings=found.settings,
        rule=RULE,
        undefined=Spread(),
    )


def verdict_of(statistics: Statistics, *, failed: int) -> Verdict:
    """The headline, and the targets by how good they are over all cases."""
    cases = statistics.all_cases.cases
    groups: dict[str, list[str]] = {"Good": [], "Fair": [], "Poor": []}
    for name, own in statistics.all_cases.targets.items():
        dice = own.metrics["dice"].median if own.metrics else math.nan
        if not math.isnan(dice):
            word = "Good" if dice >= GOOD_DICE else "Fair" if dice >= POOR_DICE else "Poor"
            groups[word].append(f"{name} (median Dice {number(dice)}{_false(own)})")
    lines = [f"{word}: {', '.join(names)}." for word, names in groups.items() if names]
    lines.append(
        f"Good is a median Dice of at least {GOOD_DICE:g}, poor one below {POOR_DICE:g}; what a "
        "task needs may be more or less."
    )
    headline = f"{failed} of {plural(cases, 'case')} failed in some target"
    if not failed:
        headline = f"None of {plural(cases, 'case')} failed in any target"
    steps = ["Look at the worst cases below before the masks are used."]
    if cases < FEW_CASES:
        steps.append(f"Add cases: {plural(cases, 'case')} cannot show more than a tendency.")
    return Verdict(headline=headline, lines=tuple(lines), steps=tuple(steps))


def _false(own: TargetSpread) -> str:
    words = []
    if own.false_negatives:
        words.append(f"not found in {plural(own.false_negatives, 'case')}")
    if own.false_positives:
        words.append(f"false positive in {plural(own.false_positives, 'case')}")
    return "".join(f", {word}" for word in words)


def _facts(found: Evaluation, statistics: Statistics) -> tuple[tuple[str, str], ...]:
    tolerances = {found.settings.tolerance_of(name) for name in found.task.targets}
    nsd = ", ".join(f"{value:g}" for value in sorted(tolerances))
    return (
        ("cases", str(statistics.all_cases.cases)),
        ("patients", str(statistics.all_cases.patients)),
        ("sites", str(len(statistics.sites))),
        ("targets", str(len(found.task.targets))),
        ("tolerance of NSD", f"{nsd} mm"),
        ("made by", f"fednnunet {VERSION}"),
    )


def _median(metrics: dict[str, Spread]) -> float:
    """The median Dice, for sorting: undefined ones last."""
    median = metrics["dice"].median if metrics else math.nan
    return math.inf if math.isnan(median) else median
