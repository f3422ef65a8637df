"""What a site can be asked. The only code that turns a site's cases into a message.

A site reads its own folder and policy and does the work; `wall` writes the reply to the ledger and
sends it, or a fault in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fednnunet.errors import FedNNUNetError, InputError, RefusalError, ReplyError
from fednnunet.federation.given_start import receive_start
from fednnunet.federation.site import approval
from fednnunet.federation.site.agreement import Agreement, RunInvite, question_of
from fednnunet.federation.site.answers import FOLDER as ANSWERS
from fednnunet.federation.site.answers import Answered, Answers
from fednnunet.federation.site.cases import SiteCases, site_cases, training_folder
from fednnunet.federation.site.evaluation import evaluate_at_site
from fednnunet.federation.site.incoming import Incoming
from fednnunet.federation.site.layout import check_layout
from fednnunet.federation.site.ledger import About
from fednnunet.federation.site.masking import SiteMasking
from fednnunet.federation.site.measurements import FOLDER_NAME as MEASUREMENTS
from fednnunet.federation.site.measurements import MeasurementStore
from fednnunet.federation.site.models import SiteModels
from fednnunet.federation.site.places import inside
from fednnunet.federation.site.policy import read_policy
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.private_planning import count_planning, patient_weights
from fednnunet.federation.site.private_training import cases_by_patient, check_before_training
from fednnunet.federation.site.reply_words import reply_words
from fednnunet.federation.site.report import HELD_OUT, report_site
from fednnunet.federation.site.restart import ProgressRecords
from fednnunet.federation.site.score_reply import ScoreReplies
from fednnunet.federation.site.trainer import SiteTrainer
from fednnunet.federation.site.wall import OnFault, Outgoing, Wall
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.chain import digest
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    EvaluateReply,
    FingerprintReply,
    MeasureInvite,
    Message,
    ModelInvite,
    ModelReply,
    PrepareInvite,
    PrepareReply,
    ProbeInvite,
    ProbeReply,
    ShapesInvite,
    ShapesReply,
    TrainInvite,
    TrainReply,
    sums,
)
from fednnunet.federation.wire.secure_messages import SecureInvite
from fednnunet.planning.minimum_counts import check_cases
from fednnunet.planning.plan import Plan
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.preprocess.store import Store, prepare_site
from fednnunet.task import Task


class Site:
    """One hospital: its folder of cases, and its own working folder `base`.

    Cases are prepared in `base/prepared`, or in a folder `prepared` that several runs share.
    `progress(site, done, total, what)` is told of every step that takes long, `on_iteration(site,
    done, total)` of every iteration of training, `on_fault` of every fault with all its details:
    they are for the site's own terminal. After a restart a site goes on from the records in `base`.
    Raises InputError where the site's own policy cannot be used.
    """

    def __init__(
        self,
        name: str,
        federation: Federation,
        base: Path,
        *,
        prepared: Path | None = None,
        progress: Callable[[str, int, int, str], None] | None = None,
        on_fault: OnFault | None = None,
        on_iteration: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.name = name
        self.base = base
        self.spec = federation.sites[name]
        self._federation = federation
        self._training = federation.training
        self._policy = read_policy(self.spec.policy, self.spec.folder)
        self._prepared_folder = prepared or base / "prepared"
        self._progress, self._on_iteration = progress, on_iteration
        limits = self._policy.outgoing
        self._wall = Wall(name, base, self.spec.folder, on_fault=on_fault, limits=limits)
        self._records = ProgressRecords(base)
        self._agreement = Agreement(site=name, federation=federation)
        self._measurements = MeasurementStore(
            folder=base / MEASUREMENTS,
            min_cases=self._policy.required_cases,
            min_bin_count=self._policy.min_bin_count,
            noise=self._policy.fingerprint_noise,
        )
        self._masking = SiteMasking(name, base, federation, self._policy)
        self._incoming = Incoming.at(name, base, federation, self._policy, self._wall.log)
        self._scores = ScoreReplies(base=base, policy=self._policy, log=self._wall.log)
        self._ready: _Ready | None = None

    def approve(self, plan: Plan) -> None:
        """Take up the approval of `plan` by a person at the site, in place of any earlier one.

        It is for the rounds of the site's federation file; for more it is asked for again.

        Raises PlanError where the plan is out of bounds for any site, and RefusalError where it is
        for another task than the federation file's.
        """
        self._agreement.check_plan(plan)
        approval.approve_training(self.base, plan, self._training)

    def answer(self, data: bytes) -> bytes:
        """Take an invite as bytes and return the reply as bytes, a `FaultReply` for every fault."""
        return self._wall.answer(data, lambda invite: self._respond(invite, digest(data)))

    def fail(self, data: bytes, error: FedNNUNetError) -> bytes:
        """The reply to an invite whose answer failed outside of this process."""

        def work(invite: Message) -> Outgoing:
            raise error

        return self._wall.answer(data, work)

    def _respond(self, invite: Message, invite_digest: str) -> Outgoing:
        """The reply to an invite; to one that was answered before, the bytes that were sent.

        An evaluation is done again all the same, for the site's own masks, pictures and report.
        """
        if isinstance(invite, SecureInvite):
            return Outgoing.of(self._masking.respond(invite))
        if not isinstance(invite, RunInvite):
            self._masking.check(invite)
            return Outgoing.of(self._masking.reply(invite, self._plan(invite)))
        self._agreement.check_run(invite.run, invite.method)
        if isinstance(invite, ModelInvite):
            self._check_model_may_leave()
        invite, network = self._incoming.whole(invite), self.prepared.network
        answers = Answers(inside(self.base, invite.run, ANSWERS))
        self._agreement.check(invite, network, answers)
        self._masking.check(invite)
        self._incoming.check(invite, answers)
        question, invite_digest = question_of(invite), self._incoming.digest(invite, invite_digest)
        found = answers.find(question, invite_digest)
        if not self._masking.is_done(invite):
            found = None
        if found is None or isinstance(invite, EvaluateInvite):
            reply = Outgoing.of(self._masking.reply(invite, self._work(invite)))
        if found is None:
            answered = Answered(
                question=question,
                invite=invite_digest,
                reply=digest(reply.data),
                message=reply.message,
                resume_round=invite.resume_round if isinstance(invite, TrainInvite) else 0,
            )
            answers.keep(answered, reply.data)
            self._masking.keep_done(invite)
            found = answered, reply.data
        message, data = found[0].message, found[1]
        words = reply_words(invite, data, self._training, site=self.name)
        return Outgoing(message=message, data=data, about=About(detail=words))

    def _plan(self, invite: Message) -> Message:
        """The reply to an invite that comes before any training."""
        match invite:
            case MeasureInvite():
                self._agreement.check_task(invite.task)
                return self._measure(invite.task)
            case ShapesInvite():
                return self._count_shapes(invite.spacing_mm)
            case PrepareInvite():
                reply = self._prepare(invite.plan, invite.configuration)
                receive_start(self.base, invite.tensors, self._training.start)
                return reply
        raise ReplyError(
            f"a site cannot answer a {type(invite).__name__}",
            mend="give coordinator and sites the same version of the program",
        )

    def _work(self, invite: RunInvite) -> Message:
        """The reply to an invite that keeps to the agreement."""
        match invite:
            case TrainInvite():
                return self._train(invite)
            case ProbeInvite():
                return ProbeReply(dice_loss=SiteModels(self.prepared).dice_loss(invite))
            case EvaluateInvite():
                return self._evaluate(invite)
            case ModelInvite():
                return self._give_model(invite)

    def _measure(self, task: Task) -> FingerprintReply:
        workers = self._federation.budget.workers
        check_layout(self.spec, task, site=self.name, workers=workers, progress=self._tell)
        cases = training_folder(self.spec, task, site=self.name)
        check_cases(len(cases), self._policy.required_cases, site=self.name)
        measured = measure_cases(cases, task, workers=workers, progress=self._tell)
        answer = self._measurements.fingerprint(task, measured, patient_weights(cases))
        count_planning(answer, self.base, self._training, self._policy, site=self.name)
        if answer.warning:
            self._wall.log(answer.warning)
        return FingerprintReply(tensors=sums(answer.vector))

    def _count_shapes(self, spacing_mm: tuple[float, float, float]) -> ShapesReply:
        """The histogram of resampled shapes of the cases in the last fingerprint."""
        answer = self._measurements.shapes(spacing_mm)
        count_planning(answer, self.base, self._training, self._policy, site=self.name)
        return ShapesReply(tensors=sums(answer.vector))

    def _prepare(self, plan: Plan, configuration: str) -> PrepareReply:
        self._agreement.check_configuration(configuration)
        self._agreement.check_plan(plan)
        approval.check_training_approved(self.base, plan, self._training)
        labelled = training_folder(self.spec, plan.task, site=self.name)
        check_cases(len(labelled), self._policy.required_cases, site=self.name)
        cases = site_cases(self.spec, plan.task, self._training, self._policy, site=self.name)
        patients = len(cases_by_patient(cases.training))
        check_before_training(self._training, self._policy, plan, patients, site=self.name)
        prepare = partial(
            prepare_site,
            plan=plan,
            configuration_name=configuration,
            workers=self._federation.budget.workers,
            memory_gib=self.spec.memory_gib or self._federation.budget.memory_gib,
            progress=self._tell,
        )
        place = partial(inside, self._prepared_folder)
        store = prepare(cases.training, folder=place(configuration))
        patches_of = cases.held_out if cases.training else ()
        held_out = prepare(patches_of, folder=place(f"{configuration}_held_out"))
        self._ready = _Ready(
            plan=plan, configuration=configuration, cases=cases, store=store, held_out=held_out
        )
        self._records.keep_prepared(plan, configuration)
        return PrepareReply(training_cases=len(cases.training), held_out_cases=len(cases.held_out))

    def _train(self, invite: TrainInvite) -> TrainReply:
        reply = SiteTrainer(self.prepared).train(invite, progress=self._tell_iteration)
        return replace(reply, head=self._incoming.head)

    def _evaluate(self, invite: EvaluateInvite) -> EvaluateReply:
        ready, models = self._prepared(), SiteModels(self.prepared)
        folder = inside(self.base, invite.run, HELD_OUT, invite.model)
        scores = evaluate_at_site(
            models.bundle(invite),
            ready.cases.scored,
            folder,
            device=self._training.device,
            pictures=not invite.figures_only,
            rule=self._scores.rule(invite),
            progress=self._tell,
        )
        models.keep_best(invite, scores.mean())
        if not invite.figures_only:
            report_site(self.name, self.base, task=ready.plan.task, policy=self._policy)
        reached = models.reached(invite)
        reply = self._scores.reply(invite, scores, ready.cases.scored, reached=reached)
        models.keep_scores(invite, reply.scores)
        return reply

    def _check_model_may_leave(self) -> None:
        if not self._policy.share_model:
            raise RefusalError(
                "the site does not give its own model away",
                mend="if it may, the site sets share_model = true in its own policy",
                advice="model_stays",
            )

    def _give_model(self, invite: ModelInvite) -> ModelReply:
        wanted = EvaluateInvite(
            tensors=invite.tensors,
            run=invite.run,
            method=invite.method,
            round=invite.round,
            personal=True,
            best=invite.best,
        )
        return ModelReply(tensors=SiteModels(self.prepared).bundle(wanted).weights)

    @property
    def prepared(self) -> PreparedSite:
        """What the site trains and evaluates with; raises InputError before it has prepared."""
        ready = self._prepared()
        scored = {case.name for case in ready.cases.scored}
        return PreparedSite(
            base=self.base,
            plan=ready.plan,
            configuration_name=ready.configuration,
            store=ready.store,
            cases=tuple(case.name for case in ready.cases.training),
            case_weights=ready.cases.weights,
            supervision=ready.cases.supervision(self.spec.agreed_labels(ready.plan.task)),
            training=self._training,
            memory_gib=self.spec.memory_gib,
            name=self.name,
            held_out=ready.held_out,
            held_out_cases=tuple(name for name in ready.held_out.names if name in scored),
            patients=cases_by_patient(ready.cases.training),
            patients_stated=bool(self.spec.patient),
            policy=self._policy,
            log=self._wall.log,
            sites=len(self._federation.members),
        )

    def _prepared(self) -> _Ready:
        """The site after preparation; after a restart it prepares what is missing by its record."""
        record = None if self._ready else self._records.prepared()
        if record:
            self._prepare(record.plan, record.configuration)
        if self._ready is None:
            raise InputError(
                "the site has not prepared its cases",
                mend="send it the plan before training",
                advice="send_plan_first",
            )
        return self._ready

    def _tell_iteration(self, done: int, total: int, what: str) -> None:
        self._tell(done, total, what)
        if self._on_iteration:
            self._on_iteration(self.name, done, total)

    def _tell(self, done: int, total: int, what: str) -> None:
        if self._progress:
            self._progress(self.name, done, total, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A site after preparation."""

    plan: Plan
    configuration: str
    cases: SiteCases
    store: Store
    held_out: Store
