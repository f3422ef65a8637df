"""From a plan to models and their scores: prepare, train, evaluate; then each baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from fednnunet import records
from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.contribution import write_contribution
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import Waiting, ask_quorum
from fednnunet.federation.coordinator.extension import check_rounds_done
from fednnunet.federation.coordinator.history import RoundRecord, check_key, load_records
from fednnunet.federation.coordinator.pictures import keep_pictures
from fednnunet.federation.coordinator.round_log import RoundLog
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.coordinator.stated import check_prepared_cases, read_stated
from fednnunet.federation.coordinator.validation import (
    ScoreChecks,
    Validation,
    global_invite,
)
from fednnunet.federation.given_start import first_weights
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.merge import State, Tensors
from fednnunet.federation.methods.pooled import run_kind
from fednnunet.federation.secure_checks import with_threshold
from fednnunet.federation.spec import Federation
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    EvaluateReply,
    PrepareInvite,
    PrepareReply,
)
from fednnunet.federation.workflows.cards import complete_cards
from fednnunet.federation.workflows.experts import write_routed
from fednnunet.federation.workflows.own_models import own_models
from fednnunet.federation.workflows.plan_checks import check_configuration
from fednnunet.federation.workflows.pooled import pooled_engine, pooled_training
from fednnunet.federation.workflows.postprocessing import decide_postprocessing
from fednnunet.inference.best_bundle import FOLDER, best_bundle
from fednnunet.inference.bundle import read_bundle, write_bundle
from fednnunet.planning.plan import Plan
from fednnunet.progress import Progress
from fednnunet.training.initial import initial_tensors

SCORES = "scores.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """Sums of scores on held-out cases: of which model, at which sites.

    `model` is "personal", "global", "routed" (experts mixed for each case), or for a reference its
    method's name. `personal` says whether every site used a model of its own, and `rounds` after
    how many rounds the model of each was so: the `last`, or the `best` on these very cases. A site
    that kept no best, as it never judged its model, uses its last. Of a model that was trained
    alone, `gains` has by site what the main run's models, "personal" and "global", have over it.
    """

    model: str
    method: str
    personal: bool
    sites: dict[str, SiteScores]
    rounds: dict[str, int] = field(default_factory=dict)
    keep: Literal["last", "best"] = "last"
    gains: dict[str, dict[str, Gain]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingScores:
    """All models of one run folder, compared on the same held-out cases."""

    training_cases: dict[str, int]
    models: tuple[ModelScores, ...]
    notes: tuple[str, ...] = ()

    @property
    def external(self) -> frozenset[str]:
        """The sites that did not train."""
        return frozenset(site for site, cases in self.training_cases.items() if not cases)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each of `models`; a reference that gave two has its global one named so."""
        own = {model.model for model in self.models if model.personal}
        return tuple(
            f"{model.model}, global" if model.model in own and not model.personal else model.model
            for model in self.models
        )


Observer = Callable[[Run, RoundRecord], None]


def train_together(
    engine: Engine,
    federation: Federation,
    plan: Plan,
    folder: Path,
    *,
    observer: Observer,
    progress: Progress | None = None,
) -> TrainingScores:
    """Train the main method and its baselines; write bundles, history and `scores.json`.

    Goes on from the last checkpoint of each. Sites write their personal bundles themselves.
    """
    training = federation.training
    runs = check_runs(federation, plan, folder)  # before any site prepares its cases anew
    log = RoundLog(folder, federation.log)
    initial = first_weights(folder, plan, training.configuration, training)
    given = initial if training.start else {}
    invite = PrepareInvite(plan=plan, configuration=training.configuration, tensors=given)
    prepared = ask_quorum(
        engine,
        dict.fromkeys(engine.sites, invite),
        PrepareReply,
        _waiting(training)
        if any(load_records(run.folder / "rounds") for run in runs)
        else Waiting(),
        what="not all sites can prepare",
        check=partial(check_prepared_cases, read_stated(folder), training.max_cases),
        progress=progress,
    )
    ready = {site: answer.reply for site, answer in prepared.replies.items()}
    models: list[ModelScores] = []
    notes = tuple(f"{site} did not prepare: {why.what}" for site, why in prepared.errors.items())
    for run in runs:
        members = _members(federation, ready)
        if run.kind == "pooled":
            pooled = pooled_engine(engine, folder)
            cases = sum(member.cases for member in members.values())
            alone = {site: Member(cases=cases) for site in pooled.sites}
            state = _train(pooled, run, initial, alone, ready, observer)
        else:
            state = _train(engine, run, initial, members, ready, observer, log)
        models += _evaluate(engine, run, initial, state, ready, members, progress)
        if training.routed and not run.name:
            routed, more = _route(engine, run, initial, state, ready, members, progress)
            models, notes = [*models, *routed], (*notes, *more)
    scores = TrainingScores(
        training_cases={site: reply.training_cases for site, reply in ready.items()},
        models=tuple(models),
        notes=notes,
    )
    records.write(scores, folder / SCORES)
    complete_cards(runs, federation.card, scores)
    return scores


def _waiting(training: Training) -> Waiting:
    return Waiting(quorum=training.quorum, grace_s=training.exchange_grace_s)


def check_runs(federation: Federation, plan: Plan, folder: Path) -> tuple[Run, ...]:
    """The runs of a federation file in `folder`, if they can be begun or continued by the plan.

    Writes nothing. Raises PlanError for a configuration that cannot be trained, and InputError
    where the folder holds rounds of another training, where rounds that are done would not keep
    their phases (see `coordinator.extension`), or where a round has no site.
    """
    training = federation.training
    check_configuration(plan, training.configuration)
    runs = _runs(federation, plan, folder)
    initial = initial_tensors(plan, training.configuration, seed=training.seed)
    for run in runs:
        check_key(run.folder / "rounds", key=run.key)
        check_rounds_done(load_records(run.folder / "rounds"), run.phases(initial), run.folder)
        if run.kind == "federated":
            federation.check_rounds(run.phases(initial).total)
    return runs


