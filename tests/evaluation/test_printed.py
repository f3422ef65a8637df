"""Tables on the terminal."""

from __future__ import annotations

import dataclasses

from rich.console import Console
from rich.table import Table

from fednnunet.evaluation.image_level import score_presence
from fednnunet.evaluation.lesions import LesionCounts
from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.printed import image_table, lesions_table, scores_table
from fednnunet.evaluation.spread import statistics_of
from tests.evaluation.made_up import a_case

CASES = {"north": (a_case("n1", 0.5), a_case("n2", 0.75)), "south": (a_case("s1", 0.25),)}


def text_of(table: Table) -> str:
    """The table as a terminal of 100 columns shows it."""
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_table_fits_a_terminal() -> None:
    text = text_of(scores_table(statistics_of(("organ",), CASES)))
    assert "0.625" in text
    assert "mean of sites" in text
    assert "0.438" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100


def test_lesions_have_a_table_where_they_were_matched() -> None:
    assert lesions_table(statistics_of(("organ",), CASES)) is None
    lesions = LesionCounts(reference=4, predicted=2, matched=1, iou_sum=0.75)
    score = dataclasses.replace(CASES["south"][0].targets["organ"], lesions=lesions)
    cases = {"south": [CaseScores(case="s1", targets={"organ": score})]}
    table = lesions_table(statistics_of(("organ",), cases))
    assert table is not None
    assert {"0.250", "0.500", "0.333", "0.750"} <= set(text_of(table).split())


def test_presence_has_a_row_for_each_target() -> None:
    found = score_presence([True, False, True], [True, True, True], [2.0, 1.0, 3.0])
    text = text_of(image_table({"north": {"organ": found}}))
    assert {"0.667", "0.500", "0.800", "1.000"} <= set(text.split())
