"""The page, the table and the file that list a site's label maps, the most doubtful first.

They show patients, name cases, and stay at the site.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.doubtful import (
    CORRECTED,
    FILE_NAME,
    DoubtfulCase,
    DoubtfulLabels,
)
from fednnunet.evaluation.label_faults import LabelFaults
from fednnunet.evaluation.page import png_source, write_page
from fednnunet.evaluation.pictures import structure_colours
from fednnunet.evaluation.verdict import Verdict
from fednnunet.files import write_text
from fednnunet.task import Task
from fednnunet.text import plural

PAGE, TABLE, RECORD = "review.html", "review.csv", "review.json"
LIST = "wrong.txt"
"""The name under which the page saves a reader's list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReview:
    """The label maps of a site by a bundle's opinion, the most doubtful first."""

    source: str
    """The bundle, by its digest."""
    cases: tuple[LabelFaults, ...]
    """The cases in their order."""
    not_reviewed: tuple[str, ...] = ()
    """Cases whose labels are no complete map of all classes or some, or that could not be read."""


def by_disagreement(cases: Sequence[LabelFaults]) -> tuple[LabelFaults, ...]:
    """The case with the largest disagreement first; of equal ones by name."""
    return tuple(sorted(cases, key=lambda case: (-case.disagreement, case.case)))


def write_label_review(
    folder: Path, review: LabelReview, pictures: Mapping[str, bytes], task: Task
) -> None:
    """Write `review.html`, `review.csv` and `review.json`, each atomically.

    `pictures` holds a PNG for each case. The page refers to nothing beyond itself; its button
    saves the list of the cases that the reader calls wrong.
    """
    records.write(review, folder / RECORD)
    write_text(folder / TABLE, table(review))
    facts = (("cases", len(review.cases)), ("bundle", review.source))
    left = len(review.not_reviewed)
    notes = (f"{plural(left, 'case')} could not be reviewed: see {RECORD}",) if left else ()
    write_page(
        folder / PAGE,
        "label_review.html.j2",
        page={
            "title": f"{task.name}: label maps to review",
            "facts": facts,
            "notes": notes,
            "verdict": Verdict(),
        },
        cases=[(case, png_source(pictures[case.case])) for case in review.cases],
        colours=structure_colours(task),
        corrected=CORRECTED,
        file=LIST,
    )


def table(review: LabelReview) -> str:
    """The review as CSV: a row for each case and class, in the order of the cases."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("rank", "case", "case_disagreement", "class", "labelled_ml", "predicted_ml")
    writer.writerow((*columns, "disagreement", "signed_mm", "shift_mm_z_y_x", "findings"))
    for rank, case in enumerate(review.cases, start=1):
        for one in case.classes:
            shift = () if one.shift_mm is None else one.shift_mm
            writer.writerow(
                (
                    rank,
                    case.case,
                    f"{case.disagreement:.4f}",
                    one.name,
                    f"{one.labelled_ml:.3f}",
                    f"{one.predicted_ml:.3f}",
                    f"{one.disagreement:.4f}",
                    "" if one.signed_mm is None else f"{one.signed_mm:.2f}",
                    " ".join(f"{value:.2f}" for value in shift),
                    "; ".join(case.findings),
                )
            )
    return text.getvalue()


def write_doubtful(folder: Path, wrong: Mapping[str, bool], *, weight: float) -> Path:
    """Write `doubtful.json` into the folder of a review, and return its path.

    `wrong` holds the cases that a reader called wrong, each with whether its corrected map is
    right; `weight` is how often they are sampled with "down-weight". Raises InputError where a case
    was not reviewed, or nothing was.
    """
    review = records.read(LabelReview, folder / RECORD)
    found = {case.case: case for case in review.cases}
    if unknown := sorted(set(wrong) - found.keys()):
        raise InputError(
            f"the review has no case {', '.join(unknown)}",
            where=str(folder / RECORD),
            mend="correct the names on the list, or review the site again",
        )
    cases = {
        name: DoubtfulCase(
            label_sha256=found[name].label_sha256,
            weight=weight,
            corrected=found[name].corrected if right else "",
        )
        for name, right in sorted(wrong.items())
    }
    records.write(DoubtfulLabels(source=review.source, cases=cases), folder / FILE_NAME)
    return folder / FILE_NAME
