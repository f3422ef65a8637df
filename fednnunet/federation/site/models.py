"""The models that a site evaluates or gives away: as received, or its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fednnunet.errors import InputError, RefusalError
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.methods.method import Method
from fednnunet.federation.site.places import inside
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.wire.messages import EvaluateInvite, ProbeInvite
from fednnunet.inference.best_bundle import FOLDER as BEST
from fednnunet.inference.best_bundle import best_bundle, offer
from fednnunet.inference.bundle import Bundle, read_bundle, write_bundle
from fednnunet.inference.card import amend_card
from fednnunet.network.tensors import Tensors
from fednnunet.training.evaluate_patches import count_patches
from fednnunet.training.state import TrainingState

LEFT = "guard/left"  # in a state's memory: 1 where the site trains alone (see `guard`)


@dataclass(frozen=True, slots=True)
class SiteModels:
    """Finds the model that an invite means."""

    site: PreparedSite

    def bundle(self, invite: EvaluateInvite) -> Bundle:
        """Write and return the model to evaluate: as received, or with the site's own tensors.

        For scores after post-processing it is the one that was scored before, which stays as it is.
        Raises RefusalError where the invite brings another one.
        """
        if invite.rule:
            return self._scored(invite)
        tensors = dict(invite.tensors)
        best = self._best(invite)
        if best:
            tensors = read_bundle(best[1]).weights
        elif invite.personal:
            joint = invite.round <= self.site.training.joint_end
            state = self._state_with(invite)
            method = self.site.training.method_labelled(invite.method) if joint else None
            tensors = own_model(method, state)
        note = {
            "method": invite.method,
            "rounds": str(self.reached(invite)),
            "site": self.site.name,
        }
        return write_bundle(
            inside(self.site.base, invite.run, invite.model),
            plan=self.site.plan,
            configuration=self.site.configuration_name,
            weights=tensors,
            mirrored=self.site.training.mirrored,
            note=note,
        )

    def keep_scores(self, invite: EvaluateInvite, scores: SiteScores) -> None:
        """Write the scores of the site's own cases, as far as they may leave, into the card.

        Scores after post-processing are those of a trial, and none of the model.
        """
        if invite.rule:
            return
        folder = inside(self.site.base, invite.run, invite.model)
        trained = (self.site.name,) if self.site.cases else ()
        external = () if trained else (self.site.name,)
        personal = trained if invite.personal else ()
        amend_card(folder, scores={self.site.name: scores}, external=external, sites=personal)

    def dice_loss(self, invite: ProbeInvite) -> float:
        """1 - Dice on the training cases of the site's own model with the invite's tensors in it.

        Over two patches of each case together.
        """
        state, patches = self._state_with(invite), self.site.patches_of_each_case(2)
        task, execution = self.site.plan.task, self.site.execution()
        return count_patches(state.network, patches, task, execution).dice_loss

    def reached(self, invite: EvaluateInvite) -> int:
        """The round after which the model to evaluate was saved."""
        best = self._best(invite)
        return best[0] if best else invite.round

    def keep_best(self, invite: EvaluateInvite, dice: float) -> None:
        """Keep the personal model that was just evaluated, if it is the best so far."""
        if not invite.personal or invite.best or not self.site.training.validate_every:
            return
        evaluated = inside(self.site.base, invite.run, "personal")
        offer(
            inside(self.site.base, invite.run, BEST),
            invite.round,
            dice,
            lambda place: shutil.copytree(evaluated, place, dirs_exist_ok=True),
        )

    def _scored(self, invite: EvaluateInvite) -> Bundle:
        """The received model that was scored last, which must be that of the invite."""
        folder = inside(self.site.base, invite.run, invite.model)
        found = read_bundle(folder) if folder.is_dir() else None
        if found is None or not _same(found.weights, invite.tensors):
            raise RefusalError(
                "post-processing is asked for of another model than the one scored last",
                mend="ask for the scores of the model without post-processing first",
                advice="as_agreed",
            )
        return found

    def _state_with(self, invite: EvaluateInvite | ProbeInvite) -> TrainingState:
        """The site's state after the invite's rounds, with the invite's tensors in its network."""
        state = self.site.new_state()
        self.site.states(invite.run).load(state, "joint", invite.round)
        if not has_left(state.memory):
            load_part(state.network, invite.tensors)
        return state

    def _best(self, invite: EvaluateInvite) -> tuple[int, Path] | None:
        """The best model if it is asked for and there is one: none was kept without a Dice."""
        wanted = invite.personal and invite.best
        return best_bundle(inside(self.site.base, invite.run, BEST)) if wanted else None


def has_left(memory: Tensors) -> bool:
    """Whether the site of a state trains alone, so that what it receives is not for its model."""
    return bool(memory.get(LEFT, 0.0))


def _same(ours: Tensors, theirs: Tensors) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor.cpu())
        for name, tensor in theirs.items()
    )


def own_model(method: Method | None, state: TrainingState) -> dict[str, Tensor]:
    """The site's own model, on the CPU: its network as it is, or what the method makes of it."""
    tensors = network_tensors(state.network)
    if method is None or method.personal_model is None:
        return tensors
    memory = {name: tensor.cpu() for name, tensor in state.memory.items()}
    return dict(method.personal_model.model(tensors, memory))


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Copies of a network's tensors, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def load_part(network: nn.Module, tensors: Tensors) -> None:
    """Load some of a network's tensors; raises InputError for one it does not have."""
    unknown = network.load_state_dict(dict(tensors), strict=False).unexpected_keys
    if unknown:
        raise InputError(
            f"{len(unknown)} tensors do not belong to the plan's network, e.g. {unknown[0]}",
            mend="give coordinator and site the same plan",
            advice="same_plan",
        )