def _runs(federation: Federation, plan: Plan, folder: Path) -> tuple[Run, ...]:
    training = with_threshold(federation.training, federation.invited)
    iterations = [
        member.iterations or training.iterations_per_round for member in federation.members.values()
    ]
    return tuple(
        Run(
            name=name,
            folder=folder / name,
            plan=plan,
            training=pooled_training(training, iterations)
            if run_kind(settings) == "pooled"
            else training,
        )
        for name, settings in training.runs.items()
    )


def _held_out(ready: Mapping[str, PrepareReply]) -> dict[str, int]:
    return {site: reply.held_out_cases for site, reply in ready.items()}


def _members(federation: Federation, ready: Mapping[str, PrepareReply]) -> dict[str, Member]:
    """The sites that train, and when."""
    return {
        site: replace(federation.members[site], cases=reply.training_cases)
        for site, reply in ready.items()
        if reply.training_cases
    }


def _train(
    engine: Engine,
    run: Run,
    initial: Tensors,
    members: Mapping[str, Member],
    ready: Mapping[str, PrepareReply],
    observer: Observer,
    log: RoundLog | None = None,
) -> State:
    training = run.training
    validate = Validation(
        engine=engine,
        run=run,
        names=initial.keys(),
        sites=tuple(members),
        held_out=_held_out(ready),
    )
    state = run_rounds(
        engine,
        run,
        initial,
        members,
        lambda record: observer(run, record),
        validate if run.kind == "federated" else None,
        log,
    )
    write_contribution(load_records(run.folder / "rounds"), run.folder)
    for name, artefact in run.method.merge.artefacts(state).items():
        records.write(artefact, run.folder / name)
    if state.shared.keys() == initial.keys():  # without public rounds some may be missing
        rounds, weights, _ = _chosen(run, state)
        note = {"method": run.method_name, "rounds": str(rounds), "sites": str(len(members))}
        write_bundle(
            run.folder / "global",
            plan=run.plan,
            configuration=training.configuration,
            weights=dict(weights),
            mirrored=training.mirrored,
            note=note,
        )
    return state


def _chosen(run: Run, state: State) -> tuple[int, Tensors, bool]:
    """The global model that is given out: after how many rounds, and if these were the best."""
    best = best_bundle(run.folder / FOLDER) if run.training.keep == "best" else None
    if best is None:
        return state.round, state.shared, False
    return best[0], read_bundle(best[1]).weights, True


def _evaluate(
    engine: Engine,
    run: Run,
    initial: Tensors,
    state: State,
    ready: Mapping[str, PrepareReply],
    members: Mapping[str, Member],
    progress: Progress | None,
) -> list[ModelScores]:
    """Scores of the global model at all sites, and of personal models where sites have them."""
    models = []
    if state.shared.keys() == initial.keys():
        sites = tuple(site for site, reply in ready.items() if reply.held_out_cases)
        rounds, weights, best = _chosen(run, state)
        asked = dict.fromkeys(sites, global_invite(run, weights, rounds))
        models.append(_scores(engine, run, asked, ready, progress, best=best))
        if run.training.postprocessing and not run.name:
            decide_postprocessing(engine, run, asked, models[-1].sites, _held_out(ready))
    own = own_models(run, initial, state, members)
    if own:
        best = any(invite.best for invite in own.values())
        models.append(_scores(engine, run, own, ready, progress, best=best))
    return models


def _route(
    engine: Engine,
    run: Run,
    initial: Tensors,
    state: State,
    ready: Mapping[str, PrepareReply],
    members: Mapping[str, Member],
    progress: Progress | None,
) -> tuple[list[ModelScores], tuple[str, ...]]:
    """Write a bundle of experts, and its scores at the sites that did not train."""
    rounds, weights, best = _chosen(run, state)
    common = weights if weights.keys() == initial.keys() else {}
    own = own_models(run, initial, state, members)
    routed = write_routed(engine, run, own, common, initial, progress=progress)
    outside = [s for s, reply in ready.items() if reply.held_out_cases and s not in members]
    if routed.bundle is None or not outside:
        return [], routed.notes
    invite = replace(global_invite(run, routed.bundle.weights, rounds), routed=True)
    asked = dict.fromkeys(outside, invite)
    return [_scores(engine, run, asked, ready, progress, best=best)], routed.notes


def _scores(
    engine: Engine,
    run: Run,
    invites: Mapping[str, EvaluateInvite],
    ready: Mapping[str, PrepareReply],
    progress: Progress | None,
    *,
    best: bool,
) -> ModelScores:
    check = ScoreChecks(run=run, invites=invites, held_out=_held_out(ready))
    waiting, what = _waiting(run.training), "not all sites can be evaluated"
    answers = ask_quorum(
        engine, invites, EvaluateReply, waiting, what=what, check=check, progress=progress
    )
    kind = next((invite.model for invite in invites.values()), "global")
    replies = {site: answer.reply for site, answer in answers.replies.items()}
    if not run.name:
        keep_pictures(run.folder, kind, replies)
    return ModelScores(
        model=run.method_name if run.name else kind,
        method=run.method_name,
        personal=kind == "personal",
        sites={site: reply.scores for site, reply in replies.items()},
        rounds={site: reply.round for site, reply in replies.items()},
        keep="best" if best else "last",
        gains={site: reply.gains for site, reply in replies.items() if reply.gains},
    )
