from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.coordinator.reply_checks import ReplyChecks
from fednnunet.federation.coordinator.update_bound import UpdateBound
from fednnunet.federation.membership import Member
from fednnunet.federation.wire.extras import join
from fednnunet.federation.wire.figures import Figures
from fednnunet.federation.wire.messages import TrainInvite, TrainReply

RECEIVED = {"w": torch.ones(4), "steps": torch.tensor(4), "head": torch.zeros(2)}
TRAINED = {"w": RECEIVED["w"], "steps": RECEIVED["steps"]}  # the head stays at the site
EXTRAS = {"control/w": torch.zeros(4)}
INVITE = TrainInvite(
    tensors=RECEIVED,
    run="",
    method="scaffold",
    round=1,
    phase="joint",
    resume_round=1,
    iterations=5,
    schedule_start=5,
    schedule_length=10,
)


def checks(filters=()) -> ReplyChecks:
    return ReplyChecks(
        invites={"a": INVITE},
        members={"a": Member(cases=3)},
        targets=2,
        trained=TRAINED,
        extras=EXTRAS,
        filters=filters,
        bound=UpdateBound(ratio=10.0, iterations=5, median=1.0),
    )


def sent(control: float = 0.5, **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return join(TRAINED | changes, {"control/w": torch.full((4,), control)})


def a_reply(**changes) -> TrainReply:
    tensors = sent(w=torch.full((4,), 1.5))
    honest = TrainReply(
        tensors=tensors,
        run="",
        round=1,
        phase="joint",
        cases=3,
        loss=0.5,
        seconds=1.0,
        wait_share=0.0,
        iterations=5,
    )
    return replace(honest, **changes)


def test_an_honest_reply_is_accepted_and_its_norms_are_kept():
    found = checks()
    reply = a_reply()
    assert found.accept("a", reply) == reply
    assert found.norms == {"a": (pytest.approx(1.0), pytest.approx(1.0))}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"round": 0}, "late: the reply is of round 1, not of round 2"),
        ({"run": "baselines/fedavg"}, "of run 'baselines/fedavg'"),
        ({"phase": "public"}, "phase public"),
        ({"cases": 4}, "4 training cases, where 3 were prepared"),
        ({"iterations": 6}, "6 iterations, not of 5"),
        ({"overlap": ((1, 0, 0),)}, "overlap is of 1 targets"),
        ({"figures": Figures(annotated_cases=(1, 2, 3))}, "figures is of 3 targets"),
        ({"held_out": ((1, 0, 0),) * 3}, "held_out is of 3 targets"),
        ({"tensors": TRAINED}, "1 tensors are missing"),
        ({"tensors": join(RECEIVED, EXTRAS)}, "1 were not asked for"),
        ({"tensors": sent(w=torch.ones(3))}, r"tensor w is \[3\]"),
        ({"tensors": sent(w=torch.full((4,), 100.0))}, "the update has norm"),
        ({"tensors": sent(control=1e9)}, "auxiliary tensors"),
        ({"tensors": sent(steps=torch.tensor(2**50))}, "steps holds a count"),
        ({"tensors": sent(steps=torch.tensor(-(2**63)))}, "steps holds a count"),
    ],
)
def test_each_deviation_is_refused_and_leaves_no_norm(changes, words):
    found = checks()
    with pytest.raises(ReplyError, match=words):
        found.accept("a", a_reply(**changes))
    assert not found.norms


def test_overlaps_of_all_targets_or_none_are_taken():
    for overlap in ((), ((1, 2, 3), (4, 5, 6))):
        checks().accept("a", a_reply(overlap=overlap, held_out=overlap))


class Halved:
    """A filter that sends half of every tensor."""

    words = "half"

    def site(self, payload, context):
        return payload | {"w": payload["w"] / 2}

    def coordinator(self, payload, context):
        return payload | {"w": payload["w"] * 2}


def test_filters_are_undone_before_the_tensors_are_checked():
    found = checks(filters=(Halved(),))
    sent = a_reply(tensors=Halved().site(a_reply().tensors, None))
    accepted = found.accept("a", sent)
    assert torch.equal(accepted.tensors["w"], a_reply().tensors["w"])
    assert found.norms["a"][0] == pytest.approx(1.0)
