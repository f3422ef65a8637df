from __future__ import annotations

import math
import re

from matplotlib.figure import Figure

from fednnunet.evaluation.charts import RoundPoint, as_svg, dice_chart, history_chart


def points(sites, rounds=3, phase=""):
    return [
        RoundPoint(round=number, site=site, loss=1.0 / number, dice=0.2 * number, phase=phase)
        for site in sites
        for number in range(1, rounds + 1)
    ]


def test_equal_histories_give_equal_charts_in_any_order():
    found = points(["north", "south"])
    chart = history_chart(found)
    assert chart.startswith("<?xml")
    assert history_chart(list(reversed(found))) == chart
    assert history_chart(points(["north"])) != chart


def test_other_phases_are_dotted():
    dotted = re.compile("stroke-dasharray")
    plain = len(dotted.findall(history_chart(points(["north"]))))
    both = points(["north"]) + points(["north"], phase="public")
    assert len(dotted.findall(history_chart(both))) > plain


def test_models_without_a_score_at_a_site_are_left_out():
    models = {"global": {"north": 0.8, "south": math.nan}, "personal": {"north": 0.9}}
    chart = dice_chart(models)
    assert "nan" not in chart.lower()
    assert dice_chart({"global": {"north": 0.8, "south": 0.1}}) != chart
    assert dice_chart({"global": {"north": math.nan}}).startswith("<?xml")


def test_a_dollar_in_a_name_is_no_formula():
    assert dice_chart({"$x$ \\frac{": {"north $1": 0.8}}).startswith("<?xml")


def test_a_figure_states_no_date():
    assert "<dc:date>" not in as_svg(Figure())
