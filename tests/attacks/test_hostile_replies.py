"""A site that takes part in the rounds and sends valid messages with numbers that are not true."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from fednnunet.errors import FedNNUNetError, InputError, ReplyError
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.coordinator.history import load_last, load_records
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.update_bound import UpdateBound, check_state
from fednnunet.federation.methods.merge import State
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.extras import is_extra
from fednnunet.federation.wire.messages import TrainInvite, TrainReply
from fednnunet.federation.wire.tensors import is_in_range
from tests.federation.fakes import INITIAL, MEMBERS, PretendEngine, a_run, go

Change = Callable[[TrainReply], TrainReply]


class Hostile(PretendEngine):
    """Site b changes its replies, in round `only` (from 0) or in all."""

    def __init__(self, change: Change, *, only: int | None = None) -> None:
        super().__init__()
        self.change, self.only = change, only

    def ask(self, invites, deadline):
        for answer in super().ask(invites, deadline):
            reply = answer.reply
            if answer.site == "b" and self.only in (None, reply.round):
                try:
                    answer = replace(answer, reply=self.change(reply))
                except FedNNUNetError as error:  # as the engine that reads the message does
                    answer = Answer(site="b", error=error)
            yield answer


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda reply: replace(reply, tensors={n: change(t) for n, t in reply.tensors.items()})


def figures(**values: object) -> Change:
    return lambda reply: replace(reply, **values)


ATTACKS: dict[str, tuple[Change, str]] = {
    "weights of 1e30": (weights(lambda t: torch.full_like(t, 1e30)), "too large"),
    "weights of 1e8": (weights(lambda t: torch.full_like(t, 1e8)), "the update has norm"),
    "50 on every weight": (weights(lambda t: t + 50), "the update has norm"),
    "weights that are not numbers": (weights(lambda t: t * float("nan")), "not finite"),
    "a billion cases": (figures(cases=10**9), "cases is 1000000000"),
    "minus three cases": (figures(cases=-3), "cases is -3"),
    "no case": (figures(cases=0), "cases is 0"),
    "more cases than prepared": (figures(cases=7), "7 training cases, where 2 were prepared"),
    "more iterations than asked": (figures(iterations=26), "of 26 iterations, not of 25"),
    "no iteration": (figures(iterations=0), "of 0 iterations"),
    "a loss of 1e308": (figures(loss=1e308), "loss is 1e+308"),
    "a loss that is not a number": (figures(loss=float("nan")), "loss is nan"),
    "a number of 401 digits": (figures(loss=10**400), f"loss is 1{'0' * 35} ..."),
    "negative seconds": (figures(seconds=-1.0), "seconds is -1"),
    "waiting all the time and more": (figures(wait_share=1.5), "wait_share is 1.5"),
    "negative overlaps": (figures(overlap=((-1, 0, 0),)), "overlap holds -1"),
    "huge overlaps": (figures(overlap=((2**80, 0, 0),)), "overlap holds"),
    "overlaps of other targets": (figures(overlap=((1, 0, 0),) * 3), "3 targets, not"),
    "held-out overlaps of other targets": (figures(held_out=((1, 0, 0),) * 2), "2 targets, not"),
    "200,000 rows of overlaps": (figures(overlap=((1, 0, 0),) * 200_000), "200000 entries"),
    "another run": (figures(run="baselines/fedprox"), "the reply is of run"),
    "another phase": (figures(phase="public"), "phase public, not of run '' and phase joint"),
    "another round": (figures(round=100), "the reply is of round 101"),
    "a round of 10^12": (figures(round=10**12), "round is 1000000000000"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("only", [0, 2])
def test_the_site_is_refused_for_the_round_by_name_and_the_others_go_on(tmp_path, attack, only):
    change, words = ATTACKS[attack]
    state = go(a_run(tmp_path, quorum=2), Hostile(change, only=only))
    records = load_records(tmp_path / "rounds")
    assert state.round == len(records)
    for record in records:
        assert set(record.refused) == ({"b"} if record.round == only + 1 else set())
    assert words in records[only].refused["b"]
    assert len(records[only].refused["b"]) <= 500
    honest = go(a_run(tmp_path / "x", quorum=2), PretendEngine(fail={only: "b"}))
    assert all(torch.equal(t, honest.shared[n]) for n, t in state.shared.items())


@pytest.mark.parametrize("attack", ["weights of 1e8", "50 on every weight", "a billion cases"])
def test_where_all_sites_are_needed_nothing_is_kept_and_honest_sites_can_go_on(tmp_path, attack):
    change, _ = ATTACKS[attack]
    run = a_run(tmp_path)
    with pytest.raises(FedNNUNetError) as caught:
        go(run, Hostile(change, only=1))
    assert len(load_records(tmp_path / "rounds")) == 1
    assert "Traceback" not in str(caught.value)
    state = go(run, PretendEngine())
    honest = go(a_run(tmp_path / "x"), PretendEngine())
    assert all(torch.equal(t, honest.shared[n]) for n, t in state.shared.items())


def test_the_refusal_names_the_site(tmp_path):
    with pytest.raises(ReplyError, match="the update has norm") as caught:
        go(a_run(tmp_path), Hostile(ATTACKS["50 on every weight"][0]))
    assert "site b" in caught.value.where
    assert "max_update_ratio" in caught.value.mend


@pytest.mark.parametrize("only", [0, 2])
def test_control_variates_of_1e8_do_not_stay_in_the_checkpoint(tmp_path, only):
    def poison(reply: TrainReply) -> TrainReply:
        tensors = {
            name: torch.full_like(t, 1e8) if is_extra(name) else t
            for name, t in reply.tensors.items()
        }
        return replace(reply, tensors=tensors)

    state = go(a_run(tmp_path, "scaffold", quorum=2), Hostile(poison, only=only))
    assert "auxiliary tensors" in load_records(tmp_path / "rounds")[only].refused["b"]
    kept = [*state.extras.values(), *state.memory.values()]
    assert all(t.abs().max() < 100 for t in kept if t.is_floating_point())


def test_an_update_that_grows_tenfold_each_round_is_refused_as_the_median_stays(tmp_path):
    def grow(reply: TrainReply) -> TrainReply:
        return weights(lambda t: t + 2.0 * 10**reply.round)(reply)

    go(a_run(tmp_path, quorum=2), Hostile(grow))
    refused = [bool(r.refused) for r in load_records(tmp_path / "rounds") if r.phase == "joint"]
    assert refused == [False, True, True, True]


COUNTER = "encoder.0.blocks.0.norm.num_batches_tracked"


class Counting(PretendEngine):
    """Sites with a counter of batches; site a, whose counter is the merged one, sends `count`."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def reply(self, site: str, invite: TrainInvite) -> TrainReply:
        reply = super().reply(site, invite)
        counter = {COUNTER: torch.tensor(self.count if site == "a" else 4)}
        return replace(reply, tensors=reply.tensors | counter)


