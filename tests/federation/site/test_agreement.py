from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from fednnunet.errors import PlanError, RefusalError
from fednnunet.evaluation.postprocess import (
    TRIED,
    Postprocessing,
    TargetRule,
    for_every_target,
)
from fednnunet.federation.site.agreement import Agreement, question_of
from fednnunet.federation.site.answers import TRAIN, Answered, Answers, Question
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    ModelInvite,
    ProbeInvite,
    TrainInvite,
)
from tests.training.fakes import small_plan

PLAN = small_plan()[0]
NETWORK = {
    "encoder.0.blocks.0.conv.weight": torch.ones(2),
    "encoder.0.blocks.0.norm.weight": torch.ones(2),
}
SHARED = {name: tensor for name, tensor in NETWORK.items() if "norm" not in name}


@dataclass(frozen=True)
class Terms:
    """An agreement of the site `north`, and what it has answered."""

    agreement: Agreement
    answers: Answers

    def answered(self, *rounds: int) -> Terms:
        for number in rounds:
            question = Question(kind=TRAIN, round=number)
            found = Answered(question=question, invite="", reply="", message="TrainReply")
            self.answers.keep(found, b"reply")
        return self

    def check(self, invite) -> None:
        self.agreement.check(invite, NETWORK, self.answers)

    def refuses(self, invite, words: str) -> None:
        with pytest.raises(RefusalError, match=words) as caught:
            self.check(invite)
        assert caught.value.advice == "as_agreed"


def terms(folder: Path, site: SiteSpec | None = None, **training) -> Terms:
    values = {"method": "fedbn", "rounds": 2, "personal_rounds": 2, "public_rounds": 1}
    federation = Federation(
        task=PLAN.task,
        sites={
            "north": site or SiteSpec(folder=folder),
            "south": SiteSpec(folder=folder),
        },
        training=Training(**(values | {"iterations_per_round": 3} | training)),
    )
    agreement = Agreement(site="north", federation=federation)
    return Terms(agreement, Answers(folder / "answers"))


def an_invite(number: int, phase: str = "joint", **changes) -> TrainInvite:
    honest = TrainInvite(
        tensors=NETWORK if phase == "public" else SHARED,
        run="",
        method="fedbn",
        round=number,
        phase=phase,
        resume_round=0 if phase == "public" else number,
        iterations=3,
        schedule_start=3 * number,
        schedule_length=12,
    )
    return replace(honest, **changes)


def test_each_invite_asks_one_question():
    evaluation = EvaluateInvite(run="", method="fedbn", round=2, personal=True)
    assert question_of(an_invite(1)) == Question(kind=TRAIN, round=1)
    assert question_of(ProbeInvite(run="", method="m", round=2)).kind == "probe"
    assert question_of(ModelInvite(run="", method="m", round=9)) == Question(kind="model", round=0)
    kinds = {
        question_of(replace(evaluation, best=best, brief=brief)).kind
        for best in (False, True)
        for brief in (False, True)
    }
    assert len(kinds) == 4


def test_the_agreed_rounds_pass_in_order(tmp_path):
    found = terms(tmp_path)
    for number in range(2):
        found.check(an_invite(number))
        found.answered(number)


def test_rounds_phases_and_schedules_are_the_files_own(tmp_path):
    found = terms(tmp_path)
    found.refuses(an_invite(5), "no part in round 6 of 5")
    found.refuses(an_invite(0, phase="public"), "round 1 is joint, not public")
    found.refuses(an_invite(0, iterations=4), "4 iterations from 0 of 12 were asked for, and 3")
    found.refuses(an_invite(0, schedule_start=1), "from 1 of 12")
    found.refuses(an_invite(0, schedule_length=9), "from 0 of 9")


def test_a_sites_own_iterations_and_membership_count(tmp_path):
    own = terms(tmp_path, SiteSpec(folder=tmp_path, iterations_per_round=7))
    assert own.agreement.iterations == 7
    own.check(an_invite(0, iterations=7, schedule_length=28))
    own.refuses(an_invite(0), "and 7 from 0 of 28 agreed")
    late = terms(tmp_path, SiteSpec(folder=tmp_path, joins=2))
    late.refuses(an_invite(0), "no part in round 1")
    outside = terms(tmp_path, SiteSpec(folder=tmp_path, trains=False))
    outside.refuses(an_invite(0), "does not train in this run")


def test_a_training_goes_on_from_an_answered_round_and_no_earlier_one(tmp_path):
    found = terms(tmp_path)
    found.refuses(an_invite(1), "did not answer round 1")
    found.answered(0)
    found.check(an_invite(1))
    found.check(an_invite(1, resume_round=0))  # the round was not counted


def test_shared_tensors_only_are_taken(tmp_path):
    found = terms(tmp_path)
    found.refuses(an_invite(0, tensors=NETWORK), "brings the tensor 'encoder.0.blocks.0.norm")
    found.refuses(an_invite(0, tensors={}), "lacks the tensor")


