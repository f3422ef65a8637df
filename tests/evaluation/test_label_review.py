"""The page, the table and the files of a review."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.doubtful import DoubtfulCase, read_doubtful
from fednnunet.evaluation.label_faults import ClassFaults, LabelFaults
from fednnunet.evaluation.label_review import (
    LabelReview,
    by_disagreement,
    table,
    write_doubtful,
    write_label_review,
)
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))


def case(name: str, disagreement: float, *findings: str) -> LabelFaults:
    organ = ClassFaults(
        name="organ",
        labelled_ml=1.5,
        predicted_ml=1.0,
        disagreement=disagreement,
        signed_mm=-0.5,
        shift_mm=(0.0, 4.0, -1.0),
    )
    return LabelFaults(
        case=name,
        disagreement=disagreement,
        findings=findings,
        classes=(organ,),
        label_sha256=f"digest of {name}",
        corrected=f"corrected/{name}.nii.gz",
    )


@pytest.fixture
def review() -> LabelReview:
    cases = by_disagreement([case("right", 0.1), case('odd "<1>', 0.6, "organ is < 1 mm")])
    return LabelReview(source="bundle 12ab", cases=cases, not_reviewed=("scribbled",))


def test_the_page_is_ranked_and_loads_nothing(tmp_path: Path, review: LabelReview) -> None:
    write_label_review(tmp_path, review, {c.case: b"\x89PNG" for c in review.cases}, TASK)
    text = (tmp_path / "review.html").read_text()
    assert re.findall(r'data-case="([^"]+)"', text) == ["odd &#34;&lt;1&gt;", "right"]
    assert "organ is &lt; 1 mm" in text and "1 case could not be reviewed" in text
    links = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert len(links) == 2 and all(link.startswith("data:") for link in links)
    assert records.read(LabelReview, tmp_path / "review.json") == review


def test_the_table_has_a_row_for_each_class(review: LabelReview) -> None:
    rows = list(csv.DictReader(io.StringIO(table(review))))
    assert [row["case"] for row in rows] == ['odd "<1>', "right"]
    assert rows[0]["shift_mm_z_y_x"] == "0.00 4.00 -1.00" and rows[0]["signed_mm"] == "-0.50"


def test_what_a_reader_calls_wrong_becomes_doubtful(tmp_path: Path, review: LabelReview) -> None:
    records.write(review, tmp_path / "review.json")
    path = write_doubtful(tmp_path, {"right": True, 'odd "<1>': False}, weight=0.2)
    found = read_doubtful(path)
    assert found.source == "bundle 12ab"
    assert found.cases["right"] == DoubtfulCase(
        label_sha256="digest of right", weight=0.2, corrected="corrected/right.nii.gz"
    )
    assert found.cases['odd "<1>'].corrected == ""
    with pytest.raises(InputError, match="no case unknown"):
        write_doubtful(tmp_path, {"unknown": False}, weight=0.2)
