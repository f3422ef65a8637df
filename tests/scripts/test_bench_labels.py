"""The benchmark of labels at tiny size: every row trains, stops, goes on, and gives a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fednnunet import io
from fednnunet.federation.methods.weighting.catalogue import RULES
from fednnunet.federation.site.cases import site_cases
from tests.conftest import ROOT
from tests.end_to_end.tiny import make_site, small_plan


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield script("bench_labels")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sites of full labels, and five of which some cases lack an organ."""
    folder = tmp_path_factory.mktemp("volumes")
    for name in "abcd":
        make_site(folder / "hippocampus" / f"site_{name}", "north")
    for name in "abcde":
        site = folder / "head_neck_ct" / f"site_{name}"
        make_site(site, "south")
        header = json.loads((site / "dataset.json").read_text())
        header["annotated"] = {"case_0": ["ball"], "case_1": ["ball", "core"], "case_2": ["core"]}
        (site / "dataset.json").write_text(json.dumps(header))
        for case, value in (("case_0", 1), ("case_2", 2)):
            label = io.read_label(site / "labelsTr" / f"{case}.nii.gz")
            only = np.where(label.array[0] == value, value, 0)
            io.write_mask(only, label.geometry, site / "labelsTr" / f"{case}.nii.gz")
    return folder


def run(bench: ModuleType, data: Path, out: Path, *arguments: str) -> int:
    sizes = ("--rounds", "2", "--iterations", "4", "--seeds", "1")
    return bench.main(["-o", str(out), "--data", str(data), *sizes, *arguments], shape=small_plan)


def stored(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "cells").glob("*.json"))


def check_table(bench: ModuleType, out: Path, row: str) -> None:
    """Every cell and claim of the row is in the table."""
    row_of = sys.modules["bench_labels_cells"].ROWS[row]
    assert stored(out) == sorted(f"{name}_0.json" for name in bench.row_cells(row))
    table = (out / "labels.md").read_text()
    assert table.count("| yes |") + table.count("| no |") == len(row_of.claims)
    assert all(f"| `{name}`: " in table for name in row_of.cells)
    assert (out / "labels.png").read_bytes().startswith(b"\x89PNG")


def test_time_that_is_up_ends_within_a_training_and_the_same_command_goes_on(
    tmp_path, bench, data, monkeypatch, capsys
):
    clock = iter([0.0, 1.0, 2.0, 100.0])  # begin, before the cell, after its first and second round
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["bench_clock"], "now", lambda: next(clock))
        assert run(bench, data, tmp_path, "--rows", "unlabelled", "--minutes", "1") == 0
    assert "time is up" in capsys.readouterr().out and not stored(tmp_path)
    assert (tmp_path / "runs" / "full_0" / "rounds" / "0002.json").is_file()
    assert run(bench, data, tmp_path, "--rows", "unlabelled") == 0, capsys.readouterr().err
    check_table(bench, tmp_path, "unlabelled")
    assert (tmp_path / "labels.md").read_text() in capsys.readouterr().out
    before = {name: (tmp_path / "cells" / name).stat().st_mtime_ns for name in stored(tmp_path)}
    assert run(bench, data, tmp_path, "--rows", "unlabelled") == 0
    after = {name: (tmp_path / "cells" / name).stat().st_mtime_ns for name in stored(tmp_path)}
    assert before == after


def test_every_federation_can_be_read_and_holds_out_the_same_cases(tmp_path, bench, data):
    cells = sys.modules["bench_labels_cells"]
    options = bench.Options(output=tmp_path, data=data)
    held: dict[tuple[str, str], set[str]] = {}
    for cell in cells.CELLS.values():
        made = bench.federation_of(bench.Bench(options=options, stop_at=0.0), cell, 0)
        assert (made.training.weights, made.training.merging) == (cell.weights, cell.merging)
        for name, site in made.sites.items():
            found = site_cases(site, made.task, made.training, site=name)
            names = {case.name for case in found.held_out}
            assert held.setdefault((cell.data, name), names) == names and names
            assert bool(found.training) == site.trains
            assert not names & {case.name for case in found.training}
            assert all(case.labels.can_score for case in found.held_out)


def test_each_rule_of_weights_has_a_row(bench):
    rows = sys.modules["bench_labels_cells"].ROWS
    assert {f"weights_{tag}" for tag in RULES} <= rows.keys()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "all"], "no row all"),
        (["--data", "/nowhere"], "are not there"),
        (["--part", "2", "--parts", "2"], "no part 2 of 2"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, bench, data, capsys, arguments, words):
    assert run(bench, data, tmp_path, *arguments) == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def scores(bench: ModuleType) -> Callable[..., object]:
    made = sys.modules["bench_labels_cells"].CellScores

    def make(cell: str, seed: int, dice: list[float | None]) -> object:
        cases = {f"case_{i}": {"ball": d, "core": None} for i, d in enumerate(dice)}
        return made(
            cell=cell,
            seed=seed,
            rounds=1,
            iterations_per_round=1,
            targets=("ball", "core"),
            cases={"site_a": cases},
            seconds=1.0,
        )

    return make


def test_claims_are_judged_on_the_seeds_that_both_have(bench, scores):
    report = sys.modules["bench_labels_report"]
    claim = sys.modules["bench_labels_cells"].Claim
    found = {
        "d": [scores("d", 0, [0.5, 0.7]), scores("d", 1, [0.0, 0.0])],
        "full": [scores("full", 0, [0.9, 0.9])],
        "d_pseudo": [scores("d_pseudo", 0, [0.8, None])],
    }
    gap = report.verdict(
        found, claim(kind="gap", cell="d_pseudo", low="d", high="full", wanted=0.5)
    )
    assert gap[1:] == ("67% of a gap of 0.3000", True)
    within = claim(kind="within", cell="d_pseudo", high="full", wanted=0.05)
    assert report.verdict(found, within)[2] is False
    above = claim(kind="above", cell="d_pseudo", low="d", wanted=0.25)
    assert report.verdict(found, above)[1].startswith("+0.3000")
    ratio = claim(kind="ratio", cell="d_pseudo", high="full", wanted=0.88)
    assert report.verdict(found, ratio)[1:] == ("0.889", True)
    organs = claim(kind="organs", cell="d", low="full")
    assert "worse: ball" in report.verdict(found, organs)[1]
    assert report.verdict(found, claim(kind="above", cell="d", low="one")) is None


def test_organs_are_compared_one_by_one(tmp_path, bench, scores):
    found = {
        "organs_naive": [scores("organs_naive", 0, [0.5, 0.6])],
        "organs": [scores("organs", 0, [0.7, 0.8])],
    }
    sys.modules["bench_labels_report"].write_report(found, ["organs"], tmp_path)
    table = (tmp_path / "labels.md").read_text()
    assert "| `organs` - `organs_naive` | cases | Dice (95 %) |" in table
    assert "| ball | 2 | +0.2000 (+0.2000 to +0.2000) |" in table and "| core | 0 | " in table
    assert (tmp_path / "labels.png").read_bytes().startswith(b"\x89PNG")
