"""From a plan to models and their scores: prepare, train, close, evaluate; references beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.errors import PlanError, raise_all
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.asking import Progress, ask, ask_all
from fednnunet.federation.engines.engine import Engine
from fednnunet.federation.history import RoundRecord, check_key, load_records, rounds_of
from fednnunet.federation.messages import (
    EvaluateInvite,
    EvaluateReply,
    PrepareInvite,
    PrepareReply,
)
from fednnunet.federation.methods.method import State
from fednnunet.federation.rounds import Run, run_rounds
from fednnunet.federation.spec import Federation
from fednnunet.inference.bundle import write_bundle
from fednnunet.planning.plan import Plan
from fednnunet.training.initial import initial_tensors

SCORES = "scores.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """Sums of scores on held-out cases: of which model, at which sites.

    `model` is "personal", "global", or for a reference its method's name. `personal` says whether
    every site used a model of its own.
    """

    model: str
    method: str
    personal: bool
    sites: dict[str, SiteScores]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingScores:
    """All models of one run folder, compared on the same held-out cases."""

    training_cases: dict[str, int]
    models: tuple[ModelScores, ...]


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
    """Train the main method and its references; write bundles, history and `scores.json`.

    Goes on from the last checkpoint of each. Sites write their personal bundles themselves.
    """
    training = federation.training
    invite = PrepareInvite(plan=plan, configuration=training.configuration)
    _check_configuration(plan, training.configuration)
    runs = _runs(federation, plan, folder)
    for run in runs:  # before any site prepares its cases anew
        check_key(run.folder / "rounds", key=run.key)
    ready = ask_all(
        engine, invite, PrepareReply, what="not all sites can prepare", progress=progress
    )
    models: list[ModelScores] = []
    for run in runs:
        state = _train(engine, run, ready, observer)
        models += _evaluate(engine, run, state, ready, progress)
    scores = TrainingScores(
        training_cases={site: reply.training_cases for site, reply in ready.items()},
        models=tuple(models),
    )
    records.write(scores, folder / SCORES)
    return scores


def _check_configuration(plan: Plan, name: str) -> None:
    if plan.configuration(name).previous:
        raise PlanError(
            f"{name} needs the predictions of another configuration and cannot be trained yet",
            mend="train 3d_fullres, 3d_lowres or 2d",
        )


def _runs(federation: Federation, plan: Plan, folder: Path) -> tuple[Run, ...]:
    training = federation.training
    main = Run(name="", method_name=training.method, folder=folder, plan=plan, training=training)
    names = {method: f"references/{method}" for method in training.references}
    others = (
        Run(name=name, method_name=method, folder=folder / name, plan=plan, training=training)
        for method, name in names.items()
    )
    return (main, *others)


def _train(
    engine: Engine, run: Run, ready: Mapping[str, PrepareReply], observer: Observer
) -> State:
    training = run.training
    initial = initial_tensors(run.plan, training.configuration, seed=training.seed)
    trains = tuple(site for site, reply in ready.items() if reply.training_cases)
    state = run_rounds(engine, run, initial, trains, lambda record: observer(run, record))
    if state.shared.keys() == initial.keys():  # without closing rounds some may be missing
        note = {"method": run.method_name, "rounds": str(state.round), "sites": ", ".join(trains)}
        write_bundle(
            run.folder / "global",
            plan=run.plan,
            configuration=training.configuration,
            weights=dict(state.shared),
            note=note,
        )
    return state


def _evaluate(
    engine: Engine,
    run: Run,
    state: State,
    ready: Mapping[str, PrepareReply],
    progress: Progress | None,
) -> list[ModelScores]:
    """Scores of the global model at all sites, and of personal models where sites have them."""
    initial = initial_tensors(run.plan, run.training.configuration, seed=run.training.seed)
    models = []
    if state.shared.keys() == initial.keys():
        sites = tuple(site for site, reply in ready.items() if reply.held_out_cases)
        invite = EvaluateInvite(
            tensors=state.shared,
            run=run.name,
            method=run.method_name,
            round=state.round,
            personal=False,
        )
        models.append(_scores(engine, run, dict.fromkeys(sites, invite), progress))
    if run.method.private(initial) or run.training.personal_rounds:
        history = load_records(run.folder / "rounds")
        trained = {site: rounds_of(history, site) for site in ready}
        invites = {site: _personal(run, state, after) for site, after in trained.items() if after}
        models.append(_scores(engine, run, invites, progress))
    return models


def _personal(run: Run, state: State, after: int) -> EvaluateInvite:
    """Asks a site for its own model; one that trained all its tensors last needs none of ours."""
    alone = after > run.training.rounds
    return EvaluateInvite(
        tensors={} if alone else run.method.shared(state.shared),
        run=run.name,
        method=run.method_name,
        round=after,
        personal=True,
    )


def _scores(
    engine: Engine, run: Run, invites: Mapping[str, EvaluateInvite], progress: Progress | None
) -> ModelScores:
    answers = ask(engine, invites, EvaluateReply, progress=progress)
    raise_all("not all sites can be evaluated", answers.errors.values())
    personal = any(invite.personal for invite in invites.values())
    kind = "personal" if personal else "global"
    return ModelScores(
        model=run.method_name if run.name else kind,
        method=run.method_name,
        personal=personal,
        sites={site: answer.reply.scores for site, answer in answers.replies.items()},  # type: ignore[union-attr]
    )
