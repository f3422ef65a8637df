"""The coordinator's checkpoints, and the history made from them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.coordinator.history import (
    RoundRecord,
    SiteRound,
    check_key,
    load_last,
    load_records,
    rounds_of,
    save_round,
    write_history,
)
from fednnunet.federation.methods.merge import State
from fednnunet.federation.wire.phases import Phase


def a_row(*dice: float | None) -> SiteRound:
    return SiteRound(
        cases=4,
        loss=0.123456,
        dice=dice,
        seconds=1.25,
        wait_share=0.33336,
        bytes_to_site=10,
        bytes_from_site=20,
    )


def a_record(number: int, *sites: str, phase: Phase = "joint", **fields: object) -> RoundRecord:
    values: dict = {
        "key": "k",
        "round": number,
        "phase": phase,
        "shift": 0.5,
        "sites": {site: a_row(0.5) for site in sites},
        "refused": {},
    }
    return RoundRecord(**{**values, **fields})


def a_state(number: int) -> State:
    return State(
        round=number,
        shared={"w": torch.tensor([1.0, number])},
        extras={"w": torch.tensor([2.0])},
        memory={"m/w": torch.tensor([3.0])},
        for_site={"a": {"w": torch.tensor([4.0])}, "b": {"w": torch.tensor([5.0])}},
    )


def saved(folder: Path, rounds: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(1, rounds + 1):
        save_round(folder, a_state(number), a_record(number, "a"))
    return folder


def test_a_state_comes_back_whole(tmp_path):
    state, found = load_last(saved(tmp_path, 1), key="k")
    assert state is not None and state.round == 1 and found == (a_record(1, "a"),)
    for part in ("shared", "extras", "memory"):
        one, other = getattr(state, part), getattr(a_state(1), part)
        assert one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in other)
    assert {site: float(t["w"]) for site, t in state.for_site.items()} == {"a": 4.0, "b": 5.0}


def test_one_tensor_for_several_sites_is_saved_for_each(tmp_path):
    same = {"w": torch.ones(2)}
    state = State(round=1, shared=same, for_site={"a": same, "b": same})
    save_round(tmp_path, state, a_record(1))
    back, _ = load_last(tmp_path, key="k")
    assert back is not None and set(back.for_site) == {"a", "b"}


def test_tensors_of_the_last_two_rounds_are_kept_and_all_records(tmp_path):
    saved(tmp_path, 4)
    assert [p.name for p in sorted(tmp_path.glob("*.safetensors"))] == [
        "0003.safetensors",
        "0004.safetensors",
    ]
    assert [record.round for record in load_records(tmp_path)] == [1, 2, 3, 4]


def test_a_damaged_checkpoint_falls_back_on_the_one_before(tmp_path):
    path = saved(tmp_path, 3) / "0003.safetensors"
    path.write_bytes(path.read_bytes()[:10])
    state, found = load_last(tmp_path, key="k")
    assert state is not None and state.round == 2
    assert [record.round for record in found] == [1, 2]


def test_a_round_without_its_record_does_not_exist(tmp_path):
    (saved(tmp_path, 2) / "0002.json").unlink()
    state, found = load_last(tmp_path, key="k")
    assert state is not None and state.round == 1 and len(found) == 1


def test_an_empty_folder_has_no_round(tmp_path):
    assert load_last(tmp_path, key="k") == (None, ())


def test_rounds_of_another_training_are_refused(tmp_path):
    saved(tmp_path, 1)
    check_key(tmp_path, key="k")
    with pytest.raises(InputError, match="another training"):
        load_last(tmp_path, key="another")


def test_the_last_round_of_a_site_is_that_of_its_phase():
    found = (a_record(1, "a", "b"), a_record(2, "a"), a_record(3, "b", phase="public"))
    assert [rounds_of(found, site) for site in "abc"] == [2, 1, 0]
    assert [rounds_of(found, site, public=True) for site in "abc"] == [0, 3, 0]


def test_the_history_has_a_row_for_each_round_and_site(tmp_path):
    scores = SiteScores(cases=1, targets={"core": TargetSums(dice=MetricSum.of(0.75))})
    found = (
        a_record(1, "a", scores={"a": scores}),
        a_record(2, sites={"a": a_row(None)}, refused={"b": "=late"}),
    )
    write_history(found, ("core",), tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as stream:
        one, two, three = csv.DictReader(stream)
    assert (one["round"], one["site"], one["cases"], one["loss"]) == ("1", "a", "4", "0.12346")
    assert (one["dice_core"], one["held_out_dice_core"], one["case_dice_core"]) == (
        "0.5000",
        "",
        "0.7500",
    )
    assert (one["seconds"], one["wait_share"], one["bytes_from_site"]) == ("1.25", "0.3334", "20")
    assert (two["dice_core"], two["case_dice_core"], two["refused"]) == ("", "", "")
    assert (three["site"], three["cases"], three["refused"]) == ("b", "", "'=late")
