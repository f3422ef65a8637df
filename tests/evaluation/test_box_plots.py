"""Box plots per site."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fednnunet.evaluation import box_plots as module
from fednnunet.evaluation.box_plots import box_plots
from fednnunet.evaluation.metrics import CaseScores
from tests.evaluation.made_up import a_case

CASES = {"south": [a_case("a", 0.25), a_case("b", 0.75)], "north": [a_case("c", 0.5)]}


def test_equal_scores_give_equal_text() -> None:
    assert box_plots("organ", CASES) == box_plots("organ", CASES)
    assert box_plots("organ", CASES) != box_plots("organ", {**CASES, "north": [a_case("c", 0.6)]})


def test_every_site_has_a_row_and_undefined_values_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[dict[str, list[float]]] = []
    monkeypatch.setattr(module, "_panel", lambda axes, values, colour: shown.append(dict(values)))
    missed = replace(a_case("d", 0.0).targets["organ"], hd95_mm=math.nan)
    cases = {**CASES, "empty": [CaseScores(case="d", targets={"organ": missed})]}
    box_plots("organ", cases)
    assert shown[0] == {"empty": [0.0], "north": [0.5], "south": [0.25, 0.75]}
    assert shown[1] == {"empty": [], "north": [], "south": []}
    assert shown[2] == {"empty": [], "north": [1.0], "south": [1.0, 1.0]}