@pytest.mark.parametrize("count", [2**62, -(2**63)])
def test_a_counter_that_all_sites_would_refuse_does_not_end_the_training(tmp_path, count):
    run = a_run(tmp_path, quorum=2)
    initial = INITIAL | {COUNTER: torch.tensor(0)}
    state = run_rounds(Counting(count), run, initial, MEMBERS, lambda record: None)
    assert is_in_range(state.shared[COUNTER], extra=False)
    for record in load_records(tmp_path / "rounds"):
        assert set(record.refused) == {"a"}
        assert "holds a count" in record.refused["a"]


def test_a_ratio_of_zero_takes_any_update(tmp_path):
    change, _ = ATTACKS["50 on every weight"]
    go(a_run(tmp_path, max_update_ratio=0.0), Hostile(change))
    assert not any(record.refused for record in load_records(tmp_path / "rounds"))


def test_the_ratio_may_be_changed_while_a_federation_trains(tmp_path):
    assert a_run(tmp_path, max_update_ratio=0.0).key == a_run(tmp_path).key
    for ratio in (-1.0, 0.5, 1e7):
        with pytest.raises(InputError, match="max_update_ratio"):
            Training(max_update_ratio=ratio)


def test_a_site_with_more_iterations_may_go_further():
    received = {"w": torch.full((4,), 2.0)}  # norm 4
    bound = UpdateBound(ratio=10.0, iterations=25)
    assert bound.limit(received, 25) == 40.0
    assert bound.limit(received, 5) == 40.0
    assert bound.limit(received, 50) == 80.0
    assert replace(bound, median=0.5).limit(received, 25) == 5.0


