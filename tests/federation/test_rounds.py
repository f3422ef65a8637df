"""The coordinator's loop over a pretend engine: no site, no network, no training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fednnunet.errors import DataError, FedNNUNetError, InputError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.spec import Training
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import Message, TrainInvite, TrainReply
from fednnunet.planning.plan import (
    Architecture,
    Configuration,
    Intensity,
    Plan,
    Stage,
)
from fednnunet.task import Task

INITIAL = {
    "encoder.0.blocks.0.conv.weight": torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1, 1),
    "encoder.0.blocks.0.norm.weight": torch.ones(2),
    "heads.0.weight": torch.full((2, 2, 1, 1, 1), 3.0),
}
SITES = ("a", "b", "c")
MEMBERS = {site: Member(cases=i + 1) for i, site in enumerate(SITES)}


def a_plan() -> Plan:
    stages = (
        Stage(features=4, kernel=(3, 3, 3), stride=(1, 1, 1), convs=1, decoder_convs=1),
        Stage(features=8, kernel=(3, 3, 3), stride=(2, 2, 2), convs=1, decoder_convs=0),
    )
    configuration = Configuration(
        name="3d_fullres",
        spacing_mm=(1.0, 1.0, 1.0),
        patch_vox=(8, 8, 8),
        batch=2,
        median_shape_vox=(16.0, 16.0, 16.0),
        normalisation=("zscore",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    intensity = Intensity(
        mean=0, median=0, std=1, min=-1, max=1, percentile_00_5=-1, percentile_99_5=1
    )
    return Plan(
        task=Task(name="t", channels=("MRI",), labels=("background", "a")),
        planner="cpu",
        configurations=(configuration,),
        intensity=(intensity,),
        cases=6,
    )


class PretendEngine:
    """Sites that add a number of their own to every tensor that they are asked to train."""

    sites = SITES

    def __init__(
        self,
        *,
        backwards: bool = False,
        fail: Mapping[int, str] | None = None,
        as_if_without: int = 0,
    ) -> None:
        self.backwards = backwards
        self.as_if_without = as_if_without
        self.fail = fail or {}
        self.asked: list[TrainInvite] = []

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        names = sorted(invites, reverse=self.backwards)
        for place, site in enumerate(names):
            invite = invites[site]
            assert isinstance(invite, TrainInvite)
            if place == 0:
                self.asked.append(invite)
            if self.fail.get(invite.round) == site:
                yield Answer(site=site, error=DataError("the disk is full"))
                continue
            yield Answer(site=site, reply=self.reply(site, invite))

    def reply(self, site: str, invite: TrainInvite) -> TrainReply:
        method = METHODS[invite.method]
        tensors = method.outgoing(split(invite.tensors)[0], invite.phase)
        beside = method.extras_like(INITIAL) if invite.phase == "joint" else {}
        number = invite.round - (self.as_if_without if invite.phase == "public" else 0)
        step = (SITES.index(site) + 1) * 0.1 * (number + 1)
        return TrainReply(
            tensors=join(
                {name: t + step for name, t in tensors.items()},
                {name: torch.full_like(t, step) for name, t in beside.items()},
            ),
            round=invite.round,
            cases=SITES.index(site) + 1,
            loss=1.0,
            seconds=0.0,
            wait_share=0.0,
        )


def a_run(folder: Path, method: str = "fedavg", **settings) -> Run:
    training = replace(Training(method=method, rounds=4, public_rounds=2), **settings)
    return Run(name="", method_name=method, folder=folder, plan=a_plan(), training=training)


def go(run: Run, engine: PretendEngine, members: Mapping[str, Member] | None = None):
    return run_rounds(engine, run, INITIAL, members or MEMBERS, lambda record: None)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_order_of_replies_does_not_matter(tmp_path, method):
    forward = go(a_run(tmp_path / "a", method), PretendEngine())
    backward = go(a_run(tmp_path / "b", method), PretendEngine(backwards=True))
    assert forward.shared.keys() == backward.shared.keys()
    assert all(torch.equal(t, backward.shared[n]) for n, t in forward.shared.items())


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("stop", [1, 2, 4, 5, 6])
def test_all_rounds_equal_some_rounds_a_restart_and_the_rest(tmp_path, method, stop):
    whole = go(a_run(tmp_path / "whole", method, personal_rounds=2), PretendEngine())
    broken = a_run(tmp_path / "broken", method, personal_rounds=2)
    with pytest.raises(FedNNUNetError, match="the disk is full"):
        go(broken, PretendEngine(fail={min(stop, whole.round - 1): "b"}))
    again = go(broken, PretendEngine())
    assert all(torch.equal(t, again.shared[n]) for n, t in whole.shared.items())
    records = load_records(broken.folder / "rounds")
    assert [record.round for record in records] == list(range(1, whole.round + 1))


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
