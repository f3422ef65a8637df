"""A prepared site on cases in memory, which trains a tiny network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.trainer import SiteTrainer
from fednnunet.federation.spec import Training
from fednnunet.training.state import TrainingState
from tests.training.fakes import blobs, small_plan

CONFIGURATION = "3d_fullres"
ROUNDS, ITERATIONS = 2, 2


@dataclass(frozen=True)
class SmallSite:
    """What a site does with a model, and all that its trainer has."""

    trainer: SiteTrainer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.trainer, name)

    def state_after(self, rounds: int) -> TrainingState:
        state = self.trainer._state(seed=0)
        self.trainer._load(state, self.trainer._folder("", "joint", rounds))
        return state


def a_trainer(folder: Path, name: str, **changes: Any) -> Any:
    store = blobs(seed=len(name))
    trainer = SiteTrainer(
        name=name,
        base=folder / name,
        plan=small_plan()[0],
        configuration_name=CONFIGURATION,
        store=store,
        cases=store.names,
        annotated=(0, 1, 2),
        training=Training(rounds=ROUNDS, iterations_per_round=ITERATIONS, device="cpu"),
        policy=SitePolicy(min_cases=3),
    )
    return SmallSite(replace(trainer, **changes))
