from __future__ import annotations

import io

from rich.console import Console

from fednnunet.commands.round_lines import RoundLines, round_line
from tests.commands.records_of_rounds import a_record, a_run


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
