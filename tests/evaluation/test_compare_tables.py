from __future__ import annotations

import csv
import json
import math

import pytest

from fednnunet.evaluation.compare_tables import markdown, seconds_of, write_rows
from fednnunet.evaluation.trials import entries
from tests.evaluation.made_up import a_trial

TRIALS = [
    a_trial("fedavg", {"north": [0.6, 0.8], "south": [0.4]}),
    a_trial("pooled", {"north": [0.9, 0.9], "south": [math.nan]}, sent=None),
]


def test_a_row_has_the_means_the_worst_case_and_the_costs():
    head, _, fedavg, pooled, *_, last = markdown(entries(TRIALS), reference="fedavg").splitlines()
    assert head.startswith("| method | model | north | south | mean of sites |")
    cells = [cell.strip() for cell in fedavg.split("|")[1:-1]]
    assert cells[2:5] == ["0.700", "0.400", "0.550"]
    assert cells[7:9] == ["0.400 south", "0.400 south/c0"]
    assert cells[9:] == ["1.0", "-", "1.00"]
    cells = [cell.strip() for cell in pooled.split("|")[1:-1]]
    assert cells[2:5] == ["0.900", "-", "0.900"]
    assert cells[9:] == ["-", "-", "2.50"]
    assert "north 2, south 1. Seeds: [0]. Longest training: 25 s." in last


def test_the_time_of_a_method_that_was_not_compared_is_unknown():
    assert seconds_of(entries(TRIALS), "fedavg") == 10.0
    assert math.isnan(seconds_of(entries(TRIALS), "fedprox"))
    assert "| - |" in markdown(entries(TRIALS), reference="fedprox")


def test_names_of_sites_are_no_markup():
    text = markdown(entries([a_trial("fedavg", {"<b>|x": [0.5]})]), reference="fedavg")
    assert "<b>" not in text
    assert "&lt;b&gt;\\|x" in text


def test_rows_are_written_for_programs_with_empty_cells_for_unknown_values(tmp_path):
    write_rows(TRIALS, tmp_path)
    first, second = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert first["dice"] == {"north": pytest.approx(0.7), "south": pytest.approx(0.4)}
    assert first["cases"] == {"north": 2, "south": 1}
    assert second["dice"]["south"] is None
    assert second["bytes_sent"] is None
    sites = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert [(row["method"], row["site"], row["dice"]) for row in sites] == [
        ("fedavg", "north", "0.7"),
        ("fedavg", "south", "0.4"),
        ("pooled", "north", "0.9"),
        ("pooled", "south", ""),
    ]
    cases = list(csv.DictReader((tmp_path / "cases.csv").open()))
    assert len(cases) == 6
    assert cases[0]["case"] == "c0" and cases[0]["target"] == "organ"


def test_a_site_whose_name_is_a_formula_is_quoted(tmp_path):
    write_rows([a_trial("fedavg", {"=1+1": [0.5]})], tmp_path)
    assert "'=1+1" in (tmp_path / "rows.csv").read_text()
