"""The benchmark of natural federations at tiny size: it trains, stops, goes on, and tells."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fednnunet.federation.coordinator.history import RoundRecord, SiteRound
from tests.conftest import ROOT
from tests.end_to_end.tiny import make_site, small_plan

TINY = {"short": (2, 2), "long": (3, 2)}


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield script("bench_federations")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    for site in ("grid_3_91mm", "grid_4_69mm", "grid_5_47mm"):
        make_site(folder / "sarcoma_pet" / site, "north")
    for site in ("Milan", "CEITEC", "Philips", "Juntendo", "UCL", "NWU"):
        make_site(folder / "spinal_cord_gm" / site, "south")
    return folder


def run(bench: ModuleType, data: Path, out: Path, *arguments: str) -> int:
    given = ["-o", str(out), "--data", str(data), "--seeds", "1", *arguments]
    return bench.main(given, shape=small_plan, lengths=TINY)


def test_time_that_is_up_ends_within_a_training_and_the_same_command_goes_on(
    tmp_path, bench, data, monkeypatch, capsys
):
    arguments = ("--federations", "sarcoma_pet", "--methods", "local,fedease,pooled_iterations")
    clock = iter([0.0, 1.0, 100.0])  # begin, before the first training, after its first round
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["bench_clock"], "now", lambda: next(clock))
        assert run(bench, data, tmp_path, *arguments, "--minutes", "1") == 0
    assert "time is up" in capsys.readouterr().out
    runs = tmp_path / "runs_split_0" / "sarcoma_pet_short"
    assert not list(runs.glob("*/scores.json"))
    assert (runs / "local_0" / "rounds" / "0001.json").is_file()
    assert run(bench, data, tmp_path, *arguments) == 0, capsys.readouterr().err
    assert len(list(runs.glob("*/scores.json"))) == 3
    table = (tmp_path / "federations.md").read_text()
    assert table in capsys.readouterr().out
    for model in ("`local` | personal", "`fedease` | personal", "`fedease` | global"):
        assert f"| {model} | 1 |" in table
    assert "`fedease` over `local`: lower end" in table
    assert (tmp_path / "federations.png").read_bytes().startswith(b"\x89PNG")


def test_sites_left_out_are_scored_by_the_global_model(tmp_path, bench, data, capsys):
    arguments = ("--federations", "spinal_cord", "--methods", "fedavg")
    assert run(bench, data, tmp_path, *arguments) == 0, capsys.readouterr().err
    head, _, row = (tmp_path / "federations.md").read_text().splitlines()[3:6]
    assert "| seeds | NWU | UCL | mean |" in head
    assert row.startswith("| `fedavg` | global | 1 | 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--federations", "sarcoma_pat"], "did you mean 'sarcoma_pet'"),
        (["--methods", "magic"], "no 'magic'"),
        (["--lengths", "weekend"], "no 'weekend'"),
        (["--data", "/nowhere"], "are not there"),
        (["--split", "-1", "--federations", "sarcoma_pet"], "too small"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, bench, data, capsys, arguments, words):
    assert run(bench, data, tmp_path, *arguments) == 2
    assert words in capsys.readouterr().err


def test_bytes_count_until_the_dice_is_reached_for_good(bench):
    report = sys.modules["bench_federations_report"]
    site = SiteRound(
        cases=5, loss=0.0, dice=(), seconds=0.0, wait_share=0.0, bytes_to_site=2_000_000,
        bytes_from_site=1_000_000,
    )  # fmt: skip
    dice = [0.1, 0.6, 0.4, 0.5, 0.7]
    rounds = tuple(
        RoundRecord(
            key="k", round=n, phase="joint", shift=0.0, refused={},
            sites={"a": dataclasses.replace(site, held_out=(d, None)), "b": site},
        )
        for n, d in enumerate(dice, start=1)
    )  # fmt: skip
    trained = report.Trained(seed=0, trials=(), rounds=rounds, iterations_per_round=5)
    points = report.curve(trained)
    assert [p.iterations for p in points] == [5, 10, 15, 20, 25]
    assert [p.dice for p in points] == dice and points[-1].received == 20.0
    assert report.bytes_to_reach(trained, 0.5) == 8.0  # both sites, four rounds
    assert report.bytes_to_reach(trained, 0.8) is None
