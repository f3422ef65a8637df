"""Verdicts are given where seeds and cases allow them, and are withheld in words elsewhere."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fednnunet.evaluation import verdicts
from fednnunet.evaluation.compare_page import comparison, verdicts_as_markdown, write_comparison
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.trials import Entry, Trial, entries, own_models
from fednnunet.evaluation.verdicts import MARGIN, compare, no_worse_than_local, pair

SITES = ("a", "b")
Dice = dict[str, list[float]]


def _case(name: str, dice: float) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=1.0, reference_vox=1, predicted_vox=1
    )
    return CaseScores(case=name, targets={"organ": score})


def _trial(method: str, seed: int, dice: Dice, *, model: str = "global") -> Trial:
    cases = {site: [_case(f"c{i:02d}", d) for i, d in enumerate(own)] for site, own in dice.items()}
    return Trial(
        method=method,
        model=model,
        seed=seed,
        targets=("organ",),
        cases=cases,
        bytes_sent=100 + seed,
        seconds=10.0 * (seed + 1),
    )


def _base(count: int = 12) -> Dice:
    rng = np.random.default_rng(0)
    return {site: rng.uniform(0.6, 0.8, count).tolist() for site in SITES}


def _moved(dice: Dice, by: float, seed: int = 0) -> Dice:
    rng = np.random.default_rng(seed)
    return {s: [d + by + rng.uniform(-0.005, 0.005) for d in own] for s, own in dice.items()}


def _entries(gains: dict[str, list[float]], *, count: int = 12) -> tuple[Entry, ...]:
    """Entries of methods whose Dice lies so much above a common base, for every seed."""
    base = _base(count)
    return entries(
        _trial(method, seed, _moved(base, gain, 10 * seed + number), model=_model(method))
        for number, (method, own) in enumerate(gains.items())
        for seed, gain in enumerate(own)
    )


def _model(method: str) -> str:
    return "personal" if method in ("local", "fedbn") else "global"


def _verdicts(gains: dict[str, list[float]], *, count: int = 12) -> dict[tuple[str, str], str]:
    found = compare(_entries(gains, count=count), reference="fedavg")
    return {(d.name.split(",")[0], d.over.split(",")[0]): d.verdict for d in found}


def test_an_entry_is_the_mean_over_seeds() -> None:
    first, second = {"a": [0.5, 0.7], "b": [0.9]}, {"a": [0.7, 0.9], "b": [math.nan]}
    (entry,) = entries([_trial("fedavg", 1, second), _trial("fedavg", 0, first)])
    assert entry.seeds == (0, 1)
    assert entry.dice == pytest.approx({"a": 0.7, "b": 0.9})
    assert entry.cases == pytest.approx({("a", "c00"): 0.6, ("a", "c01"): 0.8, ("b", "c00"): 0.9})
    assert entry.by_seed == pytest.approx({0: 0.75, 1: 0.8})
    assert entry.seed_spread == pytest.approx(np.std([0.75, 0.8], ddof=1))
    assert entry.worst_case is not None
    assert (entry.worst_case.site, entry.worst_case.case) == ("a", "c00")
    assert (entry.bytes_sent, entry.seconds) == (100.5, 15.0)


def test_a_methods_own_model_is_the_personal_one() -> None:
    base = _base()
    found = entries([_trial("fedbn", 0, base, model=m) for m in ("global", "personal")])
    assert own_models(found)["fedbn"].model == "personal"


def test_pairs_are_of_common_cases_and_seeds() -> None:
    a = entries([_trial("x", s, {"a": [0.9, 0.8, math.nan], "c": [0.1]}) for s in (0, 1, 2)])[0]
    b = entries([_trial("y", s, {"a": [0.5, 0.6, 0.5, 0.4]}) for s in (1, 2, 3)])[0]
    pairs = pair(a, b, {"a", "c"})
    assert pairs.cases == pytest.approx({("a", "c00"): 0.4, ("a", "c01"): 0.2})
    assert pairs.by_seed == pytest.approx({1: 0.3, 2: 0.3})
    assert pairs.mean == pytest.approx(0.3)


def test_clear_differences_get_a_verdict() -> None:
    found = _verdicts({"fedavg": [0.0] * 3, "fedbn": [0.05] * 3, "local": [-0.05] * 3})
    assert found == {
        ("fedbn", "fedavg"): "better",
        ("local", "fedavg"): "worse",
        ("fedbn", "local"): "better",
    }


def test_p_values_are_scipys_and_corrected_for_their_number() -> None:
    found = _entries({"fedavg": [0.0] * 3, "fedbn": [0.002] * 3, "local": [-0.05] * 3})
    differences = compare(found, reference="fedavg")
    for difference in differences:
        assert difference.p == pytest.approx(stats.wilcoxon(difference.pairs.values).pvalue)
    largest = max(differences, key=lambda d: d.p)
    smallest = min(differences, key=lambda d: d.p)
    assert smallest.p_holm == pytest.approx(3 * smallest.p)
    assert largest.p_holm >= largest.p


def test_noise_is_no_difference() -> None:
    assert _verdicts({"fedavg": [0.0] * 3, "fedbn": [0.0001, -0.0002, 0.0001]}) == {
        ("fedbn", "fedavg"): verdicts.NO_DIFFERENCE
    }


def test_few_seeds_and_few_cases_give_no_verdict_however_large_the_difference() -> None:
    assert _verdicts({"fedavg": [0.0] * 2, "fedbn": [0.1] * 2}) == {
        ("fedbn", "fedavg"): verdicts.FEW_SEEDS
    }
    gains = {"fedavg": [0.0] * 3, "fedbn": [0.1] * 3}
    assert _verdicts(gains, count=2) == {("fedbn", "fedavg"): verdicts.FEW_CASES}
    assert _verdicts(gains, count=3) == {("fedbn", "fedavg"): "better"}  # 6 cases: 2 / 64 < 0.05


def test_one_seed_against_the_others_withholds_a_verdict() -> None:
    assert _verdicts({"fedavg": [0.0] * 3, "fedbn": [0.1, 0.1, -0.02]}) == {
        ("fedbn", "fedavg"): verdicts.SEEDS_DISAGREE
    }


def test_no_site_is_worse_off() -> None:
    found = _entries({"local": [0.0] * 3, "fedavg": [0.03] * 3, "fedbn": [-0.06] * 3})
    checks = {check.method: check for check in no_worse_than_local(found)}
    assert set(checks) == {"fedavg", "fedbn"}
    assert checks["fedavg"].verdict == "no worse"
    assert {check.site: check.verdict for check in checks["fedavg"].sites} == {
        "a": "no worse",
        "b": "no worse",
    }
    assert checks["fedbn"].verdict == "worse"
    site = checks["fedavg"].sites[0]
    values = np.asarray(site.pairs.values) + MARGIN
    assert site.p == pytest.approx(stats.wilcoxon(values, alternative="greater").pvalue)
    assert site.p_holm == pytest.approx(2 * site.p)


def test_within_the_margin_is_no_worse_and_beyond_it_is_not() -> None:
    gains = {"local": [0.0] * 3, "fedavg": [-0.01] * 3}
    assert no_worse_than_local(_entries(gains), margin=0.03)[0].verdict == "no worse"
    assert no_worse_than_local(_entries(gains), margin=0.001)[0].verdict == "worse"


def test_one_site_that_loses_is_enough() -> None:
    base = _base()
    mixed = {"a": [d + 0.1 for d in base["a"]], "b": [d - 0.1 for d in base["b"]]}
    found = entries(
        trial
        for seed in range(3)
        for trial in (
            _trial("local", seed, base, model="personal"),
            _trial("fedavg", seed, mixed),
        )
    )
    (check,) = no_worse_than_local(found)
    assert [site.verdict for site in check.sites] == ["no worse", "worse"]
    assert check.verdict == "worse"


def test_without_local_or_enough_cases_nothing_is_said_of_sites() -> None:
    assert no_worse_than_local(_entries({"fedavg": [0.0] * 3})) == ()
    few = _entries({"local": [0.0] * 3, "fedavg": [0.1] * 3}, count=4)
    assert no_worse_than_local(few)[0].verdict == verdicts.FEW_CASES


def test_sites_outside_are_judged_by_global_models() -> None:
    base = {"a": _base()["a"], "out": _base()["b"]}
    better = {site: [d + 0.05 for d in own] for site, own in base.items()}
    found = entries(
        trial
        for seed in range(3)
        for trial in (
            _trial("fedavg", seed, base),
            _trial("fedbn", seed, better),
            _trial("fedbn", seed, {"a": base["a"]}, model="personal"),
        )
    )
    inside, external = compare(found, reference="fedavg", external=("out",))
    assert (inside.name, inside.verdict) == ("fedbn, personal", verdicts.NO_DIFFERENCE)
    assert (external.name, external.verdict, external.where) == (
        "fedbn, global",
        "better",
        verdicts.EXTERNAL,
    )
    assert {site for site, _ in external.pairs.cases} == {"out"}


def test_the_page_and_the_words_say_the_same_and_stand_alone(tmp_path: Path) -> None:
    found = _entries({"local": [0.0] * 3, "fedavg": [-0.05] * 3, "fedease": [0.05] * 3})
    page = comparison("side by side", found, reference="fedavg")
    write_comparison(tmp_path / "compare.html", page)
    text, words = (tmp_path / "compare.html").read_text(), verdicts_as_markdown(page)
    verdicts_now = [d.verdict for d in page.differences if d.over.startswith("local")]
    assert verdicts_now == ["better"]
    assert "fedease: no worse" in words and "fedavg: worse" in words
    assert f"by more than {MARGIN}" in text
    assert text.count("data:image/svg+xml") == 3
    assert "http" not in re.sub(r"data:image/[^\"]*", "", text)
    lonely = comparison("one", _entries({"fedavg": [0.0]}), reference="fedavg")
    assert verdicts_as_markdown(lonely) == ""


def test_a_site_without_held_out_cases_takes_no_verdict_away() -> None:
    base = _base() | {"c": []}
    found = entries(
        _trial(method, seed, _moved(base, gain, seed), model="personal")
        for method, gain in (("local", 0.0), ("fedbn", 0.1))
        for seed in range(3)
    )
    (check,) = no_worse_than_local(found)
    assert check.verdict == verdicts.NO_WORSE
    assert [site.site for site in check.sites] == ["a", "b"]
