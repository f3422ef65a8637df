"""The page of an evaluation says what failed, and shows the worst cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fednnunet.evaluation.evaluated import Evaluation
from fednnunet.evaluation.metrics import MetricSettings
from fednnunet.evaluation.scores_page import verdict_of, write_scores_page
from fednnunet.evaluation.spread import statistics_of
from fednnunet.evaluation.worst_cases import ShownCase, draw_worst
from tests.evaluation.made_up import a_case
from tests.evaluation.test_worst_cases import TASK, make_site


def test_the_page_holds_failures_pictures_tables_and_boxes(tmp_path: Path) -> None:
    found = make_site(tmp_path)
    (case, _, _), *_ = draw_worst(found, 1)
    linked = ShownCase(site=case.site, scores=case.scores, png=case.png, link="viewer/extra.html")
    write_scores_page(tmp_path / "scores.html", found, [linked])
    text = (tmp_path / "scores.html").read_text(encoding="utf-8")
    assert "3 of 4 cases failed in some target" in text
    assert re.search(r"extra</td><td[^>]*>nodule</td><td[^>]*>found where there is none", text)
    assert 'href="viewer/extra.html"' in text
    assert text.count('<img class="chart"') == 2
    assert "Lesions" not in text and "Presence" not in text
    assert not re.search(r'(src|href)="(?!data:|viewer/)', text)


def test_lesions_and_presence_have_tables_where_they_were_asked_for(tmp_path: Path) -> None:
    cases = {"a<b": (a_case("x", 0.9),)}
    task = TASK.__class__(name="t", channels=("MRI",), labels=("background", "organ"))
    found = Evaluation(
        task=task,
        cases=cases,
        settings=MetricSettings(lesions=True),
        presence={"x": {"organ": True}},
    )
    write_scores_page(tmp_path / "scores.html", found)
    text = (tmp_path / "scores.html").read_text(encoding="utf-8")
    assert "<h2>Lesions</h2>" in text and "<h2>Presence per case</h2>" in text
    assert "a&lt;b" in text and "a<b" not in text
    assert "Nothing: every target" in text


@pytest.mark.parametrize(("dice", "word"), [(0.9, "Good"), (0.6, "Fair"), (0.3, "Poor")])
def test_the_verdict_sorts_targets_by_their_median(dice: float, word: str) -> None:
    statistics = statistics_of(("organ",), {"a": [a_case("x", dice), a_case("y", dice)]})
    verdict = verdict_of(statistics, failed=0)
    assert verdict.headline == "None of 2 cases failed in any target"
    assert verdict.lines[0].startswith(f"{word}: organ (median Dice {dice:.3f})")
