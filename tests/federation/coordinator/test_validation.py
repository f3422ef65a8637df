"""Validation during the rounds, over a pretend engine: who is asked for what, and what is kept."""

from __future__ import annotations

import csv

import pytest
import torch

from fednnunet.errors import DataError, InputError
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.validation import Validation, mean_dice
from fednnunet.federation.wire.messages import EvaluateInvite, EvaluateReply
from fednnunet.inference.best_bundle import FOLDER, best_bundle
from fednnunet.inference.bundle import read_bundle
from fednnunet.training.initial import initial_tensors
from tests.federation.fakes import MEMBERS, SITES, PretendEngine, a_run


def scores(dice):
    sums = TargetSums(dice=MetricSum.of(dice))
    return SiteScores(cases=1, targets={"a": sums})


class Judging(PretendEngine):
    """Sites whose Dice after round n is `dice[n]`; `silent` does not answer."""

    def __init__(self, dice, *, silent="", **settings):
        super().__init__(**settings)
        self.dice, self.silent, self.judged = dice, silent, []

    def ask(self, invites, deadline):
        if not isinstance(next(iter(invites.values())), EvaluateInvite):
            yield from super().ask(invites, deadline)
            return
        for site, invite in invites.items():
            self.judged.append((site, invite))
            if site == self.silent:
                yield Answer(site=site, error=DataError("the disk is full"))
                continue
            reply = EvaluateReply(scores=scores(self.dice[invite.round]), round=invite.round)
            yield Answer(site=site, reply=reply)


def go(folder, engine, method, **settings):
    run = a_run(folder, method, **{"validate_every": 1, **settings})
    initial = initial_tensors(run.plan, "3d_fullres", seed=0)
    validate = Validation(engine=engine, run=run, names=initial.keys(), sites=SITES)
    return run, run_rounds(engine, run, initial, MEMBERS, lambda record: None, validate)


def test_the_best_merged_model_is_kept_and_is_whole(tmp_path):
    engine = Judging({1: 0.2, 2: 0.7, 3: 0.5, 4: 0.6})
    go(tmp_path / "whole", engine, "fedavg")
    assert {invite.personal for _, invite in engine.judged} == {False}
    number, place = best_bundle(tmp_path / "whole" / FOLDER)
    assert number == 2
    _, after_two = go(tmp_path / "two", Judging({1: 0.2, 2: 0.7}), "fedavg", rounds=2)
    kept = read_bundle(place).weights
    assert all(torch.equal(kept[name], tensor) for name, tensor in after_two.shared.items())


def test_interrupted_and_resumed_it_keeps_the_same(tmp_path):
    dice = {1: 0.2, 2: 0.7, 3: 0.5, 4: 0.6}
    with pytest.raises(InputError):
        go(tmp_path, Judging(dice, fail={2: "b"}), "fedavg")
    go(tmp_path, Judging(dice), "fedavg")
    assert best_bundle(tmp_path / FOLDER)[0] == 2


def test_where_tensors_are_private_sites_judge_their_own_and_last_the_merged_model(tmp_path):
    engine = Judging(dict.fromkeys(range(1, 9), 0.5))
    go(tmp_path, engine, "fedbn_head", personal_rounds=1)
    asked = {invite.round: invite for _, invite in engine.judged}
    assert [asked[number].personal for number in range(1, 8)] == [True] * 5 + [False] * 2
    assert asked[4].tensors and not asked[5].tensors  # round 5 is personal: nothing of ours
    assert all(invite.brief for invite in asked.values())


def test_a_site_with_a_mean_of_its_own_is_judged_with_that(tmp_path):
    engine = Judging(dict.fromkeys(range(1, 9), 0.5))
    _, state = go(tmp_path, engine, "fedease", public_rounds=0)
    after_all = {site: invite.tensors for site, invite in engine.judged if invite.round == 4}
    for site in SITES:
        assert after_all[site].keys() == state.for_site[site].keys()
        assert all(torch.equal(t, state.for_site[site][n]) for n, t in after_all[site].items())
    name = next(iter(after_all["a"]))
    assert not torch.equal(after_all["a"][name], after_all["b"][name])


def test_only_chosen_rounds_are_judged_and_stand_in_the_history(tmp_path):
    engine = Judging({2: 0.25, 4: 0.5}, silent="c")
    go(tmp_path, engine, "fedavg", validate_every=2)
    assert [set(r.scores) for r in load_records(tmp_path / "rounds")] == [
        set(), {"a", "b"}, set(), {"a", "b"}
    ]  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    column = [row["case_dice_a"] for row in rows if row["site"] == "a"]
    assert column == ["", "0.2500", "", "0.5000"]
    assert best_bundle(tmp_path / FOLDER)[0] == 4


def test_sites_without_a_score_do_not_count():
    assert mean_dice({"a": scores(0.5), "b": scores(float("nan"))}) == 0.5
    assert mean_dice({}) != mean_dice({})
