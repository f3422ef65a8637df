"""Scores on held-out cases while the training goes on, and of which model they are."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from torch import Tensor

from fednnunet.errors import ReplyError
from fednnunet.evaluation.scores import MAX_CASES, SiteScores
from fednnunet.evaluation.verdict import ALONE, GLOBAL, PERSONAL
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import ask
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.coordinator.rounds import Run
from fednnunet.federation.methods.merge import State
from fednnunet.federation.wire.messages import EvaluateInvite, EvaluateReply
from fednnunet.federation.wire.pictures import pictures_in
from fednnunet.inference.best_bundle import FOLDER, offer
from fednnunet.inference.bundle import write_bundle

_SAME_VERSION = "give coordinator and site the same version of the program"

Validated = tuple[dict[str, SiteScores], dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Asks `sites` for scores after every `Training.validate_every` rounds; 0 is never.

    `names` are those of all tensors of the network, `held_out` the numbers of held-out cases where
    they are known. Where all are shared, the merged model is
    scored, and the best one kept by the coordinator; else each site that took part scores its own
    model and keeps its best.
    """

    engine: Engine
    run: Run
    names: Collection[str]
    sites: Sequence[str]
    held_out: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, state: State, history: Sequence[RoundRecord]) -> Validated:
        """Scores of each site after the last round of `history`, and the faults of other sites.

        Both are empty after a round that is not validated.
        """
        every = self.run.training.validate_every
        if not every or state.round % every:
            return {}, {}
        merged = history[-1].phase != "personal" and state.shared.keys() == set(self.names)
        if merged:
            invites = dict.fromkeys(self.sites, global_invite(self.run, state.shared, state.round))
        else:
            alone = history[-1].phase == "personal"
            invites = {
                site: personal_invite(self.run, state, site, state.round, alone=alone)
                for site in history[-1].sites
            }
        brief = {site: replace(invite, brief=True) for site, invite in invites.items()}
        check = ScoreChecks(run=self.run, invites=brief, held_out=self.held_out)
        answers = ask(self.engine, brief, EvaluateReply, check=check)
        scores = {site: answer.reply.scores for site, answer in answers.replies.items()}
        faults = {site: f"not scored: {error.what}" for site, error in answers.errors.items()}
        if merged:
            write = partial(
                write_bundle,
                plan=self.run.plan,
                configuration=self.run.training.configuration,
                weights=state.shared,
                mirrored=self.run.training.mirrored,
                note={"method": self.run.method_name, "rounds": str(state.round)},
            )
            offer(self.run.folder / FOLDER, state.round, mean_dice(scores), write)
        return scores, faults


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChecks:
    """What must hold of scores: their targets, cases, round, gains and pictures."""

    run: Run
    invites: Mapping[str, EvaluateInvite]
    held_out: Mapping[str, int]

    def __call__(self, site: str, reply: EvaluateReply) -> None:
        """Raise ReplyError for scores that the site cannot have."""
        invite = self.invites[site]
        at_most = self.held_out.get(site, MAX_CASES)
        reply.scores.check_targets(self.run.plan.task.targets, site=site, held_out=at_most)
        earlier = invite.best and reply.round < invite.round
        if reply.round != invite.round and not earlier:
            raise ReplyError(
                f"the scores are of the model after {reply.round} rounds, not {invite.round}",
                where=f"reply of site {site}",
                mend=_SAME_VERSION,
            )
        self._check_gains(site, reply, at_most)
        pictures_in(reply.tensors, site=site)

    def _check_gains(self, site: str, reply: EvaluateReply, held_out: int) -> None:
        """Refuse gains over training alone on another model, or over more cases than there are."""
        alone = bool(self.run.name) and self.run.method_name == ALONE
        counts = [gain.cases for gain in reply.gains.values()]
        known = {PERSONAL, GLOBAL} if alone else set()
        if reply.gains.keys() <= known and max(counts, default=0) <= held_out:
            return
        raise ReplyError(
            f"differences to training alone of {len(counts)} models, over up to {max(counts)} "
            f"cases, do not belong to these scores, with {held_out} held-out cases",
            where=f"reply of site {site}",
            mend=_SAME_VERSION,
        )


def mean_dice(scores: Mapping[str, SiteScores]) -> float:
    """Mean over sites of their mean Dice; NaN where no site has any."""
    values = [site.mean() for site in scores.values()]
    defined = [value for value in values if value == value]
    return statistics.fmean(defined) if defined else float("nan")


def global_invite(run: Run, tensors: Mapping[str, Tensor], rounds: int) -> EvaluateInvite:
    """Asks for scores of one model for all."""
    return EvaluateInvite(
        tensors=tensors, run=run.name, method=run.method_name, round=rounds, personal=False
    )


def personal_invite(
    run: Run, state: State, site: str, after: int, *, alone: bool, best: bool = False
) -> EvaluateInvite:
    """Asks a site for scores of its own model after so many rounds, or of the best it has kept.

    A model that was last trained `alone` needs nothing of what is shared.
    """
    return EvaluateInvite(
        tensors={} if alone else run.method.shared(state.received(site)),
        run=run.name,
        method=run.method_name,
        round=after,
        personal=True,
        best=best,
    )
