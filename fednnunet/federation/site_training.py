"""A site's part in a round: its private state from disk, local training, its state back to disk.

States are keyed by run and round, and the one that a round began from is kept, so that a round
asked again after a crash anywhere gives the same reply, bit for bit.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.federation.messages import EvaluateInvite, TrainInvite, TrainReply
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.method import LocalTerm, Method, Tensors
from fednnunet.federation.spec import Training
from fednnunet.inference.bundle import Bundle, write_bundle
from fednnunet.planning.memory import micro_batch
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.preprocess.store import Store
from fednnunet.training.device import Execution, choose_execution
from fednnunet.training.initial import initial_tensors
from fednnunet.training.loop import TrainSummary, train
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import TrainingState, load, new_state, save

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTrainer:
    """All that a site needs to train: its prepared cases, the plan, and where its states lie."""

    name: str
    base: Path
    plan: Plan
    configuration_name: str
    store: Store
    cases: tuple[str, ...]
    annotated: tuple[int, ...]
    training: Training
    memory_gib: float | None = None

    @property
    def configuration(self) -> Configuration:
        """The configuration that is trained."""
        return self.plan.configuration(self.configuration_name)

    def train(self, invite: TrainInvite, *, progress: Progress | None = None) -> TrainReply:
        """One round from the tensors of `invite`; in the closing phase, of the public copy."""
        method = METHODS[invite.method]
        state = self._begin_closing(invite) if invite.closing else self._begin_round(invite)
        _load_part(state.network, invite.tensors)
        summary = self._run(state, invite, method, progress)
        tensors = _tensors(state.network)
        reply = method.private(tensors) if invite.closing else method.shared(tensors)
        save(state, self._folder(invite.run, invite.round + 1))
        self._forget(invite.run, invite.round - 1)
        return _reply(reply, invite, summary, len(self.cases))

    def bundle(self, invite: EvaluateInvite) -> Bundle:
        """Write and return the model to evaluate: as received, or with the site's own tensors."""
        tensors = dict(invite.tensors)
        folder = self.base / invite.run / ("personal" if invite.personal else "global")
        if invite.personal:
            state = self._state(seed=0)
            if not load(state, self._folder(invite.run, invite.round)):
                raise InputError(
                    f"the site holds no state of round {invite.round}",
                    where=f"site {self.name}",
                    mend="train that round first",
                )
            tensors = _tensors(state.network) | tensors
        return write_bundle(
            folder,
            plan=self.plan,
            configuration=self.configuration_name,
            weights=tensors,
            note={"method": invite.method, "rounds": str(invite.round), "site": self.name},
        )

    def _run(
        self,
        state: TrainingState,
        invite: TrainInvite,
        method: Method,
        progress: Progress | None,
    ) -> TrainSummary:
        received, term = invite.tensors, None if invite.closing else method.local_term
        return train(
            state,
            self.store,
            self.cases,
            plan=self.plan,
            configuration=self.configuration,
            recipe=recipe_named(self.training.recipe),
            execution=self._execution(),
            iterations=invite.iterations,
            total_iterations=invite.total,
            local_term=partial(_apply, term, received) if term else None,
            labels_here=self.annotated,
            trains=(lambda name: not method.leaves(name)) if invite.closing else None,
            progress=progress,
        )

    def _begin_round(self, invite: TrainInvite) -> TrainingState:
        state = self._state(seed=_seed(self.training.seed, self.name))
        if invite.round and not load(state, self._folder(invite.run, invite.round)):
            raise InputError(
                f"the site holds no state of round {invite.round}",
                where=f"site {self.name}, {self._folder(invite.run, invite.round)}",
                mend="restore the site's folder, or train in a new run folder",
            )
        return state

    def _begin_closing(self, invite: TrainInvite) -> TrainingState:
        """A fresh optimiser in the first closing round, its state in those after it."""
        state = self._state(seed=_seed(self.training.seed, f"{self.name}/closing"))
        if invite.round > self.training.rounds:
            load(state, self._folder(invite.run, invite.round))
        return state

    def _state(self, *, seed: int) -> TrainingState:
        weights = initial_tensors(self.plan, self.configuration_name, seed=self.training.seed)
        return new_state(
            self.plan,
            self.configuration,
            recipe_named(self.training.recipe),
            self._execution(),
            seed=seed,
            weights=weights,
        )

    def _execution(self) -> Execution:
        """How to run here. On a GPU that the plan's batch does not fit, gradients accumulate."""
        execution = choose_execution(self.training.device)
        if self.memory_gib is None or execution.torch_device.type != "cuda":
            return execution
        fitting = micro_batch(self.configuration, self.plan.task, self.memory_gib)
        return replace(execution, micro_batch=fitting)

    def _forget(self, run: str, number: int) -> None:
        """Remove a state that no round can begin from any more; the last round's is the model."""
        if number != self.training.rounds:
            shutil.rmtree(self._folder(run, number), ignore_errors=True)

    def _folder(self, run: str, number: int) -> Path:
        """Where the state after `number` rounds lies; closing rounds have folders of their own."""
        kind = "closing" if number > self.training.rounds else "round"
        return self.base / run / "state" / f"{kind}_{number:04d}"


def _apply(term: LocalTerm, received: Tensors, network: nn.Module) -> Tensor:
    return term(network, received)


def _seed(seed: int, name: str) -> int:
    """A seed of its own for each site, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:6], "big")


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _load_part(network: nn.Module, tensors: Tensors) -> None:
    """Load some of a network's tensors; raises InputError for one it does not have."""
    unknown = network.load_state_dict(dict(tensors), strict=False).unexpected_keys
    if unknown:
        raise InputError(
            f"{len(unknown)} tensors do not belong to the plan's network, e.g. {unknown[0]}",
            mend="coordinator and site must hold the same plan",
        )


def _reply(tensors: Tensors, invite: TrainInvite, summary: TrainSummary, cases: int) -> TrainReply:
    counts = summary.dice
    return TrainReply(
        tensors=tensors,
        round=invite.round,
        cases=cases,
        loss=summary.loss,
        seconds=summary.seconds,
        wait_share=summary.wait_share,
        overlap=tuple(zip(counts.hit, counts.extra, counts.missed, strict=True)),
    )
