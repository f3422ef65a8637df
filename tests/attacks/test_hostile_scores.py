"""A site that lies about its held-out cases when models are evaluated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.validation import ScoreChecks, Validation, global_invite
from fednnunet.federation.wire.messages import EvaluateInvite, EvaluateReply
from fednnunet.federation.wire.pictures import as_tensors
from fednnunet.training.initial import initial_tensors
from tests.federation.fakes import MEMBERS, SITES, PretendEngine, a_run

HELD_OUT = dict.fromkeys(SITES, 2)
GAIN = Gain(cases=2, mean=0.1, better=2, worse=0)


def scores(*, cases: int = 2, targets: tuple[str, ...] = ("a",)) -> SiteScores:
    sums = TargetSums(dice=MetricSum(count=2, total=1.0, squares=0.5))
    return SiteScores(cases=cases, targets=dict.fromkeys(targets, sums))


ATTACKS: dict[str, tuple[EvaluateReply, str]] = {
    "no target": (EvaluateReply(scores=scores(targets=()), round=1), "scores of 0 targets"),
    "another target": (EvaluateReply(scores=scores(targets=("b",)), round=1), "not the task's"),
    "one target more": (EvaluateReply(scores=scores(targets=("a", "b")), round=1), "2 targets"),
    "escapes as a target": (EvaluateReply(scores=scores(targets=("\x1b[2J",)), round=1), "1 targ"),
    "more cases than held out": (EvaluateReply(scores=scores(cases=3), round=1), "2 are held out"),
    "another round": (EvaluateReply(scores=scores(), round=7), "after 7 rounds, not 1"),
    "gains of a model that did not train alone": (
        EvaluateReply(scores=scores(), round=1, gains={"global": GAIN}),
        "do not belong to these scores",
    ),
    "a page as a picture": (
        EvaluateReply(scores=scores(), round=1, tensors=as_tensors({"worst": b"<script>"})),
        "not a picture as a site shares it",
    ),
    "weights as a picture": (
        EvaluateReply(scores=scores(), round=1, tensors={"w": torch.zeros(3)}),
        "not a picture as a site shares it",
    ),
}


class Judging(PretendEngine):
    """Site b gives a reply of its own when models are judged."""

    def __init__(self, reply: EvaluateReply) -> None:
        super().__init__()
        self.hostile = reply

    def ask(self, invites, deadline):
        if not isinstance(next(iter(invites.values())), EvaluateInvite):
            yield from super().ask(invites, deadline)
            return
        for site, invite in invites.items():
            honest = EvaluateReply(scores=scores(), round=invite.round)
            yield Answer(site=site, reply=self.hostile if site == "b" else honest)


@pytest.mark.parametrize("attack", ATTACKS)
def test_its_scores_do_not_count_and_the_history_says_why(tmp_path, attack):
    reply, words = ATTACKS[attack]
    run = a_run(tmp_path, "fedavg", rounds=1, validate_every=1)
    engine, initial = Judging(reply), initial_tensors(run.plan, "3d_fullres", seed=0)
    validate = Validation(
        engine=engine, run=run, names=initial.keys(), sites=SITES, held_out=HELD_OUT
    )
    run_rounds(engine, run, initial, MEMBERS, lambda record: None, validate)
    (record,) = load_records(tmp_path / "rounds")
    assert set(record.scores) == {"a", "c"}
    assert words in record.faults["b"]
    assert record.faults["b"].isprintable()


def test_the_best_model_may_be_of_an_earlier_round_and_of_no_later_one(tmp_path):
    run = a_run(tmp_path)
    invite = replace(global_invite(run, {}, 4), personal=True, best=True)
    checks = ScoreChecks(run=run, invites={"b": invite}, held_out=HELD_OUT)
    checks("b", EvaluateReply(scores=scores(), round=2))
    with pytest.raises(ReplyError, match="after 5 rounds, not 4"):
        checks("b", EvaluateReply(scores=scores(), round=5))


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({"global": GAIN}, ""),
        ({"global": replace(GAIN, cases=3)}, "over up to 3 cases"),
        ({"\x1b[2J": GAIN}, "of 1 models"),
    ],
)
def test_gains_are_of_the_main_models_over_the_held_out_cases(tmp_path, gains, words):
    run = replace(a_run(tmp_path, baselines=("local",)), name="baselines/local")
    invite = replace(global_invite(run, {}, 4), personal=True)
    checks = ScoreChecks(run=run, invites={"b": invite}, held_out=HELD_OUT)
    reply = EvaluateReply(scores=scores(), round=4, gains=gains)
    if not words:
        checks("b", reply)
        return
    with pytest.raises(ReplyError, match=words) as caught:
        checks("b", reply)
    assert str(caught.value).replace("\n", " ").isprintable()
