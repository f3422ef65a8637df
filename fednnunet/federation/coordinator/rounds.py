"""The coordinator's loop. It knows sites by name only, and no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from fednnunet.errors import FedNNUNetError, raise_all
from fednnunet.evaluation.contribution import RoundContribution
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.contribution import ask_leave_one_out, divergence
from fednnunet.federation.coordinator.engine import Answer, Engine
from fednnunet.federation.coordinator.exchange import Answers, ask
from fednnunet.federation.coordinator.history import (
    RoundRecord,
    SiteRound,
    load_last,
    save_round,
    write_history,
)
from fednnunet.federation.coordinator.invites import invite, sites_of_round
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.filters.chain import context_of, filter_at_coordinator
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.method import Method, Reply, State, Tensors, mean_by_cases
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import Message, ProbeInvite, TrainReply
from fednnunet.federation.wire.phases import Phase, Phases
from fednnunet.federation.wire.tensors import check_like, difference, norm
from fednnunet.training.counts import dice_of

Observer = Callable[[RoundRecord], None]
Validate = Callable[[State, Sequence[RoundRecord]], dict[str, SiteScores]]
"""Asks sites how good the model is after the last round of a history; see `validation`."""


def run_rounds(
    engine: Engine,
    run: Run,
    initial: Mapping[str, Tensor],
    members: Mapping[str, Member],
    observer: Observer,
    validate: Validate | None = None,
) -> State:
    """Train the `members` from the last checkpoint to the end and return the final state.

    `initial` holds all tensors of the network as every site would begin. Where the method keeps
    tensors private, the public phase trains a copy of them, so that the final state holds every
    tensor of the network (but for a method that shares nothing).
    """
    state, history = load_last(run.folder / "rounds", key=run.key)
    state = state or State(round=0, shared=run.method.shared(initial))
    for record in history:
        observer(record)
    if history:  # a stop between a round's record and its row
        write_history(history, run.plan.task.targets, run.folder / "history.csv")
    phases = run.phases(initial)
    state = replace(state, rounds=phases.joint)
    while state.round < phases.total:
        begin = time.perf_counter()
        if phases.of(state.round) == "public":
            state = replace(state, shared={**run.method.private(initial), **state.shared})
        extras = run.method.extras_like(initial) if phases.of(state.round) == "joint" else {}
        state, record = _one_round(engine, run, phases, state, history, members, extras)
        scores = validate(state, (*history, record)) if validate else {}
        seconds = time.perf_counter() - begin
        record = replace(record, scores=scores, seconds=seconds, of=phases.total)
        save_round(run.folder / "rounds", state, record)
        history = (*history, record)
        write_history(history, run.plan.task.targets, run.folder / "history.csv")
        observer(record)
    return state


def _one_round(
    engine: Engine,
    run: Run,
    phases: Phases,
    state: State,
    history: Sequence[RoundRecord],
    members: Mapping[str, Member],
    extras: Tensors,
) -> tuple[State, RoundRecord]:
    phase = phases.of(state.round)
    trained = run.method.outgoing(state.shared, phase)

    def decode(site: str, message: Message) -> Message:
        context = context_of(invites[site], site)
        tensors = filter_at_coordinator(run.training.filter_chain, message.tensors, context)
        return replace(message, tensors=tensors)

    def check(site: str, message: Message) -> None:
        check_like(message.tensors, join(trained, extras), site=site)

    sites = sites_of_round(run, phases, state.round, history, members)
    invites = {site: invite(run, phases, state, history, site) for site in sites}
    answers = ask(engine, invites, TrainReply, decode=decode, check=check)
    _check_quorum(answers, min(run.training.quorum or len(sites), len(sites)))
    replies = [_as_method_sees(name, answer) for name, answer in answers.replies.items()]
    new = _merge(run.method, phase, state, trained, replies)
    record = RoundRecord(
        key=run.key,
        round=new.round,
        phase=phase,
        shift=norm(difference(new.shared, state.shared)),
        sites={name: _site_round(answer) for name, answer in answers.replies.items()},
        refused={name: error.what for name, error in answers.errors.items()},
        contribution=_contribution(engine, run, phases, state, replies),
    )
    return new, record


def _contribution(
    engine: Engine, run: Run, phases: Phases, state: State, replies: Sequence[Reply]
) -> dict[str, RoundContribution]:
    """What each site gave to the others in a joint round; the last one asks the sites, too."""
    if phases.of(state.round) != "joint" or len(replies) < 2 or not state.shared:
        return {}
    dice_losses: dict[str, float] = {}
    if run.training.contribution and state.round + 1 == phases.joint:
        probe = ProbeInvite(run=run.name, method=run.method_name, round=phases.joint)
        dice_losses = ask_leave_one_out(engine, probe, replies)
    return {
        site: RoundContribution(divergence=value, dice_loss=dice_losses.get(site))
        for site, value in divergence(state, replies).items()
    }


def _merge(
    method: Method, phase: Phase, state: State, trained: Tensors, replies: Sequence[Reply]
) -> State:
    match phase:
        case "joint":
            return method.merge(state, replies)
        case "personal":
            return replace(state, round=state.round + 1)
        case "public":
            merged = mean_by_cases(replace(state, shared=trained), replies)
            return replace(merged, shared={**state.shared, **merged.shared})


def _check_quorum(answers: Answers, quorum: int) -> None:
    if len(answers.replies) < quorum:
        raise_all("too few sites answered", answers.errors.values())
        raise FedNNUNetError(
            f"{len(answers.replies)} sites answered, {quorum} are needed",
            mend="lower training.quorum, or bring the sites back",
        )


def _as_method_sees(name: str, answer: Answer) -> Reply:
    reply = answer.reply
    assert isinstance(reply, TrainReply)
    tensors, extras = split(reply.tensors)
    return Reply(site=name, tensors=tensors, extras=extras, cases=reply.cases, loss=reply.loss)


def _site_round(answer: Answer) -> SiteRound:
    reply = answer.reply
    assert isinstance(reply, TrainReply)
    return SiteRound(
        cases=reply.cases,
        loss=reply.loss,
        dice=tuple(dice_of(*counts) for counts in reply.overlap),
        seconds=reply.seconds,
        wait_share=reply.wait_share,
        bytes_to_site=answer.bytes_to_site,
        bytes_from_site=answer.bytes_from_site,
        held_out=tuple(dice_of(*counts) for counts in reply.held_out),
        notes=reply.notes,
    )
