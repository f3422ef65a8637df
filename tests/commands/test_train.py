"""The terminal's table of scores: means over the same sites, and a label for every model."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fednnunet import records
from fednnunet.commands import train as train_command
from fednnunet.commands.train import show_scores
from fednnunet.errors import InputError
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.workflows.train import SCORES, ModelScores, TrainingScores


def _scores(dice: float) -> SiteScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=1.0, reference_vox=1, predicted_vox=1
    )
    return SiteScores.of(("organ",), [CaseScores(case="c", targets={"organ": score})])


def _model(name: str, sites: dict[str, SiteScores], *, personal: bool = False) -> ModelScores:
    return ModelScores(model=name, method="fedbn", personal=personal, sites=sites)


def _rows(folder: Path, training_cases: dict[str, int]) -> tuple[dict[str, list[str]], str]:
    """The cells of every row by its label, and all that was printed."""
    inside = {"north": _scores(0.8), "south": _scores(0.6)}
    models = (
        _model("fedbn", inside | {"west": _scores(0.1)}),
        _model("fedbn", inside, personal=True),
    )
    records.write(TrainingScores(training_cases=training_cases, models=models), folder / SCORES)
    console = Console(file=io.StringIO(), width=200)
    show_scores(folder, console)
    text = console.file.getvalue()
    lines = [line.split("│") for line in text.splitlines() if "(fedbn)" in line]
    return {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines}, text


def test_means_are_of_the_sites_that_train_for_both_models_of_a_method(tmp_path: Path) -> None:
    rows, text = _rows(tmp_path, {"north": 4, "south": 4, "west": 0})
    assert rows == {
        "fedbn, global (fedbn)": ["0.800", "0.600", "0.100", "0.700"],
        "fedbn (fedbn)": ["0.800", "0.600", "-", "0.700"],
    }
    assert "means over sites leave out west, which did not train" in text


def test_nothing_is_left_out_where_all_sites_train(tmp_path: Path) -> None:
    rows, text = _rows(tmp_path, {"north": 4, "south": 4, "west": 4})
    assert rows["fedbn, global (fedbn)"][-1] == "0.500"
    assert "leave out" not in text


def test_a_device_on_the_command_line_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def train(run: Path, *, device: str | None, **_: object) -> None:
        asked.append(device)
        raise InputError("enough")

    monkeypatch.setattr(train_command, "train", train)
    for name in ("federation.json", "plan.json"):
        (tmp_path / name).touch()
    assert train_command.main([str(tmp_path), "--device", "cuda:1"]) == 2
    assert train_command.main([str(tmp_path)]) == 2
    assert asked == ["cuda:1", None]
