"""A site's part in a round: its private state from disk, local training, its state back to disk.

States are keyed by run and round, and the one that a round began from is kept, so that a round
asked again after a crash anywhere gives the same reply, bit for bit. Which one that is the invite
says: a round of the site that was lost or refused is not built upon.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.federation.methods.merge import Tensors
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.methods.qfedavg_dice import measure
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Training
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import EvaluateInvite, ProbeInvite, TrainInvite, TrainReply
from fednnunet.federation.wire.phases import Phase
from fednnunet.inference.best_bundle import FOLDER as BEST
from fednnunet.inference.best_bundle import best_bundle, offer
from fednnunet.inference.bundle import Bundle, read_bundle, write_bundle
from fednnunet.planning.memory import micro_batch
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.training.augment import plain_augmenter
from fednnunet.training.batches import Batch, BatchSource
from fednnunet.training.counts import DiceCounts
from fednnunet.training.device import Execution, choose_execution, for_batch
from fednnunet.training.initial import initial_tensors
from fednnunet.training.local_rule import RoundContext
from fednnunet.training.loop import TrainSummary, train, validate_patches
from fednnunet.training.patches import PatchStore
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import TrainingState, load, new_state, save
from fednnunet.training.targets import make_targets

Progress = Callable[[int, int, str], None]

PATCHES = 8  # of held-out cases, looked at after each round


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTrainer:
    """All that a site needs to train: its prepared cases, the plan, and where its states lie."""

    name: str
    base: Path
    plan: Plan
    configuration_name: str
    store: PatchStore
    cases: tuple[str, ...]
    annotated: tuple[int, ...]
    training: Training
    memory_gib: float | None = None
    held_out: PatchStore | None = None
    held_out_cases: tuple[str, ...] = ()
    policy: SitePolicy = field(default_factory=SitePolicy)

    @property
    def configuration(self) -> Configuration:
        """The configuration that is trained."""
        return self.plan.configuration(self.configuration_name)

    def train(self, invite: TrainInvite, *, progress: Progress | None = None) -> TrainReply:
        """One round from the site's own state with the tensors of `invite` in it."""
        method = self.training.method_labelled(invite.method)
        state = self._begin(invite)
        received, extras = split(invite.tensors)
        _load_part(state.network, received)
        if invite.phase == "personal" and invite.resume_round <= self.training.rounds:
            _load_part(state.network, _own_model(method, state))
        context = RoundContext(
            start=_tensors(state.network), shared=frozenset(method.shared(received)), extras=extras
        )
        summary = self._run(state, invite, method, context, progress)
        sent = self._end_joint(method, state, context) if invite.phase == "joint" else {}
        save(state, self._folder(invite.run, invite.phase, invite.round + 1))
        self._forget(invite)
        reply = method.outgoing(_tensors(state.network), invite.phase)
        held_out = self._on_held_out_patches(state)
        if not invite.resume_round:
            summary = replace(summary, notes=(*self._execution().reasons, *summary.notes))
        return _reply(join(reply, sent), invite, summary, held_out, len(self.cases))

    def bundle(self, invite: EvaluateInvite) -> Bundle:
        """Write and return the model to evaluate: as received, or with the site's own tensors."""
        tensors = dict(invite.tensors)
        folder = self.base / invite.run / invite.model
        best = self._best(invite)
        if best:
            tensors = read_bundle(best[1]).weights
        elif invite.personal:
            state = self._state(seed=0)
            self._load(state, self._folder(invite.run, "joint", invite.round))
            _load_part(state.network, tensors)
            joint = invite.round <= self.training.rounds
            method = self.training.method_labelled(invite.method) if joint else None
            tensors = _own_model(method, state)
        note = {"method": invite.method, "rounds": str(self.reached(invite)), "site": self.name}
        return write_bundle(
            folder,
            plan=self.plan,
            configuration=self.configuration_name,
            weights=tensors,
            mirrored=self.training.mirrored,
            note=note,
        )

    def dice_loss(self, invite: ProbeInvite) -> float:
        """How far the site's own model, with the tensors of `invite` in it, falls short here."""
        state = self._state(seed=0)
        self._load(state, self._folder(invite.run, "joint", invite.round))
        _load_part(state.network, invite.tensors)
        targets = make_targets(self.plan.task, self.annotated)
        return measure(state.network, self._unchanged_patches(2), targets, self._execution())

    def reached(self, invite: EvaluateInvite) -> int:
        """After how many rounds the model to evaluate was as it is."""
        best = self._best(invite)
        return best[0] if best else invite.round

    def keep_best(self, invite: EvaluateInvite, dice: float) -> None:
        """Keep the personal model that was just evaluated, if it is the best so far."""
        if not invite.personal or invite.best or not self.training.validate_every:
            return
        judged = self.base / invite.run / "personal"
        offer(
            self.base / invite.run / BEST,
            invite.round,
            dice,
            lambda place: shutil.copytree(judged, place, dirs_exist_ok=True),
        )

    def _run(
        self,
        state: TrainingState,
        invite: TrainInvite,
        method: Method,
        context: RoundContext,
        progress: Progress | None,
    ) -> TrainSummary:
        whole = invite.phase != "public" or method.mean_needs_training
        frozen = frozenset[str]() if whole else context.shared
        return train(
            state,
            self.store,
            self.cases,
            plan=self.plan,
            configuration=self.configuration,
            recipe=recipe_named(self.training.recipe),
            execution=self._execution(),
            iterations=invite.iterations,
            schedule_length=invite.schedule_length,
            schedule_start=invite.schedule_start,
            local_rule=method.local_rule if invite.phase == "joint" else None,
            context=context,
            labels_here=self.annotated,
            trains=lambda name: name not in frozen,
            progress=progress,
        )

    def _end_joint(
        self, method: Method, state: TrainingState, context: RoundContext
    ) -> dict[str, Tensor]:
        """Let the method keep what a site's own model is made of; what goes beside the weights."""
        site = self._trained(state, context)
        if method.personal_model:
            method.personal_model.update(site)
        return method.make_extras(site)

    def _on_held_out_patches(self, state: TrainingState) -> DiceCounts | None:
        """Overlap on the same few patches of held-out cases in every round; none of too few."""
        if self.held_out is None or len(self.held_out_cases) < self.policy.min_scored_cases:
            return None
        return validate_patches(
            state.network,
            self.held_out,
            self.held_out_cases,
            plan=self.plan,
            configuration=self.configuration,
            execution=self._execution(),
            count=-(-PATCHES // self.configuration.batch),
            seed=self.training.seed,
            labels_here=self.annotated,
        )

    def _best(self, invite: EvaluateInvite) -> tuple[int, Path] | None:
        """The best model if it is asked for and there is one: none was kept without a Dice."""
        wanted = invite.personal and invite.best
        return best_bundle(self.base / invite.run / BEST) if wanted else None

    def _trained(self, state: TrainingState, context: RoundContext) -> TrainedSite:
        execution = self._execution()
        return TrainedSite(
            state=state,
            context=context.on(execution.torch_device),
            each_case=self._unchanged_patches,
            cases=len(self.cases),
            min_cases=self.policy.required_cases,
            targets=make_targets(self.plan.task, self.annotated),
            execution=execution,
        )

    def _unchanged_patches(self, count: int) -> Iterator[Batch]:
        for name in sorted(self.cases):
            yield BatchSource(
                store=self.store,
                names=(name,),
                task=self.plan.task,
                augmenter=plain_augmenter(self.configuration.patch_vox),
                size=count,
                foreground=recipe_named(self.training.recipe).foreground,
                seed=_seed(self.training.seed, f"{self.name}/unchanged"),
            )[0]

    def _begin(self, invite: TrainInvite) -> TrainingState:
        """The state to go on from; a public copy has an optimiser and a seed of its own."""
        stream = f"{self.name}/public" if invite.phase == "public" else self.name
        state = self._state(seed=_seed(self.training.seed, stream))
        if invite.resume_round:
            self._load(state, self._folder(invite.run, invite.phase, invite.resume_round))
        return state

    def _load(self, state: TrainingState, folder: Path) -> None:
        if not load(state, folder):
            raise InputError(
                f"the site holds no state of {folder.name}",
                where=f"site {self.name}, {folder}",
                mend="restore the site's folder, or train in a new run folder",
            )

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
        execution = choose_execution(self.training.device, compile=self.training.compile)
        execution = for_batch(execution, self.configuration.batch)
        if self.memory_gib is None or execution.torch_device.type != "cuda":
            return execution
        fitting = micro_batch(self.configuration, self.plan.task, self.memory_gib)
        return replace(execution, micro_batch=fitting)

    def _forget(self, invite: TrainInvite) -> None:
        """Remove the states before the one that the round began from: no round can need them."""
        begun = self._folder(invite.run, invite.phase, invite.resume_round)
        for folder in begun.parent.glob(begun.name.split("_")[0] + "_*"):
            if folder.name < begun.name:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, run: str, phase: Phase, number: int) -> Path:
        """Where the state after `number` rounds lies; that of a public copy lies by itself."""
        kind = "public" if phase == "public" else "round"
        return self.base / run / "state" / f"{kind}_{number:04d}"


