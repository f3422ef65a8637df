"""What is measured of each site's contribution while the rounds go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import torch

from fednnunet.federation.coordinator.contribution import divergence, without, write_contribution
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.wire.messages import Message, ProbeInvite, ProbeReply
from fednnunet.training.initial import initial_tensors
from tests.contracts.helpers import an_invite
from tests.federation.fakes import INITIAL, MEMBERS, PretendEngine, a_run, go
from tests.federation.site_fakes import CONFIGURATION, a_trainer

NAME = "encoder.0.blocks.0.conv.weight"


class Probed(PretendEngine):
    """Sites whose model lacks the more, the larger its first weight is; `silent` says nothing."""

    def __init__(self, *, silent: str = "") -> None:
        super().__init__()
        self.silent = silent
        self.probes: list[tuple[str, ProbeInvite]] = []

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        probes = {s: i for s, i in invites.items() if isinstance(i, ProbeInvite)}
        for site, invite in probes.items():
            self.probes.append((site, invite))
            if site != self.silent:
                dice_loss = float(invite.tensors[NAME].flatten()[0]) / 10
                yield Answer(site=site, reply=ProbeReply(dice_loss=dice_loss))
        if not probes:
            yield from super().ask(invites, deadline)


def sent(*changes: tuple[float, float]) -> list[Reply]:
    return [
        Reply(site=site, tensors={NAME: torch.tensor(change)}, cases=1 + i, loss=0.0)
        for i, (site, change) in enumerate(zip("abc", changes, strict=True))
    ]


def test_apart_is_against_the_mean_of_the_others_by_cases():
    replies = sent((1.0, 0.0), (0.0, 3.0), (0.0, -1.0))
    found = divergence(State(round=0, shared={NAME: torch.zeros(2)}), replies)
    # Of a the others are 2 * (0, 3) + 3 * (0, -1) = (0, 3): a right angle.
    assert found["a"] == pytest.approx(1.0)
    # Of b they are (1, 0) + 3 * (0, -1) = (1, -3), of c (1, 0) + 2 * (0, 3) = (1, 6).
    assert found["b"] == pytest.approx(1 + 3 / 10**0.5)
    assert found["c"] == pytest.approx(1 + 6 / 37**0.5)


def test_a_model_without_a_site_is_the_others_mean():
    assert without(sent((1.0, 0.0), (0.0, 3.0), (0.0, -1.0)), "b")[NAME].tolist() == [0.25, -0.75]


def test_the_last_joint_round_asks_each_site_for_what_is_missing_without_it(tmp_path):
    engine = Probed()
    run = a_run(tmp_path, "fedbn", rounds=3, contribution=True)
    go(run, engine)
    assert [site for site, _ in engine.probes] == ["a", "b", "c"]
    assert {invite.round for _, invite in engine.probes} == {3}
    shared = set(run.method.shared(INITIAL))
    assert all(invite.tensors.keys() == shared for _, invite in engine.probes)
    records = load_records(tmp_path / "rounds")
    asked = [any(c.dice_loss is not None for c in r.contribution.values()) for r in records]
    assert asked == [False, False, True, False, False]
    assert [bool(r.contribution) for r in records] == [True, True, True, False, False]
    write_contribution(records, tmp_path)
    assert (tmp_path / "contribution.json").exists()


def test_a_site_that_does_not_answer_has_no_second_part(tmp_path):
    go(a_run(tmp_path, rounds=1, contribution=True), Probed(silent="b"))
    (record,) = load_records(tmp_path / "rounds")
    assert {s for s, c in record.contribution.items() if c.dice_loss is None} == {"b"}
    assert record.faults == {"b": "no leave-one-out Dice loss: site b gave no answer"}


@pytest.mark.parametrize(("method", "sites"), [("local", 3), ("fedavg", 1)])
def test_nothing_is_measured_where_nothing_is_given_to_others(tmp_path, method, sites):
    members = dict(list(MEMBERS.items())[:sites])
    engine = Probed()
    go(a_run(tmp_path, method, contribution=True), engine, members)
    assert not engine.probes
    assert not any(record.contribution for record in load_records(tmp_path / "rounds"))
    write_contribution(load_records(tmp_path / "rounds"), tmp_path)
    assert not (tmp_path / "contribution.json").exists()


def test_asking_or_not_does_not_change_the_models(tmp_path):
    plain, asked = (
        go(a_run(tmp_path / str(ask), contribution=ask), Probed()) for ask in (False, True)
    )
    assert all(torch.equal(t, asked.shared[name]) for name, t in plain.shared.items())


def test_a_site_judges_the_model_it_is_sent_within_its_own(tmp_path):
    trainer = a_trainer(tmp_path, "one")
    first = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
    reply = trainer.train(an_invite("fedbn", METHODS["fedbn"].shared(first), 0))
    own = ProbeInvite(tensors=reply.tensors, run="", method="fedbn", round=1)
    other = replace(own, tensors={name: -tensor for name, tensor in reply.tensors.items()})
    assert trainer.dice_loss(own) == trainer.dice_loss(own)
    assert 0 <= trainer.dice_loss(own) <= 1
    assert trainer.dice_loss(own) != trainer.dice_loss(other)
