"""A local training job: everything that decides what a site trains between two exchanges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fednnunet.planning.plan import Configuration, Plan
from fednnunet.progress import Progress
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.batches import BatchSource, Source
from fednnunet.training.completion import CompletedLoss, Completion
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.losses import LossMaker, SupervisedLoss, make_loss
from fednnunet.training.patches import PatchStore
from fednnunet.training.recipe import Recipe
from fednnunet.training.state import TrainingState

Sampling = Callable[[BatchSource, TrainingState], Source]
"""What makes the batches in place of the usual source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """What to train on and how; built once by the caller of `trainer.train`."""

    store: PatchStore
    """Where the prepared cases lie."""

    names: Sequence[str]
    """The store's cases to sample patches from."""

    plan: Plan
    """The federation's plan."""

    configuration: Configuration
    """The plan's configuration that is trained."""

    recipe: Recipe
    """Optimiser, learning rate, loss and augmentation."""

    iterations: int
    """Number of iterations of this job."""

    schedule_length: int
    """Number of iterations of the whole learning-rate schedule."""

    schedule_start: int | None = None
    """Number of the schedule's iterations before this job (default: those that the state has done).
    They differ where a site missed rounds."""

    local_rule: LocalRule = field(default_factory=LocalRule)
    """What a federated method changes in training."""

    context: RoundContext = field(default_factory=RoundContext)
    """What the site has received for this round, for the local rule."""

    supervision: SiteSupervision = field(default_factory=SiteSupervision)
    """What each case's labels teach."""

    case_weights: Mapping[str, float] = field(default_factory=dict)
    """How often cases are sampled; those that are not named: 1."""

    make_loss: LossMaker = make_loss
    """What makes the loss of cases with a supervision (default: that of label maps)."""

    completion: Completion | None = None
    """What completes labels where a class is unknown (pseudo-labels)."""

    frozen: frozenset[str] = frozenset()
    """Names of parameters that must not change."""

    sampling: Sampling | None = None
    """What samples the patches otherwise than in even batches (default: nothing does)."""

    progress: Progress | None = None
    """Called after each iteration with figures in words."""

    @property
    def supervisions(self) -> tuple[Supervision, ...]:
        """Every supervision that the job's cases have, each once."""
        return tuple(dict.fromkeys(self.supervision.of(name) for name in sorted(self.names)))

    @property
    def rule(self) -> LocalRule:
        """All that changes in training: the method's rule, and the completion's behind it."""
        if self.completion is None:
            return self.local_rule
        return self.local_rule + self.completion.local_rule

    @property
    def ignores(self) -> bool:
        """Whether some voxels may count in no loss, so that dividing a batch changes its mean."""
        return any(kind.leaves_out(self.plan.task) for kind in self.supervisions)

    def losses(self) -> dict[Supervision, SupervisedLoss]:
        """The loss of each supervision."""
        task, configuration, recipe = self.plan.task, self.configuration, self.recipe
        return {
            kind: self.make_loss(task, kind, configuration, recipe) for kind in self.supervisions
        }

    def completed_loss(self) -> CompletedLoss | None:
        """The loss on what the completion adds, if there is one."""
        if self.completion is None:
            return None
        return self.completion.make_loss(self.plan.task, self.configuration, self.recipe)
