"""A site whose cases are prepared: what it trains and evaluates models with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from fednnunet.federation.given_start import first_weights
from fednnunet.federation.methods.method import Method
from fednnunet.federation.site.places import inside
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.states import StateStore
from fednnunet.federation.training_spec import Training
from fednnunet.inference.bundle import read_bundle
from fednnunet.labels.known import has_unknown
from fednnunet.labels.organ_teacher import organ_teacher
from fednnunet.labels.pretraining import MaskedVolumes, Pretraining
from fednnunet.labels.pseudo import PseudoLabelling
from fednnunet.network.tensors import Tensors
from fednnunet.planning.memory import micro_batch
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.supervision import SiteSupervision
from fednnunet.training.augment import plain_augmenter
from fednnunet.training.batches import Batch, BatchSource
from fednnunet.training.device import Execution, choose_execution, for_batch
from fednnunet.training.initial import plan_network
from fednnunet.training.patches import PatchStore
from fednnunet.training.recipe import Recipe, recipe_named
from fednnunet.training.state import TrainingState, new_state

_HELD_OUT_PATCHES = 8  # predicted after each round
_HELD_OUT_FOREGROUND = 0.33


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSite:
    """A site's prepared cases and the plan, in its working folder `base`.

    `patients` has the training cases of each patient, whether or not it is stated by the site whose
    they are. `case_weights` says how often training cases are sampled; those that it does not name:
    1.
    """

    name: str
    base: Path
    plan: Plan
    configuration_name: str
    store: PatchStore
    cases: tuple[str, ...]
    supervision: SiteSupervision
    training: Training
    case_weights: Mapping[str, float] = field(default_factory=dict)
    memory_gib: float | None = None
    held_out: PatchStore | None = None
    held_out_cases: tuple[str, ...] = ()
    patients: tuple[tuple[str, ...], ...] = ()
    patients_stated: bool = False
    policy: SitePolicy = field(default_factory=SitePolicy)
    log: Callable[[str], None] = lambda text: None
    sites: int = 1
    """The number of the federation's sites that train."""

    @property
    def configuration(self) -> Configuration:
        """The configuration that is trained."""
        return self.plan.configuration(self.configuration_name)

    @property
    def recipe(self) -> Recipe:
        """The recipe that it is trained by, with what the federation does for rare classes."""
        recipe, imbalance = recipe_named(self.training.recipe), self.training.imbalance
        if imbalance is None:
            return recipe
        return replace(recipe, balance=imbalance.balance(self.plan))

    def joint_recipe(self, method: Method) -> Recipe:
        """The recipe of joint rounds: its learning rate may follow the number of sites."""
        recipe = self.recipe
        scaled = method.scales_learning_rate and recipe.optimiser == "adamw"
        factor = self.training.step.learning_rate_factor(self.sites, scaled=scaled)
        return replace(recipe, learning_rate=recipe.learning_rate * factor)

    @property
    def completion(self) -> PseudoLabelling | None:
        """What completes labels, by the site's own federation file; none where all are known.

        Raises InputError for a teacher of the site's policy that cannot teach here.
        """
        settings, task = self.training.pseudo_labels, self.plan.task
        kinds = {self.supervision.of(name) for name in self.cases}
        if settings is None or not any(has_unknown(kind, task) for kind in kinds):
            return None
        folder = self.policy.teacher
        known = (
            organ_teacher(read_bundle(folder), self.plan, self.configuration) if folder else None
        )
        return PseudoLabelling(settings=settings, task=task, organs=known)

    @property
    def pretraining(self) -> MaskedVolumes:
        """What it trains in self-supervised rounds."""
        return MaskedVolumes(settings=self.training.pretraining or Pretraining())

    @property
    def network(self) -> Tensors:
        """A tensor without content of each name, shape and type of the plan's network."""
        with torch.device("meta"):
            return plan_network(self.plan, self.configuration).state_dict()

    def states(self, run: str) -> StateStore:
        """The site's states of one training."""
        return StateStore(folder=inside(self.base, run, "state"), site=self.name)

    def execution(self) -> Execution:
        """How to train on this machine.

        On a GPU whose memory the plan's batch exceeds, gradients are accumulated over parts of it.
        """
        execution = choose_execution(
            self.training.device,
            compile=self.training.compile,
            cuda_kernels=self.training.cuda_kernels,
        )
        execution = for_batch(execution, self.configuration.batch)
        if self.memory_gib is None or execution.torch_device.type != "cuda":
            return execution
        fitting = micro_batch(self.configuration, self.plan.task, self.memory_gib)
        return replace(execution, micro_batch=fitting)

    def new_state(self, *, stream: str = "") -> TrainingState:
        """The state of a training that begins, with the federation's first weights.

        Its random numbers are those of the `stream` (default: of the site).
        """
        weights = first_weights(self.base, self.plan, self.configuration_name, self.training)
        seed = site_seed(self.training.seed, stream or self.name)
        configuration, execution = self.configuration, self.execution()
        return new_state(
            self.plan, configuration, self.recipe, execution, seed=seed, weights=weights
        )

    def patches_of_each_case(self, count: int) -> Iterator[Batch]:
        """A batch of `count` unaugmented patches of each training case, in the order of the names.

        They are the same in every round.
        """
        seed = site_seed(self.training.seed, f"{self.name}/unchanged")
        for name in sorted(self.cases):
            yield self._unaugmented(self.store, (name,), count, self.recipe.foreground, seed)[0]

    def held_out_patches(self) -> Iterator[Batch]:
        """A few unaugmented patches of held-out cases, one a batch; the same in every round.

        None where there are fewer cases than the site's policy wants for a score.
        """
        if self.held_out is None or len(self.held_out_cases) < self.policy.min_scored_cases:
            return
        names, size = tuple(sorted(self.held_out_cases)), self.configuration.batch
        seed = self.training.seed
        source = self._unaugmented(self.held_out, names, size, _HELD_OUT_FOREGROUND, seed)
        for step in range(-(-_HELD_OUT_PATCHES // size)):
            yield from source[step].samples()

    def _unaugmented(
        self, store: PatchStore, names: tuple[str, ...], size: int, foreground: float, seed: int
    ) -> BatchSource:
        return BatchSource(
            store=store,
            names=names,
            task=self.plan.task,
            augmenter=plain_augmenter(self.configuration.patch_vox),
            size=size,
            foreground=foreground,
            seed=seed,
            supervision=self.supervision,
        )


def site_seed(seed: int, name: str) -> int:
    """A seed for a site or one of its uses of chance, by name; the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:6], "big")