def test_norms_of_accepted_updates_stand_in_the_records(tmp_path):
    go(a_run(tmp_path, "fedbn_head", personal_rounds=1), PretendEngine())
    for record in load_records(tmp_path / "rounds"):
        norms = [site.update_norm for site in record.sites.values()]
        assert all(norms) != (record.phase == "personal")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e13, 2**62])
@pytest.mark.parametrize("part", ["shared", "extras", "for_site"])
def test_a_state_that_no_site_would_take_is_never_saved(part, value):
    bad = {"w": torch.tensor([1, value])}
    values = {"shared": bad, "extras": bad, "for_site": {"a": bad}}
    state = State(round=3, shared={"w": torch.ones(2)})
    check_state(state)
    with pytest.raises(FedNNUNetError, match="not finite"):
        check_state(replace(state, **{part: values[part]}))


def test_a_method_that_makes_the_state_infinite_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    run = a_run(tmp_path, "fedavgm")
    with pytest.raises(FedNNUNetError, match="the disk is full"):
        go(run, PretendEngine(fail={1: "b"}))
    broken = lambda state: check_state(  # noqa: E731
        replace(state, shared={n: t * float("inf") for n, t in state.shared.items()})
    )
    monkeypatch.setattr("fednnunet.federation.coordinator.rounds.check_state", broken)
    with pytest.raises(FedNNUNetError, match="not finite"):
        go(run, PretendEngine())
    kept, history = load_last(tmp_path / "rounds", key=run.key)
    assert len(history) == 1
    assert all(torch.isfinite(t).all() for t in kept.shared.values())


class Twice(PretendEngine):
    """Site b answers twice, and one that was not asked answers as well."""

    def ask(self, invites, deadline):
        for answer in super().ask(invites, deadline):
            yield answer
            if answer.site == "b":
                yield answer
                yield replace(answer, site="mallory\x1b[31m")


def test_a_second_reply_of_a_site_does_not_count(tmp_path):
    state = go(a_run(tmp_path / "a"), Twice())
    honest = go(a_run(tmp_path / "b"), PretendEngine())
    assert all(torch.equal(t, honest.shared[n]) for n, t in state.shared.items())
    for record in load_records(tmp_path / "a" / "rounds"):
        assert set(record.sites) == {"a", "b", "c"}
        assert record.faults["b"] == "more than one answer came"


class Replay(PretendEngine):
    """Site b sends the bytes of its first reply in every round of every run."""

    kept: TrainReply | None = None

    def reply(self, site: str, invite: TrainInvite) -> TrainReply:
        reply = super().reply(site, invite)
        if site != "b":
            return reply
        self.kept = self.kept or reply
        return self.kept


def test_a_reply_is_not_taken_again_in_another_round_or_run(tmp_path):
    engine = Replay()
    go(a_run(tmp_path / "main", quorum=2), engine)
    records = load_records(tmp_path / "main" / "rounds")
    assert ["b" in record.sites for record in records] == [True] + [False] * (len(records) - 1)
    baseline = a_run(tmp_path / "baseline", quorum=2, baselines=("fedprox",))
    go(replace(baseline, name="baselines/fedprox"), engine)
    records = load_records(tmp_path / "baseline" / "rounds")
    assert "is of run ''" in records[0].refused["b"]
    assert not any("b" in record.sites for record in records)


def test_escapes_in_the_names_of_tensors_are_shown_as_codes_and_shortened(tmp_path):
    def rename(reply: TrainReply) -> TrainReply:
        name = "\x1b[2J\x1b]0;owned\x07\u202e" + "A" * 10_000
        return replace(reply, tensors={**reply.tensors, name: torch.ones(1)})

    go(a_run(tmp_path, quorum=2), Hostile(rename))
    for record in load_records(tmp_path / "rounds"):
        assert record.refused["b"].isprintable()
        assert len(record.refused["b"]) <= 500
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert all(row["refused"].isprintable() for row in rows)