def test_task_plan_configuration_and_run_are_the_files_own(tmp_path):
    agreement = terms(tmp_path, baselines=("fedprox",)).agreement
    agreement.check_task(PLAN.task)
    agreement.check_plan(PLAN)
    agreement.check_configuration("3d_fullres")
    agreement.check_run("", "fedbn")
    agreement.check_run("baselines/fedprox", "fedprox")
    other = replace(PLAN.task, labels=("background", "a"))
    for refused in (
        lambda: agreement.check_task(other),
        lambda: agreement.check_configuration("2d"),
        lambda: agreement.check_run("", "fedavg"),
        lambda: agreement.check_run("baselines/scaffold", "scaffold"),
    ):
        with pytest.raises(RefusalError) as caught:
            refused()
        assert caught.value.advice == "same_federation_file"
    single = replace(PLAN.configurations[0], batch=1)
    with pytest.raises(PlanError, match="the batch of 3d_fullres is 1"):
        agreement.check_plan(replace(PLAN, configurations=(single,)))


def test_probes_and_models_need_a_setting_of_the_file(tmp_path):
    probe = ProbeInvite(tensors=SHARED, run="", method="fedbn", round=2)
    model = ModelInvite(run="", method="fedbn", round=2)
    terms(tmp_path).answered(0, 1).refuses(probe, "asks for no such probe")
    terms(tmp_path).refuses(model, "asks no site for its model")
    terms(tmp_path, contribution=True).check(probe)
    terms(tmp_path, routed=True).check(model)
    terms(tmp_path / "new", contribution=True).refuses(probe, "did not train in the last")


def test_only_the_last_model_is_evaluated_unless_the_file_says_otherwise(tmp_path):
    found = terms(tmp_path).answered(0, 1)
    own = EvaluateInvite(run="", method="fedbn", round=2, personal=True)
    whole = EvaluateInvite(tensors=NETWORK, run="", method="fedbn", round=5, personal=False)
    found.check(own)
    found.check(whole)
    found.refuses(replace(whole, round=2), "is none of the results")
    found.refuses(replace(whole, round=6), "no model after round 6 of 5")
    found.refuses(replace(own, best=True), "keeps the last model")
    found.refuses(replace(own, round=3), "no model of its own after round 3")
    found.refuses(replace(whole, round=2, brief=True), "no model is validated")
    terms(tmp_path, validate_every=2).check(replace(whole, round=2, brief=True))


def test_post_processing_is_tried_by_known_rules_of_the_global_model_only(tmp_path):
    (target, *_) = PLAN.task.targets
    known = for_every_target(PLAN.task, TRIED[0], foreground=True)
    other = Postprocessing(targets={target: TargetRule(min_mm3=12.5)})
    invite = EvaluateInvite(
        tensors=NETWORK, run="", method="fedbn", round=5, personal=False, rule=known
    )
    terms(tmp_path / "off").refuses(invite, r"no such scores \(postprocessing\)")
    agreed = terms(tmp_path / "on", postprocessing=True)
    agreed.check(invite)
    agreed.refuses(replace(invite, rule=other), "none of those that are tried")
    agreed.refuses(replace(invite, personal=True), "no such scores")
    terms(tmp_path / "both", postprocessing=True, validate_every=1).refuses(
        replace(invite, brief=True), "no such scores"
    )
    assert question_of(invite) != question_of(replace(invite, rule=Postprocessing()))
    assert question_of(invite) == question_of(replace(invite, tensors={}))


def test_rules_beyond_one_choice_of_post_processing_are_refused(tmp_path):
    """The foreground, each rule for all targets, and one choice of different rules."""
    task, (target, *_) = PLAN.task, PLAN.task.targets
    invite = EvaluateInvite(tensors=NETWORK, run="", method="fedbn", round=5, personal=False)
    agreed = terms(tmp_path, postprocessing=True)
    choice, second = (
        Postprocessing(foreground=True, targets={target: TRIED[number]}) for number in (0, 1)
    )
    uniform = [for_every_target(task, rule, foreground=True) for rule in TRIED]
    for rule in (Postprocessing(foreground=True), *uniform, choice):
        asked = replace(invite, rule=rule)
        agreed.check(asked)
        question = question_of(asked)
        agreed.answers.keep(
            Answered(question=question, invite="", reply="", message="EvaluateReply"), b"reply"
        )
    agreed.check(replace(invite, rule=choice))  # as a coordinator asks that was restarted
    agreed.check(replace(invite, rule=uniform[0]))
    agreed.refuses(replace(invite, rule=second), "more rules were asked for")
    other = for_every_target(task, TRIED[0], foreground=False)
    agreed.refuses(replace(invite, rule=other), "more rules were asked for")
