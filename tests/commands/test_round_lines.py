from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from fednnunet.commands.board import figures
from fednnunet.commands.round_lines import RoundLines, answered, round_line, traffic
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


def test_losses_that_sites_do_not_state_are_left_out():
    silent = replace(a_record().sites["north"], loss=None)
    assert "loss not stated" in round_line("fedavg", [a_record(sites={"north": silent})])
    both = {"north": silent, "south": a_record().sites["north"]}
    assert "loss 0.5000" in round_line("fedavg", [a_record(sites=both)])
    assert figures(a_record(sites=both), ("ball", "core")).keys() >= {"loss/south"}
    assert "loss/north" not in figures(a_record(sites=both), ("ball", "core"))


def test_who_answered_and_how_much_went_each_way_is_said_on_request():
    row = replace(a_record().sites["north"], bytes_to_site=2**21, bytes_from_site=2**19)
    for traffic_too in (False, True):
        console = Console(file=io.StringIO(), width=200)
        RoundLines(console, traffic=traffic_too)(a_run(), a_record(sites={"north": row}))
        words = "answered: north; 2.0 MiB to these sites, 0.5 MiB from them"
        assert (words in console.file.getvalue()) is traffic_too


def test_many_sites_are_not_all_named():
    row = a_record().sites["north"]
    many = a_record(sites={f"s{number:02d}": row for number in range(20)})
    assert answered(many).endswith("s11 and 8 more")
    assert answered(a_record(sites={})) == "nobody"
    assert traffic([many, many], "s03") == traffic([a_record(), a_record()])