def _seed(seed: int, name: str) -> int:
    """A seed of its own for each site, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:6], "big")


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _own_model(method: Method | None, state: TrainingState) -> dict[str, Tensor]:
    """The site's own model, on the CPU: its network as it is, or what the method makes of it."""
    tensors = _tensors(state.network)
    if method is None or method.personal_model is None:
        return tensors
    memory = {name: tensor.cpu() for name, tensor in state.memory.items()}
    return dict(method.personal_model.model(tensors, memory))


def _load_part(network: nn.Module, tensors: Tensors) -> None:
    """Load some of a network's tensors; raises InputError for one it does not have."""
    unknown = network.load_state_dict(dict(tensors), strict=False).unexpected_keys
    if unknown:
        raise InputError(
            f"{len(unknown)} tensors do not belong to the plan's network, e.g. {unknown[0]}",
            mend="coordinator and site must hold the same plan",
        )


def _reply(
    tensors: Tensors,
    invite: TrainInvite,
    summary: TrainSummary,
    held_out: DiceCounts | None,
    cases: int,
) -> TrainReply:
    return TrainReply(
        tensors=tensors,
        round=invite.round,
        cases=cases,
        loss=summary.loss,
        seconds=summary.seconds,
        wait_share=summary.wait_share,
        iterations=summary.iterations,
        overlap=summary.dice.rows,
        held_out=held_out.rows if held_out else (),
        notes=summary.notes,
    )
