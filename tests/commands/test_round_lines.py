from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from fednnunet.commands.board import FOLDER, figures, open_board
from fednnunet.commands.round_lines import RoundLines, round_line
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.coordinator.history import RoundRecord, SiteRound
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "ball", "core"))


def a_record(number=1, **changes):
    row = SiteRound(
        cases=4, loss=0.5, dice=(0.25, None), seconds=3.0, wait_share=0.02, bytes_to_site=1,
        bytes_from_site=1, held_out=(0.75, 0.25), notes=("float32: no bfloat16 here",),
    )  # fmt: skip
    whole = RoundRecord(
        key="k", round=number, phase="joint", shift=0.1, sites={"north": row}, refused={},
        seconds=30.0, of=4,
    )  # fmt: skip
    return replace(whole, **changes)


def a_run():
    return SimpleNamespace(name="", method_name="fedavg", plan=SimpleNamespace(task=TASK))


def test_a_line_tells_of_loss_dice_and_the_time_left():
    line = round_line("fedavg", [a_record(1), a_record(2, seconds=60.0)])
    assert "round 2 of 4 (joint)" in line and "loss 0.5000" in line
    assert "training patches 0.250" in line and "held-out patches 0.500" in line
    assert "0:01:30 left" in line  # two rounds of 45 seconds


def test_the_last_line_has_no_time_left_and_names_who_failed():
    line = round_line("fedavg", [a_record(4, refused={"south": "the disk is full"})])
    assert " left" not in line and "no reply used: south" in line


def test_a_note_is_said_once():
    console = Console(file=io.StringIO(), width=200)
    lines = RoundLines(console)
    lines(a_run(), a_record(1))
    lines(a_run(), a_record(2))
    assert console.file.getvalue().count("north: float32") == 1


def test_figures_leave_out_what_is_not_defined():
    sums = {"ball": TargetSums(dice=MetricSum.of(0.5)), "core": TargetSums()}
    scores = SiteScores(cases=1, targets=sums)
    found = figures(a_record(scores={"north": scores}), TASK.targets)
    assert found["dice_ball/north"] == 0.25 and "dice_core/north" not in found
    assert found["held_out_dice_core/north"] == 0.25
    assert found["case_dice_ball/north"] == 0.5 and "case_dice_core/north" not in found


def test_the_board_is_written_anew_for_a_resumed_training(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for rounds in (2, 3):
        board = open_board(tmp_path)
        for number in range(1, rounds + 1):
            board(a_run(), a_record(number))
    events = EventAccumulator(str(tmp_path / FOLDER)).Reload().Scalars("fedavg/loss/north")
    assert [event.step for event in events] == [1, 2, 3]
