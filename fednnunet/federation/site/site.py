"""What a site can be asked. The only code that turns a site's cases into a message.

A site reads its own folder and policy, does the work, writes what it is about to send into its
ledger, and only then hands it over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fednnunet.dataset import scan_dataset
from fednnunet.errors import (
    FedNNUNetError,
    InputError,
    RefusalError,
    ReplyError,
    name_site,
    raise_all,
)
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site import ledger
from fednnunet.federation.site.cases import SiteCases, check_annotated, site_cases, training_folder
from fednnunet.federation.site.evaluation import evaluate_at_site
from fednnunet.federation.site.policy import read_policy
from fednnunet.federation.site.trainer import SiteTrainer
from fednnunet.federation.spec import Federation
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
    pack,
    sums,
    unpack,
)
from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.planning.minimum_counts import (
    check_cases,
    release_fingerprint,
    release_shapes,
)
from fednnunet.planning.plan import Plan
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.preprocess.store import Store, prepare_site
from fednnunet.task import Task

Progress = Callable[[int, int, str], None]


class Site:
    """One hospital: its folder of cases, and its own working folder `base`.

    Cases are prepared in `base/prepared`, or in a folder `prepared` that several runs share.
    `progress(site, done, total, what)` is told of every step that takes long.
    """

    def __init__(
        self,
        name: str,
        federation: Federation,
        base: Path,
        *,
        prepared: Path | None = None,
        progress: Callable[[str, int, int, str], None] | None = None,
    ) -> None:
        self.name = name
        self.base = base
        self.spec = federation.sites[name]
        self._federation = federation
        self._training = federation.training
        self._policy = read_policy(self.spec.policy, self.spec.folder)
        self._prepared_folder = prepared or base / "prepared"
        self._progress = progress
        self._measured: Sequence[CaseFingerprint] | None = None
        self._task: Task | None = None
        self._ready: _Ready | None = None

    def answer(self, data: bytes) -> bytes:
        """Take an invite as bytes and return the reply as bytes.

        Raises a FedNNUNetError that names the site where it cannot or will not answer.
        """
        invite = unpack(data, sender="the coordinator")
        try:
            reply = self._work(invite)
        except FedNNUNetError as error:
            name_site(error, self.name, self.spec.folder)
            raise
        out = pack(reply)
        ledger.record(
            self.base / "ledger.jsonl",
            kind=type(reply).__name__,
            words=reply.words,
            data=out,
            detail=_beside(invite),
        )
        return out

    def _work(self, invite: Message) -> Message:
        if isinstance(invite, (TrainInvite, ProbeInvite, EvaluateInvite, ModelInvite)):
            self._check_agreed(invite.run, invite.method)
        match invite:
            case MeasureInvite():
                return self._measure(invite.task)
            case ShapesInvite():
                return self._count_shapes(invite.spacing_mm)
            case PrepareInvite():
                return self._prepare(invite.plan, invite.configuration)
            case TrainInvite():
                return self._train(invite)
            case ProbeInvite():
                return ProbeReply(dice_loss=self.trainer.dice_loss(invite))
            case EvaluateInvite():
                return self._evaluate(invite)
            case ModelInvite():
                return self._give_model(invite)
        raise ReplyError(
            f"a site is not asked for a {type(invite).__name__}",
            mend="both sides must run the same version",
        )

    def _check_agreed(self, run: str, method: str) -> None:
        """Refuse a training that the site's own federation file does not name.

        The method decides which tensors leave, so the coordinator must not choose another.
        """
        if self._training.runs.get(run) != method:
            raise RefusalError(
                f"the site did not agree to train {method!r} as the run {run!r}",
                mend="give coordinator and sites the same federation file",
            )

    def _measure(self, task: Task) -> FingerprintReply:
        self._check_layout(task)
        cases = training_folder(self.spec, task, site=self.name)
        check_cases(len(cases), self._policy.required_cases, site=self.name)
        self._measured = measure_cases(
            cases, task, workers=self._federation.budget.workers, progress=self._tell
        )
        self._task = task
        drawn = self._federation.annotated_values(self.name)
        check_annotated(cases, self._measured, task, drawn, site=self.name)
        whole = release_fingerprint(task, self._measured, min_bin_count=self._policy.min_bin_count)
        return FingerprintReply(tensors=sums(whole.to_vector()))

    def _check_layout(self, task: Task) -> None:
        """Raise what is wrong with the folder, together with what is wrong with its whole cases."""
        dataset, faults = scan_dataset(self.spec.folder, task, site=self.name)
        if not faults:
            return
        found: list[FedNNUNetError] = list(faults)
        try:
            workers = self._federation.budget.workers
            measure_cases(dataset.cases, task, workers=workers, progress=self._tell)
        except FedNNUNetError as error:
            found.append(error)
        raise_all(f"the folder of site {self.name} cannot be used", found)

    def _count_shapes(self, spacing_mm: tuple[float, float, float]) -> ShapesReply:
        if self._measured is None:
            raise RefusalError(
                "the site has not measured its cases yet", mend="ask for the fingerprint first"
            )
        pairs = [(case.spacing_mm, case.shape_vox) for case in self._measured]
        whole = release_shapes(spacing_mm, pairs, min_bin_count=self._policy.min_bin_count)
        return ShapesReply(tensors=sums(whole.to_vector()))

    def _prepare(self, plan: Plan, configuration: str) -> PrepareReply:
        labelled = training_folder(self.spec, plan.task, site=self.name)
        check_cases(len(labelled), self._policy.required_cases, site=self.name)
        cases = site_cases(self.spec, plan.task, self._training, site=self.name)
        prepare = partial(
            prepare_site,
            plan=plan,
            configuration_name=configuration,
            workers=self._federation.budget.workers,
            memory_gib=self.spec.memory_gib or self._federation.budget.memory_gib,
            progress=self._tell,
        )
        store = prepare(cases.training, folder=self._prepared_folder / configuration)
        judged = cases.held_out if cases.training else ()
        held_out = prepare(judged, folder=self._prepared_folder / f"{configuration}_held_out")
        self._ready = _Ready(plan, configuration, cases, store, held_out)
        return PrepareReply(training_cases=len(cases.training), held_out_cases=len(cases.held_out))

    def _train(self, invite: TrainInvite) -> TrainReply:
        return self.trainer.train(invite, progress=self._tell)

    def _evaluate(self, invite: EvaluateInvite) -> EvaluateReply:
        ready = self._prepared()
        bundle = self.trainer.bundle(invite)
        folder = self.base / invite.run / "held_out" / invite.model
        scores = evaluate_at_site(
            bundle,
            ready.cases.held_out,
            folder,
            device=self._training.device,
            annotated=self._federation.annotated_values(self.name),
            pictures=not invite.brief,
            progress=self._tell,
        )
        self.trainer.keep_best(invite, scores.mean())
        told = scores.of_at_least(self._policy.min_scored_cases)
        return EvaluateReply(scores=told, round=self.trainer.reached(invite))

    def _give_model(self, invite: ModelInvite) -> ModelReply:
        if not self._policy.share_model:
            raise RefusalError(
                "the site does not give its own model away",
                mend="if it may, the site sets share_model = true in its own policy",
            )
        wanted = EvaluateInvite(
            tensors=invite.tensors,
            run=invite.run,
            method=invite.method,
            round=invite.round,
            personal=True,
            best=invite.best,
        )
        return ModelReply(tensors=self.trainer.bundle(wanted).weights)

    @property
    def trainer(self) -> SiteTrainer:
        """What trains here; raises InputError before the site has prepared its cases."""
        ready = self._prepared()
        return SiteTrainer(
            base=self.base,
            plan=ready.plan,
            configuration_name=ready.configuration,
            store=ready.store,
            cases=tuple(case.name for case in ready.cases.training),
            annotated=self._federation.annotated_values(self.name),
            training=self._training,
            memory_gib=self.spec.memory_gib,
            name=self.name,
            held_out=ready.held_out,
            held_out_cases=ready.held_out.names,
            policy=self._policy,
        )

    def _prepared(self) -> _Ready:
        if self._ready is None:
            raise InputError(
                "the site has not prepared its cases", mend="send it the plan before training"
            )
        return self._ready

    def _tell(self, done: int, total: int, what: str) -> None:
        if self._progress:
            self._progress(self.name, done, total, what)


def _beside(invite: Message) -> str:
    """What the reply to `invite` holds beside the network's weights, in words."""
    if not isinstance(invite, TrainInvite) or invite.phase != "joint":
        return ""
    return METHODS[invite.method].extras_words


class _Ready:
    """A site after preparation."""

    def __init__(
        self, plan: Plan, configuration: str, cases: SiteCases, store: Store, held_out: Store
    ) -> None:
        self.plan = plan
        self.configuration = configuration
        self.cases = cases
        self.store = store
        self.held_out = held_out
