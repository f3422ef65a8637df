"""The page of a comparison stands alone and says what was found."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from fednnunet.evaluation.compare_page import comparison, verdicts_as_markdown, write_comparison
from fednnunet.evaluation.compare_tables import markdown
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.trials import Entry, Trial, entries


def _trial(method: str, seed: int, gain: float) -> Trial:
    rng = np.random.default_rng(10 * seed + len(method))
    cases = {}
    for site in ("north", "<south>"):
        dice = 0.5 + gain + rng.uniform(-0.05, 0.05, 8)
        cases[site] = [_case(f"c{i}", float(value)) for i, value in enumerate(dice)]
    return Trial(
        method=method,
        model="personal" if method == "local" else "global",
        seed=seed,
        targets=("organ",),
        cases=cases,
        bytes_sent=None if method == "pooled" else 3 * 2**20,
        seconds=10.0 if method == "fedavg" else 15.0,
    )


def _case(name: str, dice: float) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=1.0, reference_vox=1, predicted_vox=1
    )
    return CaseScores(case=name, targets={"organ": score})


def _found(seeds: int) -> tuple[Entry, ...]:
    gains = {"fedavg": 0.0, "local": -0.2, "pooled": 0.2}
    return entries(_trial(name, s, gain) for name, gain in gains.items() for s in range(seeds))


def test_the_page_stands_alone_and_says_everything(tmp_path: Path) -> None:
    page = comparison("t <1>", _found(3), reference="fedavg", external=())
    write_comparison(tmp_path / "compare.html", page)
    text = (tmp_path / "compare.html").read_text()
    assert "t &lt;1&gt;" in text
    assert "“pooled, global” has the highest mean Dice, 0.700; it is better than “fedavg" in text
    assert "finished" not in text
    partial = comparison("t", _found(3), reference="fedavg", external=(), runs=20)
    assert partial.verdict.headline.startswith("9 of 20 trainings finished; so far “pooled")
    assert "&lt;south&gt;" in text
    assert "<td>3.0</td><td>1.50</td>" in text  # local: MiB and time over fedavg's
    assert "<td>\N{EN DASH}</td><td>1.50</td>" in text  # pooled sends nothing
    assert re.search(r'class="left good">\s*better', text)
    assert re.search(r'class="left good">\s*no worse', text)
    links = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert links
    assert all(link.startswith("data:") for link in links)
    assert "<script" not in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_are_said_in_words(seeds: int, tmp_path: Path) -> None:
    page = comparison("t", _found(seeds), reference="fedavg")
    write_comparison(tmp_path / "compare.html", page)
    assert "not enough seeds" in (tmp_path / "compare.html").read_text()
    assert "better" not in verdicts_as_markdown(page)


def test_one_method_alone_is_a_table_without_verdicts(tmp_path: Path) -> None:
    found = entries([_trial("fedavg", 0, 0.0)])
    write_comparison(tmp_path / "compare.html", comparison("t", found, reference="fedavg"))
    assert "What may be said" not in (tmp_path / "compare.html").read_text()
    assert "| fedavg | global | 0." in markdown(found, reference="fedavg")


def test_the_page_says_which_sites_its_means_leave_out(tmp_path: Path) -> None:
    trial = dataclasses.replace(_trial("fedavg", 0, 0.0), external=frozenset({"north"}))
    page = comparison("t", entries([trial]), reference="fedavg", external=("north",))
    write_comparison(tmp_path / "compare.html", page)
    assert "worst site leave out north, which did not" in (tmp_path / "compare.html").read_text()
    all_train = comparison("t", entries([_trial("fedavg", 0, 0.0)]), reference="fedavg")
    write_comparison(tmp_path / "all.html", all_train)
    assert "leave out" not in (tmp_path / "all.html").read_text()


def test_models_that_no_site_judged_have_a_page_without_figures(tmp_path: Path) -> None:
    unjudged = dataclasses.replace(_trial("fedavg", 0, 0.0), cases={})
    page = comparison("t", entries([unjudged]), reference="fedavg")
    write_comparison(tmp_path / "compare.html", page)
    assert "<td>fedavg, global</td>\n<td>n/a</td>" in (tmp_path / "compare.html").read_text()
