"""The coordinator's loop over a pretend engine: no site, no network, no training."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.guard_spec import Guard
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.robust import RobustMean
from fednnunet.labels.settings import PseudoLabels
from tests.federation.fakes import INITIAL, MEMBERS, PretendEngine, a_run, go


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_order_of_replies_does_not_matter(tmp_path, method):
    forward = go(a_run(tmp_path / "a", method), PretendEngine())
    backward = go(a_run(tmp_path / "b", method), PretendEngine(backwards=True))
    assert forward.shared.keys() == backward.shared.keys()
    assert all(torch.equal(t, backward.shared[n]) for n, t in forward.shared.items())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_all_rounds_equal_rounds_with_restarts_between_them(tmp_path, method):
    """It stops within the joint, the personal and the public rounds, and in the last one."""
    whole = go(a_run(tmp_path / "whole", method, personal_rounds=2), PretendEngine())
    broken = a_run(tmp_path / "broken", method, personal_rounds=2)
    for stop in sorted({min(stop, whole.round - 1) for stop in (1, 2, 4, 5, 6, 7)}):
        with pytest.raises(FedNNUNetError, match="the disk is full"):
            go(broken, PretendEngine(fail={stop: "b"}))
        records = load_records(broken.folder / "rounds")
        assert [record.round for record in records] == list(range(1, stop + 1))
    again = go(broken, PretendEngine())
    assert all(torch.equal(t, again.shared[n]) for n, t in whole.shared.items())
    records = load_records(broken.folder / "rounds")
    assert [record.round for record in records] == list(range(1, whole.round + 1))


class OneHostile(PretendEngine):
    """One of the sites adds much more than the others."""

    def reply(self, site, invite):
        reply, far = super().reply(site, invite), 1.5 if site == "c" else 0.0
        return replace(reply, tensors={name: t + far for name, t in reply.tensors.items()})


@pytest.mark.parametrize("method", ["fedavg", "fedbn_head", "fedavgm", "fedease_all"])
def test_a_robust_mean_holds_in_joint_and_public_rounds(tmp_path, method):
    robust, any_size = RobustMean(rule="median", neighbours=False), {"max_update_ratio": 0.0}
    honest = go(a_run(tmp_path / "honest", method), PretendEngine())
    hostile = go(a_run(tmp_path / "hostile", method, **any_size), OneHostile())
    held = go(a_run(tmp_path / "held", method, robust=robust, **any_size), OneHostile())
    for name in honest.shared:
        moved, kept = ((s.shared[name] - honest.shared[name]).abs().max() for s in (hostile, held))
        assert kept < moved / 4, name


TRIAL: dict[str, Any] = {"public_rounds": 0, "guard": Guard(share=1.0)}
"""Settings with which sites may leave in the four joint rounds."""


class OneAlone(PretendEngine):
    """One of the sites trains alone, and returns what it received."""

    def __init__(self, *sites: str) -> None:
        super().__init__()
        self.left = sites

    def reply(self, site, invite):
        reply = super().reply(site, invite)
        if invite.phase != "joint" or site not in self.left:
            return reply
        sent = {name: invite.tensors[name] for name in reply.tensors}
        return replace(reply, tensors=sent, alone=True)


@pytest.mark.parametrize("method", ["fedbn_head", "fedease"])
def test_a_site_that_trains_alone_does_not_count_in_the_mean(tmp_path, method):
    members = {name: member for name, member in MEMBERS.items() if name != "c"}
    two = go(a_run(tmp_path / "two", method, **TRIAL), PretendEngine(), members)
    run = a_run(tmp_path / "three", method, **TRIAL)
    left = go(run, OneAlone("c"))
    assert all(torch.equal(t, left.shared[n]) for n, t in two.shared.items())
    assert "c" in load_records(run.folder / "rounds")[-1].sites


def test_a_federation_that_everybody_left_stays_as_it_is(tmp_path):
    state = go(a_run(tmp_path, "fedbn_head", **TRIAL), OneAlone("a", "b", "c"))
    assert state.shared and all(torch.equal(t, INITIAL[n]) for n, t in state.shared.items())


def test_a_half_written_checkpoint_is_left_out(tmp_path):
    run = a_run(tmp_path)
    whole = go(run, PretendEngine())
    (tmp_path / "rounds" / "0004.safetensors").write_bytes(b"half")
    again = go(run, PretendEngine())
    assert torch.equal(again.shared["heads.0.weight"], whole.shared["heads.0.weight"])


def test_rounds_of_another_training_are_not_continued(tmp_path):
    go(a_run(tmp_path), PretendEngine())
    with pytest.raises(InputError, match="another training"):
        go(a_run(tmp_path, seed=1), PretendEngine())


def test_a_quorum_lets_the_round_go_on_and_names_who_failed(tmp_path):
    go(a_run(tmp_path, quorum=2), PretendEngine(fail={1: "c"}))
    record = load_records(tmp_path / "rounds")[1]
    assert set(record.sites) == {"a", "b"}
    assert record.refused == {"c": "the disk is full"}
    assert "the disk is full" in (tmp_path / "history.csv").read_text()


def test_a_training_that_lacked_a_quorum_goes_on_with_a_lower_one(tmp_path):
    with pytest.raises(FedNNUNetError, match="disk is full"):
        go(a_run(tmp_path, quorum=3), PretendEngine(fail={1: "c"}))
    assert len(load_records(tmp_path / "rounds")) == 1
    state = go(a_run(tmp_path, quorum=2), PretendEngine(fail={1: "c"}))
    assert state.round == 4


def test_a_row_of_the_history_that_an_interruption_took_comes_back(tmp_path):
    run = a_run(tmp_path)
    go(run, PretendEngine())
    whole = (tmp_path / "history.csv").read_text()
    (tmp_path / "history.csv").write_text("".join(whole.splitlines(keepends=True)[:-3]))
    go(run, PretendEngine())
    assert (tmp_path / "history.csv").read_text() == whole


def test_private_tensors_are_first_sent_in_the_public_phase(tmp_path):
    engine = PretendEngine()
    state = go(a_run(tmp_path, "fedbn_head"), engine)
    for invite in engine.asked:
        assert ("heads.0.weight" in invite.tensors) == (invite.phase == "public")
    assert state.shared.keys() == INITIAL.keys()
    body = "encoder.0.blocks.0.conv.weight"
    bodies = [invite.tensors[body] for invite in engine.asked if invite.phase == "public"]
    assert torch.equal(state.shared[body], bodies[0])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_global_model_does_not_depend_on_the_personal_phase(tmp_path, method):
    without = go(a_run(tmp_path / "a", method), PretendEngine())
    joint_only = a_run(tmp_path / "b", method, personal_rounds=3)
    engine = PretendEngine(as_if_without=3)
    state = go(joint_only, engine)
    assert without.shared.keys() == state.shared.keys()
    assert all(torch.equal(t, state.shared[n]) for n, t in without.shared.items())


@pytest.mark.parametrize("schedule", ["own", "continued"])
def test_the_personal_phase_sends_what_is_shared_once_and_nothing_comes_back(tmp_path, schedule):
    engine = PretendEngine()
    run = a_run(tmp_path, "fedbn", personal_rounds=3, personal_schedule=schedule)
    go(run, engine)
    alone = [invite for invite in engine.asked if invite.phase == "personal"]
    assert [bool(invite.tensors) for invite in alone] == [True, False, False]
    assert [invite.resume_round for invite in alone] == [4, 5, 6]
    own = schedule == "own"
    assert [invite.schedule_start for invite in alone] == ([0, 25, 50] if own else [100, 125, 150])
    assert {invite.schedule_length for invite in alone} == ({75} if own else {175})
    assert {r.shift for r in load_records(tmp_path / "rounds") if r.phase == "personal"} == {0.0}


def test_a_site_goes_on_from_its_last_round_that_was_accepted(tmp_path):
    class Listening(PretendEngine):
        def reply(self, site, invite):
            after.setdefault(site, []).append((invite.phase, invite.round, invite.resume_round))
            return super().reply(site, invite)

    after: dict = {}
    go(a_run(tmp_path, "fedbn", rounds=3, quorum=2), Listening(fail={1: "c"}))
    rounds = [("joint", 0, 0), ("joint", 1, 1), ("joint", 2, 2), ("public", 3, 0), ("public", 4, 4)]
    assert after["a"] == rounds
    assert after["c"] == [("joint", 0, 0), ("joint", 2, 1), *rounds[3:]]


def test_a_diverged_site_is_refused(tmp_path):
    class Diverged(PretendEngine):
        def reply(self, site, invite):
            reply = super().reply(site, invite)
            bad = {name: t * float("nan") for name, t in reply.tensors.items()}
            return replace(reply, tensors=bad) if site == "b" else reply

    with pytest.raises(FedNNUNetError, match="not finite") as caught:
        go(a_run(tmp_path), Diverged())
    assert "site b" in str(caught.value)


def test_a_reply_that_cannot_be_summed_is_refused_and_the_round_goes_on(tmp_path):
    class Huge(PretendEngine):
        def reply(self, site, invite):
            reply = super().reply(site, invite)
            huge = {name: t * 2.0**40 for name, t in reply.tensors.items()}
            return replace(reply, tensors=huge) if site == "b" and invite.round == 1 else reply

    state = go(a_run(tmp_path, quorum=2), Huge())
    record = load_records(tmp_path / "rounds")[1]
    assert set(record.sites) == {"a", "c"}
    assert "too large to be summed" in record.refused["b"]
    assert all(bool(torch.isfinite(t).all()) for t in state.shared.values())


@pytest.mark.parametrize("method", ["fedavg", "fedadam", "scaffold"])
def test_the_coordinator_holds_at_most_the_last_reply(tmp_path, method):
    """When a reply is made, all but the one before it are gone."""

    class Watched(PretendEngine):
        def ask(self, invites, deadline):
            held = []
            for answer in super().ask(invites, deadline):
                assert sum(tensor() is not None for tensor in held) <= len(answer.reply.tensors)
                held += [weakref.ref(t) for t in answer.reply.tensors.values()]
                yield answer
                del answer

    go(a_run(tmp_path, method), Watched())


class Unlabelled(PretendEngine):
    """Sites b and c have no labels."""

    def reply(self, site, invite):
        reply = super().reply(site, invite)
        return reply if site == "a" else replace(reply, unlabelled=reply.cases)


def test_sites_without_labels_are_added_by_the_ramp_in_joint_and_public_rounds(tmp_path):
    settings = {"method": "fedbn_head", "rounds": 1, "public_rounds": 1}
    alone = go(a_run(tmp_path / "a", **settings), PretendEngine(), {"a": Member(cases=1)})
    for start, ramp_up, added in ((1.0, 0.0, False), (0.0, 0.0, True)):
        pseudo = PseudoLabels(start=start, ramp_up=ramp_up, unlabelled_strength=1.0)
        run = a_run(tmp_path / str(start), pseudo_labels=pseudo, **settings)
        state = go(run, Unlabelled())
        for name, tensor in alone.shared.items():
            step = (state.shared[name] - tensor).abs().max()
            assert (float(step) > 0.1) is added, name
