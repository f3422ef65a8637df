from __future__ import annotations

import pytest

from fednnunet.commands.board import FOLDER, figures, open_board
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from tests.commands.records_of_rounds import TASK, a_record, a_run


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
