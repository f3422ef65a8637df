"""Methods side by side on a tiny federation: one plan, one split, resumable, honest tables."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fednnunet.commands import compare
from tests.end_to_end.tiny import TOML, contents, make_federation, make_planned

METHODS = ("fedavg", "fedbn_head", "local")
SITES = ("north", "south", "west")


@pytest.fixture(scope="module")
def federation_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_federation(
        tmp_path_factory.mktemp("hospitals"),
        toml=TOML.replace("rounds = 2", "rounds = 1").replace("held_out = 0.2", "held_out = 0.4"),
    )


@pytest.fixture(scope="module")
def planned_folder(federation_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned") / "out"
    make_planned(federation_file, folder)
    return folder


@pytest.fixture(scope="module")
def compared(
    federation_file: Path, planned_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = Path(shutil.copytree(planned_folder, tmp_path_factory.mktemp("compared") / "out"))
    assert _compare(federation_file, out) == 0
    return out


def _compare(federation: Path, out: Path, *more: str, methods: tuple[str, ...] = METHODS) -> int:
    command = [str(federation), "-o", str(out), "--methods", ",".join(methods), "--seeds", "2"]
    return compare.main([*command, *more])


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_every_method_and_seed_has_a_whole_run_and_a_row(compared: Path) -> None:
    runs = {path.name for path in (compared / "runs").iterdir()}
    assert runs == {f"{method}_{seed}" for method in METHODS for seed in (0, 1)}
    for name in runs:
        for left in ("plan.json", "federation.json", "scores.json", "report.html"):
            assert (compared / "runs" / name / left).is_file(), (name, left)
    rows = json.loads((compared / "rows.json").read_text())["rows"]
    models = {(row["method"], row["model"]) for row in rows}
    assert models == {
        ("fedavg", "global"),
        ("fedbn_head", "global"),
        ("fedbn_head", "personal"),
        ("local", "personal"),
    }
    assert len(rows) == 2 * len(models)
    by_model = {(row["method"], row["model"]): row for row in rows}
    assert by_model["local", "personal"]["bytes_sent"] < by_model["fedavg", "global"]["bytes_sent"]
    assert set(by_model["fedavg", "global"]["dice"]) == set(SITES)
    assert set(by_model["local", "personal"]["dice"]) == {"north", "south"}


def test_all_runs_judge_the_same_cases_of_one_preparation(compared: Path) -> None:
    judged: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for row in _rows(compared / "cases.csv"):
        if row["site"] != "west":
            key = (row["method"], row["model"], row["seed"])
            judged.setdefault(key, set()).add((row["site"], row["case"]))
    assert len(judged) == 8
    assert len({frozenset(cases) for cases in judged.values()}) == 1
    assert not list((compared / "runs").glob("*/sites/*/prepared"))
    assert {path.name for path in (compared / "prepared").iterdir()} == set(SITES)


def test_seeds_differ_and_the_scores_of_a_run_are_its_sites_own(compared: Path) -> None:
    rows = json.loads((compared / "rows.json").read_text())["rows"]
    row = next(row for row in rows if (row["method"], row["seed"]) == ("fedavg", 1))
    scores = json.loads((compared / "runs" / "fedavg_1" / "scores.json").read_text())
    for site, sums in scores["models"][0]["sites"].items():
        means = [t["dice"]["total"] / t["dice"]["count"] for t in sums["targets"].values()]
        assert row["dice"][site] == pytest.approx(sum(means) / len(means), abs=1e-5)
    weights = [(compared / "runs" / f"fedavg_{s}" / "global" / "weights.safetensors") for s in "01"]
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_the_same_command_goes_on_and_gives_the_same(
    compared: Path, federation_file: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(compared, tmp_path / "out"))
    shutil.rmtree(copy / "runs" / "fedbn_head_1")
    (copy / "runs" / "local_0" / "scores.json").unlink()
    untouched = contents(copy / "runs" / "fedavg_0")
    assert _compare(federation_file, copy) == 0
    assert contents(copy / "runs" / "fedavg_0") == untouched
    for name in ("cases.csv", "rows.csv"):
        assert (copy / name).read_bytes() == (compared / name).read_bytes()


def test_runs_side_by_side_give_the_same(
    compared: Path, federation_file: Path, planned_folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(planned_folder, tmp_path / "out"))
    command = [str(federation_file), "-o", str(out), "--seeds", "1", "--jobs", "2"]
    assert compare.main([*command, "--methods", "fedavg,local"]) == 0
    wanted = [
        row
        for row in _rows(compared / "rows.csv")
        if row["seed"] == "0" and row["method"] in ("fedavg", "local")
    ]
    assert _rows(out / "rows.csv") == wanted


def test_a_site_left_out_does_not_train_and_few_cases_do(
    federation_file: Path, planned_folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(planned_folder, tmp_path / "out"))
    command = [str(federation_file), "-o", str(out), "--seeds", "1", "--methods", "fedavg"]
    assert compare.main([*command, "--leave-out", "south", "--cases-per-site", "2"]) == 0
    scores = json.loads((out / "runs" / "fedavg_0" / "scores.json").read_text())
    assert scores["training_cases"] == {"north": 2, "south": 0, "west": 0}
    rows = json.loads((out / "rows.json").read_text())["rows"]
    assert rows[0]["cases"] == {"north": 2, "south": 5, "west": 5}


def test_over_folds_every_case_is_held_out_once(
    federation_file: Path, planned_folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(planned_folder, tmp_path / "out"))
    command = [str(federation_file), "-o", str(out), "--seeds", "1", "--methods", "fedavg"]
    assert compare.main([*command, "--folds"]) == 0
    runs = {path.name for path in (out / "runs").iterdir()}
    assert runs == {f"fedavg_0_fold_{fold}" for fold in range(5)}
    assert all((out / "runs" / run / "global" / "bundle.json").is_file() for run in runs)
    judged = [(row["site"], row["case"]) for row in _rows(out / "cases.csv")]
    targets = 2
    for site, times in (("north", 1), ("south", 1), ("west", 5)):
        for case in range(5):
            assert judged.count((site, f"case_{case}")) == times * targets
    assert len(_rows(out / "rows.csv")) == len(SITES)

    before = (out / "cases.csv").read_bytes()
    (out / "runs" / "fedavg_0_fold_3" / "scores.json").unlink()
    assert compare.main([*command, "--folds"]) == 0
    assert (out / "cases.csv").read_bytes() == before


@pytest.mark.parametrize(
    "more",
    [
        ("--methods", "fedavgg"),
        ("--methods", "fedavg", "--reference", "local"),
        ("--leave-out", "east"),
        ("--seeds", "0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    more: tuple[str, ...],
    federation_file: Path,
    planned_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Path(shutil.copytree(planned_folder, tmp_path / "out"))
    assert compare.main([str(federation_file), "-o", str(out), *more]) == 2
    assert "mend:" in capsys.readouterr().err
    assert not (out / "runs").exists()


def test_a_run_begun_with_other_settings_is_not_mixed_in(
    compared: Path, federation_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = federation_file.with_name("other.toml")
    other.write_text(
        federation_file.read_text().replace("iterations_per_round = 2", "iterations_per_round = 3")
    )
    assert _compare(other, compared) == 2
    assert "other settings" in capsys.readouterr().err


def test_without_held_out_cases_nothing_is_trained(
    federation_file: Path, planned_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(planned_folder, tmp_path / "out"))
    toml = federation_file.read_text().replace("held_out = 0.4", "held_out = 0.0")
    none = federation_file.with_name("none_held_out.toml")
    none.write_text(toml.replace("trains = false\n", ""))
    assert _compare(none, out) == 2
    assert "no site holds out any case" in capsys.readouterr().err
    assert not list((out / "runs").glob("*/rounds"))


def test_a_report_that_an_interruption_took_comes_back(
    federation_file: Path, compared: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(compared, tmp_path / "out"))
    report = out / "runs" / "local_0" / "report.html"
    report.unlink()
    assert _compare(federation_file, out) == 0
    assert report.is_file()


def test_another_quorum_goes_on_with_the_runs_that_are_there(
    federation_file: Path, compared: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(compared, tmp_path / "out"))
    lower = federation_file.with_name("lower_quorum.toml")
    lower.write_text(federation_file.read_text().replace("rounds = 1", "quorum = 1\nrounds = 1", 1))
    before = contents(out / "runs")
    assert _compare(lower, out) == 0
    assert contents(out / "runs") == before
    (out / "runs" / "local_0" / "scores.json").unlink()  # as if stopped before it was judged
    assert _compare(lower, out) == 0
    again = contents(out / "runs")
    assert again.keys() == before.keys()
    assert {name for name in before if again[name] != before[name]} <= {"local_0/federation.json"}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_runs_side_by_side_end_with_a_command_that_is_killed(
    federation_file: Path, planned_folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(planned_folder, tmp_path / "out"))
    endless = federation_file.with_name("endless.toml")
    endless.write_text(federation_file.read_text().replace("rounds = 1", "rounds = 100000", 1))
    command = [sys.executable, "-c", "import sys; from fednnunet.commands import compare; "]
    command[-1] += "sys.exit(compare.main())"
    command += [str(endless), "-o", str(out), "--methods", "fedavg,local", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: len(list((out / "runs").glob("*/rounds/0*.json"))) >= 2)
        workers = _children(process.pid)
        assert len(workers) >= 2
    finally:
        process.kill()
        process.wait()
    _until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def _until(met: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
