"""What a site has agreed to: its own federation file, which every invite is held against.

The coordinator's invites are requests, not orders. A site computes from its own file which method a
run has, which phase a round belongs to, how many iterations it trains, where these lie in the
learning-rate schedule, and which tensors an invite brings. Whatever differs is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from fednnunet import records
from fednnunet.errors import RefusalError
from fednnunet.evaluation.postprocess import (
    TRIED,
    Postprocessing,
    for_every_target,
    is_tried,
)
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.pooled import run_kind
from fednnunet.federation.site.answers import TRAIN, Answers, Question
from fednnunet.federation.site.received import check_tensors, extras_of
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    ModelInvite,
    ProbeInvite,
    TrainInvite,
)
from fednnunet.federation.wire.phases import Phases
from fednnunet.network.tensors import Tensors
from fednnunet.planning.limits import check_limits
from fednnunet.planning.plan import Plan
from fednnunet.task import Task

RunInvite = TrainInvite | ProbeInvite | EvaluateInvite | ModelInvite
"""An invite that belongs to a run of the federation file."""


_RULE = "_rule_"  # in the kinds of questions with post-processing


def question_of(invite: RunInvite) -> Question:
    """What the invite asks for; it may be asked by one invite only."""
    match invite:
        case TrainInvite():
            return Question(kind=TRAIN, round=invite.round)
        case ProbeInvite():
            return Question(kind="probe", round=invite.round)
        case EvaluateInvite():
            kind = f"{invite.model}{'_best' * invite.best}{'_brief' * invite.brief}"
            if invite.rule:
                content = json.dumps(records.encode(invite.rule), sort_keys=True)
                kind += f"{_RULE}{hashlib.sha256(content.encode()).hexdigest()[:12]}"
            return Question(kind=f"evaluate_{kind}", round=invite.round)
        case ModelInvite():  # one model of a run, whatever the round
            return Question(kind="model", round=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What was agreed for one run: its method, rounds and network; `pooled` trains elsewhere."""

    method: Method
    phases: Phases
    network: Tensors
    pooled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The federation file of `site`, as the checks of what the site is asked to do.

    Every check raises RefusalError, with an advice for the coordinator.
    """

    site: str
    federation: Federation

    @property
    def iterations(self) -> int:
        """The site's local iterations in a round."""
        own = self.federation.sites[self.site].iterations_per_round
        return own or self.federation.training.iterations_per_round

    def check_task(self, task: Task) -> None:
        """The task must be the federation file's own, before anything is read by it."""
        if task != self.federation.task:
            raise _refusal("the task is not that of the site's federation file", file=True)

    def check_plan(self, plan: Plan) -> None:
        """The plan must have the file's task and configuration; PlanError where out of bounds."""
        self.check_task(plan.task)
        check_limits(plan)
        plan.configuration(self.federation.training.configuration)

    def check_configuration(self, name: str) -> None:
        """The configuration must be the one that the federation file trains."""
        if name != self.federation.training.configuration:
            raise _refusal(
                f"the configuration {name[:80]!r} is not the federation file's own", file=True
            )

    def check_run(self, run: str, method: str) -> None:
        """The federation file must name the run with this method, settings included.

        The method decides which tensors leave, so the coordinator must not choose another.
        """
        agreed = self.federation.training.runs.get(run)
        if agreed is None or label(agreed) != method:
            raise _refusal(
                f"the site did not agree to train {method!r} as the run {run!r}", file=True
            )

    def check(self, invite: RunInvite, network: Tensors, answers: Answers) -> None:
        """Everything but the run itself; `network` has a tensor of each name, shape and type."""
        terms = self._terms(invite.run, network)
        match invite:
            case TrainInvite():
                self._check_round(invite, terms)
                self._check_resume(invite, terms, answers)
                check_tensors(invite.tensors, self._sent(invite, terms))
            case ProbeInvite():
                self._check_probe(invite, terms, answers)
            case EvaluateInvite():
                self._check_evaluation(invite, terms, answers)
            case ModelInvite():
                if not self.federation.training.routed or invite.run:
                    raise _refusal("the federation file asks no site for its model (routed)")
                self._check_own_model(invite, terms, answers)

    def _terms(self, run: str, network: Tensors) -> _Terms:
        training = self.federation.training
        settings = training.runs[run]
        method, pooled = settings.build(), run_kind(settings) == "pooled"
        phases = training.phases(method, network)
        if pooled:
            phases = Phases(joint=phases.own - phases.pretraining)
        return _Terms(method=method, phases=phases, network=network, pooled=pooled)

    def _check_round(self, invite: TrainInvite, terms: _Terms) -> None:
        phases, number = terms.phases, invite.round
        member = self.federation.members.get(self.site)
        if terms.pooled or member is None:
            raise _refusal("the site does not train in this run")
        if not 0 <= number < phases.total or not member.is_in(number):
            raise _refusal(f"the site has no part in round {number + 1} of {phases.total}")
        if invite.phase != phases.of(number):
            raise _refusal(f"round {number + 1} is {phases.of(number)}, not {invite.phase}")
        agreed = (self.iterations, *phases.iterations(number, self.iterations))
        asked = (invite.iterations, invite.schedule_start, invite.schedule_length)
        if asked != agreed:
            raise _refusal(
                f"{asked[0]} iterations from {asked[1]} of {asked[2]} were asked for, "
                f"and {agreed[0]} from {agreed[1]} of {agreed[2]} agreed"
            )

    def _check_resume(self, invite: TrainInvite, terms: _Terms, answers: Answers) -> None:
        """The state to go on from: that of an answered round, and of no earlier one than before."""
        public = invite.phase == "public"
        own = {
            number: answered
            for number, answered in answers.rounds.items()
            if (terms.phases.of(number) == "public") == public and number < invite.round
        }
        least = max((answered.resume_round for answered in own.values()), default=0)
        resume = invite.resume_round
        if (resume and resume - 1 not in own) or resume < least:
            raise _refusal(f"the site did not answer round {resume} as the last one before")

    def _sent(self, invite: TrainInvite, terms: _Terms) -> Tensors:
        """The tensors that the coordinator sends in this round, and a method's extras."""
        match invite.phase:
            case "public":
                return terms.network
            case "personal":
                alone = invite.resume_round > terms.phases.joint_end
                return {} if alone else terms.method.shared(terms.network)
            case "pretraining":
                return terms.method.shared(terms.network)
            case "joint":
                got = split(invite.tensors)[1].keys()
                extras = extras_of(terms.method, terms.network, got, self.federation.sites)
                return join(terms.method.shared(terms.network), extras)

    def _check_probe(self, invite: ProbeInvite, terms: _Terms, answers: Answers) -> None:
        last = terms.phases.joint_end
        if not self.federation.training.contribution or invite.round != last:
            raise _refusal("the federation file asks for no such probe (contribution)")
        if last - 1 not in answers.rounds:
            raise _refusal("the site did not train in the last joint round")
        check_tensors(invite.tensors, terms.method.shared(terms.network))

    def _check_evaluation(self, invite: EvaluateInvite, terms: _Terms, answers: Answers) -> None:
        training, own = self.federation.training, invite.personal
        last = terms.phases.own if own else terms.phases.total
        judged = training.validate_every and invite.round % training.validate_every == 0
        if invite.brief and (not judged or invite.routed or invite.best):
            raise _refusal(f"no model is validated after round {invite.round} (validate_every)")
        if invite.rule:
            self._check_rule(invite, answers)
        if not 1 <= invite.round <= last or (own and invite.routed):
            raise _refusal(f"there is no model after round {invite.round} of {last}")
        if own:
            self._check_own_model(invite, terms, answers)
            return
        best = training.keep == "best" and judged
        if invite.best or not (invite.brief or best or invite.round == last):
            raise _refusal(f"the model after round {invite.round} is none of the results (keep)")
        check_tensors(invite.tensors, self._whole(invite, terms))

    def _check_rule(self, invite: EvaluateInvite, answers: Answers) -> None:
        """Post-processing is decided for the main training's global model, by rules all know.

        Of one model the same rule for every target is asked for, with the largest component of the
        foreground or without it, and one choice of different rules: never all combinations.
        """
        asked = self.federation.training.postprocessing and not invite.run
        if not asked or invite.personal or invite.routed or invite.brief:
            raise _refusal("the federation file asks for no such scores (postprocessing)")
        if not is_tried(invite.rule, self.federation.task):
            raise _refusal("the post-processing is none of those that are tried")
        tried = {
            foreground: {
                _with_rule(
                    invite, for_every_target(self.federation.task, rule, foreground=foreground)
                )
                for rule in TRIED
            }
            for foreground in (False, True)
        }
        own, only = question_of(invite), _with_rule(invite, Postprocessing(foreground=True))
        uniform = {only, *tried[False], *tried[True]}
        given = {answer.question for answer in answers.all if _RULE in answer.question.kind}
        given = {each for each in given if each.round == invite.round} - {own}
        others = given & tried[not invite.rule.foreground] if own != only else set()
        if others or (own not in uniform and given - uniform):
            raise _refusal("more rules were asked for than a choice of post-processing needs")

    def _whole(self, invite: EvaluateInvite, terms: _Terms) -> Tensors:
        """All tensors of the network; of each expert where experts are mixed."""
        if not invite.routed:
            return terms.network
        if not self.federation.training.routed or invite.run:
            raise _refusal("the federation file asks for no mixture of experts (routed)")
        known = {"global", *(f"site-{name}" for name in self.federation.members)}
        experts = {name.partition("/")[0] for name in invite.tensors}
        if not experts or experts - known:
            raise _refusal("the experts are not those of the federation's sites")
        return {
            f"{expert}/{name}": tensor
            for expert in experts
            for name, tensor in terms.network.items()
        }

    def _check_own_model(
        self, invite: EvaluateInvite | ModelInvite, terms: _Terms, answers: Answers
    ) -> None:
        """The site's own model: of a round that it answered, with what is shared, or as it is."""
        number = invite.round - 1
        if terms.pooled or number not in answers.rounds or number >= terms.phases.own:
            raise _refusal(f"the site has no model of its own after round {invite.round}")
        if invite.best and self.federation.training.keep != "best":
            raise _refusal("the federation file keeps the last model, not the best one (keep)")
        if invite.tensors:
            check_tensors(invite.tensors, terms.method.shared(terms.network))


def _with_rule(invite: EvaluateInvite, rule: Postprocessing) -> Question:
    return question_of(replace(invite, rule=rule))


def _refusal(what: str, *, file: bool = False) -> RefusalError:
    return RefusalError(
        what,
        mend="give coordinator and sites the same federation file",
        advice="same_federation_file" if file else "as_agreed",
    )
