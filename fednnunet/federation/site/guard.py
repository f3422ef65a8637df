"""The guard of a site: it trains alone beside the first joint rounds, and keeps what is better.

What decides is the mean loss of the last rounds of the trial, of two trainings from the same first
weights on the same patches. Early in a training patches are new to both, so that the lower loss is
no sign of overfitting yet. The losses stay at the site; the coordinator learns that a site has left
from the reply of the next round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fednnunet import records
from fednnunet.federation.guard_spec import Guard
from fednnunet.federation.methods.method import Method
from fednnunet.federation.site.models import LEFT, network_tensors
from fednnunet.federation.site.places import inside
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.states import StateStore
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.network.tensors import Tensors
from fednnunet.training.device import Execution
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.state import TrainingState
from fednnunet.training.trainer import train

DECISION = "guard.json"
_JOINT, _ALONE = "guard/joint", "guard/alone"  # sums of the losses that count


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a site has found in its trial; it stays in the site's folder."""

    round: int
    joint_loss: float
    alone_loss: float
    left: bool

    @property
    def words(self) -> str:
        """The decision in a sentence, for the site's report."""
        losses = f"loss {self.joint_loss:.3f} together, {self.alone_loss:.3f} alone"
        if self.left:
            return f"trains alone since round {self.round + 1}, as that served it better ({losses})"
        return f"trains with the others, as that served it better ({losses})"


@dataclass(frozen=True, slots=True)
class SiteGuard:
    """The trial of a prepared site in one training."""

    site: PreparedSite
    settings: Guard

    @classmethod
    def of(cls, site: PreparedSite, invite: TrainInvite, method: Method) -> SiteGuard | None:
        """The guard in the round of an invite, or None where there is none.

        Only the main training has one, only where sites hold models of their own, and only where
        `Training.has_trial`.
        """
        on = invite.phase == "joint" and not invite.run and site.training.has_trial
        return cls(site, site.training.guard) if on and is_guarded(method, site.network) else None

    def after_round(
        self,
        invite: TrainInvite,
        state: TrainingState,
        job: LocalJob,
        loss: float,
        execution: Execution,
    ) -> TrainingState:
        """Train alone as well if the trial goes on; the state that the site goes on from.

        `state` and `loss` are those of the joint training. The trial ends in its last round, or in
        the first one after it that the site takes part in.
        """
        if LEFT in state.memory or not self._goes_on(invite):
            return state
        alone, alone_loss = self._train_alone(invite, job, execution)
        rounds = self.settings.rounds(self.site.training.rounds)
        if invite.round >= rounds - self.settings.compared(self.site.training.rounds):
            _add(state, _JOINT, loss)
            _add(state, _ALONE, alone_loss)
        if invite.round + 1 < rounds:
            return state
        sums = {name: state.memory.pop(name) for name in (_JOINT, _ALONE)}
        joint, own = (float(sums[name][0] / sums[name][1]) for name in (_JOINT, _ALONE))
        left = joint - own > self.settings.margin
        decision = Decision(round=invite.round + 1, joint_loss=joint, alone_loss=own, left=left)
        records.write(decision, inside(self.site.base, DECISION))
        self.site.log(decision.words)
        chosen = alone if left else state
        chosen.memory[LEFT] = torch.tensor(float(left))
        return chosen

    def forget_before(self, invite: TrainInvite) -> None:
        """Remove the states of training alone that no round can need any more."""
        self._states.forget_before("joint", invite.resume_round)

    def _goes_on(self, invite: TrainInvite) -> bool:
        """Whether there is a model of training alone to go on with.

        None is begun in the middle of a training: its losses would not compare.
        """
        return not invite.resume_round or self._states.folder.is_dir()

    def _train_alone(
        self, invite: TrainInvite, job: LocalJob, execution: Execution
    ) -> tuple[TrainingState, float]:
        """One round of the model that the site never shares: its state, saved, and its loss."""
        state = self.site.new_state()
        if invite.resume_round:
            self._states.load(state, "joint", invite.resume_round)
        summary = train(state, alone_job(job, state), execution)
        self._states.save(state, "joint", invite.round + 1)
        return state, summary.loss

    @property
    def _states(self) -> StateStore:
        return StateStore(folder=inside(self.site.base, "alone"), site=self.site.name)


def alone_job(job: LocalJob, state: TrainingState) -> LocalJob:
    """A joint round's job without anything of the method: that of "local", at the same rate."""
    context = RoundContext(start=network_tensors(state.network))
    return replace(job, local_rule=LocalRule(), context=context)


def read_decision(base: Path) -> Decision | None:
    """The decision in a site's working folder; None where it had no trial, or not yet."""
    path = base / DECISION
    return records.read(Decision, path) if path.is_file() else None


def is_guarded(method: Method, network: Tensors) -> bool:
    """Whether sites hold models of their own by the method: single networks, partly private.

    Not where nothing is shared, where a site's model is made of two networks, or where sites send
    more than weights.
    """
    own = bool(method.private(network)) or method.mean_needs_training
    single = method.personal_model is None and not method.extras
    return own and single and bool(method.shared(network))


def _add(state: TrainingState, name: str, loss: float) -> None:
    """Add a loss to a sum (sum, number) in the state's memory."""
    before = state.memory.get(name, torch.zeros(2, dtype=torch.float64)).cpu()
    state.memory[name] = before + torch.tensor([loss, 1.0], dtype=torch.float64)
