"""The coordinator's loop. It knows sites by name only, and no engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from fednnunet import records
from fednnunet.errors import FedNNUNetError, raise_all
from fednnunet.federation.asking import Answers, ask
from fednnunet.federation.engines.engine import Answer, Engine
from fednnunet.federation.history import (
    RoundRecord,
    SiteRound,
    load_last,
    save_round,
    write_history,
)
from fednnunet.federation.messages import Message, TrainInvite, TrainReply
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.method import Method, Reply, State
from fednnunet.federation.spec import Training
from fednnunet.federation.weights import check_like, difference, norm
from fednnunet.planning.plan import Plan

Observer = Callable[[RoundRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training by one method: the main one (`name` "") or a reference beside it."""

    name: str
    method_name: str
    folder: Path
    plan: Plan
    training: Training

    @property
    def method(self) -> Method:
        """The method's both halves."""
        return METHODS[self.method_name]

    @property
    def key(self) -> str:
        """A checksum of all that the rounds depend on."""
        training = replace(self.training, references=(), device="", method=self.method_name)
        content = json.dumps([records.encode(self.plan), records.encode(training)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def run_rounds(
    engine: Engine,
    run: Run,
    initial: Mapping[str, Tensor],
    sites: Sequence[str],
    observer: Observer,
) -> State:
    """Train `sites` from the last checkpoint to the end and return the final state.

    `initial` holds all tensors of the network as every site would begin. After the last round, if
    the method keeps tensors private, closing rounds train a public copy of them, so that the
    final state holds every tensor of the network (but for a method that shares nothing).
    """
    state, history = load_last(run.folder / "rounds", key=run.key)
    state = state or State(round=0, shared=run.method.shared(initial))
    for record in history:
        observer(record)
    rounds = run.training.rounds
    closing = run.training.closing_rounds if _has_two_parts(run.method, initial) else 0
    while state.round < rounds + closing:
        is_closing = state.round >= rounds
        if is_closing and state.round == rounds:
            state = replace(state, shared={**run.method.private(initial), **state.shared})
        state, record = _one_round(engine, run, state, sites, is_closing)
        save_round(run.folder / "rounds", state, record)
        history = (*history, record)
        write_history(history, run.plan.task.targets, run.folder / "history.csv")
        observer(record)
    return state


def _has_two_parts(method: Method, tensors: Mapping[str, Tensor]) -> bool:
    return bool(method.shared(tensors)) and bool(method.private(tensors))


def _one_round(
    engine: Engine, run: Run, state: State, sites: Sequence[str], closing: bool
) -> tuple[State, RoundRecord]:
    phase_rounds = run.training.closing_rounds if closing else run.training.rounds
    invite = TrainInvite(
        tensors=state.shared,
        run=run.name,
        method=run.method_name,
        round=state.round,
        iterations=run.training.iterations_per_round,
        total=phase_rounds * run.training.iterations_per_round,
        closing=closing,
    )
    method = run.method
    trained = method.private(state.shared) if closing else state.shared

    def check(site: str, message: Message) -> None:
        check_like(message.tensors, trained, site=site)

    invites = dict.fromkeys(sites, invite)
    answers = ask(engine, invites, TrainReply, check=check)
    _check_quorum(answers, run.training.quorum or len(sites))
    replies = [_as_method_sees(name, answer) for name, answer in answers.replies.items()]
    merge = METHODS["fedavg"].merge if closing else method.merge
    merged = merge(replace(state, shared=trained), replies)
    new = replace(merged, shared={**state.shared, **merged.shared})
    record = RoundRecord(
        key=run.key,
        round=new.round,
        closing=closing,
        shift=norm(difference(new.shared, state.shared)),
        sites={name: _site_round(answer) for name, answer in answers.replies.items()},
        refused={name: error.what for name, error in answers.errors.items()},
    )
    return new, record


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
    return Reply(site=name, tensors=reply.tensors, cases=reply.cases, loss=reply.loss)


def _site_round(answer: Answer) -> SiteRound:
    reply = answer.reply
    assert isinstance(reply, TrainReply)
    return SiteRound(
        cases=reply.cases,
        loss=reply.loss,
        dice=tuple(_dice(*counts) for counts in reply.overlap),
        seconds=reply.seconds,
        wait_share=reply.wait_share,
        bytes_to_site=answer.bytes_to_site,
        bytes_from_site=answer.bytes_from_site,
    )


def _dice(hit: int, extra: int, missed: int) -> float | None:
    voxels = 2 * hit + extra + missed
    return 2 * hit / voxels if voxels else None
