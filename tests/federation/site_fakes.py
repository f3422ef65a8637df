"""A prepared site on cases in memory, which trains a tiny network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fednnunet.federation.site.models import SiteModels
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.trainer import SiteTrainer
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.supervision import SiteSupervision
from fednnunet.training.state import TrainingState
from tests.training.fakes import blobs, small_plan

CONFIGURATION = "3d_fullres"
ROUNDS, ITERATIONS = 2, 2
INVITE = TrainInvite(
    run="",
    method="fedbn_head",
    round=0,
    phase="joint",
    resume_round=0,
    iterations=2,
    schedule_start=0,
    schedule_length=4,
)
"""The first round of the tiny federation's method, without its tensors."""


@dataclass(frozen=True)
class SmallSite:
    """What a site does with a model, and all that `site` has."""

    site: PreparedSite

    def __getattr__(self, name: str) -> Any:
        return getattr(self.site, name)

    def train(self, invite, **options):
        return SiteTrainer(self.site).train(invite, **options)

    def bundle(self, invite):
        return SiteModels(self.site).bundle(invite)

    def dice_loss(self, invite):
        return SiteModels(self.site).dice_loss(invite)

    def state_after(self, rounds: int) -> TrainingState:
        state = self.site.new_state()
        self.site.states("").load(state, "joint", rounds)
        return state


def a_site(folder: Path, name: str, **changes: Any) -> PreparedSite:
    store = blobs(seed=len(name))
    values: dict = {
        "name": name,
        "base": folder / name,
        "plan": small_plan()[0],
        "configuration_name": CONFIGURATION,
        "store": store,
        "cases": store.names,
        "supervision": SiteSupervision(),
        "training": Training(rounds=ROUNDS, iterations_per_round=ITERATIONS, device="cpu"),
        "policy": SitePolicy(min_cases=3, min_bin_count=1, min_scored_cases=1),
    }
    return PreparedSite(**{**values, **changes})


def a_trainer(folder: Path, name: str, **changes: Any) -> SmallSite:
    return SmallSite(a_site(folder, name, **changes))
