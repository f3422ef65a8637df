from __future__ import annotations

import math

from fednnunet.evaluation.charts import COLOURS
from fednnunet.evaluation.compare_charts import (
    boxes_chart,
    colour_of,
    differences_chart,
    seeds_chart,
)
from fednnunet.evaluation.trials import entries
from fednnunet.evaluation.verdicts import BETTER, WORSE, Difference, Pairs
from tests.evaluation.made_up import a_trial

CASES = {"north": [0.7, 0.8, 0.9], "south": [0.5, math.nan]}


def found(methods=("fedavg", "local"), cases=CASES):
    return entries(a_trial(method, cases, seed=seed) for method in methods for seed in range(2))


def a_difference(verdict):
    pairs = Pairs(cases={("n", "a"): 0.1, ("n", "b"): 0.2}, by_seed={0: 0.15})
    return Difference(
        name="fedease", over="fedavg", where="training", pairs=pairs, p=0.01, p_holm=0.02,
        verdict=verdict,
    )  # fmt: skip


def test_an_entry_has_one_colour_in_all_charts():
    assert colour_of(len(COLOURS)) == colour_of(0) != colour_of(1)
    for chart in (boxes_chart(found()), seeds_chart(found())):
        assert COLOURS[0] in chart and COLOURS[1] in chart
        assert COLOURS[2] not in chart


def test_a_site_whose_cases_have_no_dice_is_an_empty_panel():
    empty = boxes_chart(found(cases={"north": [0.7], "south": [math.nan]}))
    assert empty.startswith("<?xml")
    assert empty != boxes_chart(found(cases={"north": [0.7], "south": [0.5]}))


def test_the_colour_of_a_difference_is_that_of_its_verdict():
    charts = {
        verdict: differences_chart([a_difference(verdict)]) for verdict in (BETTER, WORSE, "")
    }
    assert "#2f855a" in charts[BETTER] and "#b83232" not in charts[BETTER]
    assert "#b83232" in charts[WORSE] and "#2f855a" not in charts[WORSE]
    assert "#6b7280" in charts[""]
