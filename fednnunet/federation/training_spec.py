"""How a federation trains: the table `[training]` of the federation file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from fednnunet.evaluation.doubtful import Noisy
from fednnunet.federation.filters.catalogue import filter_from
from fednnunet.federation.filters.clipped_noise import ClippedNoise
from fednnunet.federation.filters.filter import Filter
from fednnunet.federation.guard_spec import Guard
from fednnunet.federation.membership import Selection
from fednnunet.federation.methods.catalogue import CHOICE, MethodChoice, label
from fednnunet.federation.methods.fedease import FedEase
from fednnunet.federation.methods.local import Local
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Merge
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.pooled import run_kind
from fednnunet.federation.methods.robust import RobustMean, robust_merge
from fednnunet.federation.methods.settings import Settings
from fednnunet.federation.methods.site_mean import SiteMean
from fednnunet.federation.methods.step import StepBetweenRounds, stepped_merge
from fednnunet.federation.methods.weighting.catalogue import CHOICE as WEIGHTS
from fednnunet.federation.methods.weighting.catalogue import WeightsChoice
from fednnunet.federation.methods.weighting.merge import weighted_merge
from fednnunet.federation.methods.weighting.plain import Cases
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.secure_spec import SecureAggregation
from fednnunet.federation.training_checks import check_training
from fednnunet.federation.wire.figures import FIGURE_WORDS, FigureName
from fednnunet.federation.wire.phases import Phase, Phases
from fednnunet.labels.pretraining import Pretraining
from fednnunet.labels.settings import PseudoLabels
from fednnunet.network.tensors import Tensors
from fednnunet.schema import Names
from fednnunet.training.device import CudaKernels
from fednnunet.training.imbalance import Imbalance
from fednnunet.training.recipe import RECIPES


def _chosen(method: Settings | str) -> Settings:
    """A method's settings, from themselves or a preset's name; raises InputError for bad ones."""
    settings: Settings = CHOICE.preset(method) if isinstance(method, str) else method
    settings.build()
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the federation trains."""

    renamed: ClassVar[Mapping[str, str]] = {
        "closing_rounds": "public_rounds",
        "references": "baselines",
        "most_cases": "max_cases",
    }

    method: MethodChoice = field(default_factory=FedEase)
    """The federated method: its name, or a table `[training.method]` with `name` and settings."""
    rounds: int = 40
    """Number of joint rounds. A training that has ended goes on with more: each added round has the
    learning rate that it has in a training of so many rounds."""
    iterations_per_round: int = 25
    """Optimiser steps of each site in a round."""
    recipe: Annotated[str, Names(RECIPES)] = "fast"
    """Optimiser, loss and augmentation: "nnunet" as in nnU-Net, or "fast"."""
    configuration: str = "3d_fullres"
    """The configuration of the plan to train."""
    start: str = ""
    """SHA-256 of the weights that the training starts from, as `fednnunet_train RUN --from BUNDLE`
    names them; by default they are made from `seed`. A site refuses to start from any others."""
    held_out: float = 0.2
    """Share of each site's patients that is held out for evaluation. A site with a test set
    (imagesTs, labelsTs) trains on all other cases and is evaluated on the test set."""
    fold: int | None = None
    """Hold out this fold (0 to 4) of the patients of every site, also where there is a test set.
    The folds do not depend on `seed`."""
    validate_every: int = 0
    """Score the model on the held-out cases after every so many rounds; 0 for never. The bundle of
    the best round is kept in addition to the last one."""
    keep: Literal["last", "best"] = "last"
    """Whether the model of the last round or of the best validated round is the result."""
    seed: int = 0
    """Seed of initial weights, patches and augmentation, and of the split by default."""
    split_seed: int | None = None
    """Seed of the split into training and held-out cases; by default `seed`."""
    max_cases: int = 0
    """Train on at most so many cases of each site, the first by name; 0 for all. The plan and the
    held-out cases do not change."""
    pretraining_rounds: int = 0
    """Self-supervised rounds before the joint ones: every site restores masked patches of all its
    cases, labelled or not, on a learning-rate schedule of its own."""
    pretraining: Pretraining | None = None
    """How patches are masked in these rounds: a table of settings, which may be left out."""
    personal_rounds: int = 0
    """Rounds after the joint ones in which every site trains all tensors alone."""
    personal_schedule: Literal["own", "continued"] = "continued"
    """Whether the learning rate in the personal rounds continues the schedule of the joint rounds,
    or starts a schedule of its own (with few rounds, its high start undoes the joint training)."""
    public_rounds: int = 20
    """Rounds for external sites, if the method keeps tensors private: the sites train a public copy
    of these tensors while the shared ones are frozen."""
    baselines: tuple[MethodChoice, ...] = ()
    """Further methods to train with the same cases and iterations, for comparison; "pooled" trains
    on all cases in one place."""
    routed: bool = False
    """Collect the sites' own models after the training, for a bundle of experts that external sites
    mix for each case. Each site's policy decides whether its model may leave."""
    quorum: int = 0
    """A round with fewer replies ends the training with an error; 0 means that all invited sites
    must reply. It may be changed during the training."""
    deadline_s: float = 0.0
    """Seconds after which a round ends, whoever has replied; 0 for no limit. Late replies are not
    merged. It may be changed during the training."""
    grace_s: float = 0.0
    """Seconds that a round waits for further replies after the quorum is reached; 0 to wait until
    the deadline. It may be changed during the training."""
    exchange_grace_s: float = 0.0
    """As `grace_s`, for sites that prepare again after a restart of the coordinator, and for
    scores: sites that give none by then are left out; 0 to wait for all. It may be changed during
    the training."""
    max_update_ratio: float = 10.0
    """Refuse a site's reply for the round if its update is larger than so many times the median of
    earlier rounds (in the first one: than so many times the received weights), by their norms. 0
    accepts any update. It may be changed during the training."""
    robust: RobustMean | None = None
    """A robust mean instead of the mean of replies, against sites that are faulty or hostile: a
    table of settings, which may be empty. Without the table the coordinator takes the mean."""
    step: StepBetweenRounds = field(default_factory=StepBetweenRounds)
    """What happens between two rounds: how the coordinator steps along the mean of the updates, and
    how sites go on from it; a table of settings."""
    guard: Guard = field(default_factory=Guard)
    """A trial in the first rounds, after which each site trains on alone where that serves it
    better; a table of settings, of which `share = 0` turns it off."""
    secure: SecureAggregation | None = None
    """Sum the replies of rounds under masks, so that the coordinator sees their sum only: a table
    of settings, which may be empty. It needs a method whose state follows from the mean of replies,
    such as fedavg or fedbn_head, and max_update_ratio = 0; see docs/secure_aggregation.md."""
    weights: WeightsChoice = field(default_factory=Cases)
    """How sites count in the mean of the replies: the name of a rule, or a table of `rule` and its
    settings. By default by their training cases, or as the method says."""
    merging: Merging = field(default_factory=Merging)
    """What else is done with the replies when their mean is taken: a table of settings."""
    sites_per_round: int = 0
    """Number of sites in a joint round; 0 for all."""
    selection: Selection = "random"
    """How the sites of a round are chosen: at random with equal frequency, or by high loss."""
    pooled: Literal["samples", "iterations"] = "samples"
    """The baseline "pooled" sees as many samples as all sites together, or takes as many iterations
    as one site."""
    pseudo_labels: PseudoLabels | None = None
    """Pseudo-labels where a site's labels leave classes unknown: a table of settings, which may be
    empty. Without the table there are none. A site trains by its own file's table."""
    privacy: Privacy | None = None
    """Differential privacy of what sites send after local training: a table of settings, which may
    be empty. Without the table there is no noise."""
    imbalance: Imbalance | None = None
    """What is done for rare classes: a table of settings; without it nothing."""
    noisy: Noisy = "keep"
    """What a site does with cases whose labels a reader there called wrong, after
    `preprocessing/review_labels.py`: train as they are ("keep"), sample them less often
    ("down-weight"), leave them out ("drop"), or train with the corrected label maps that the reader
    accepted, without the others ("correct"). Each site has a list of its own; see
    docs/label_quality.md."""
    postprocessing: bool = False
    """After the training, decide by the sites' held-out cases what is removed from the global
    model's masks (small components, as in nnU-Net); the rule is kept in its bundle. The scores in
    reports are those of masks without it."""
    contribution: bool = False
    """Estimate each site's contribution (FedCE), with one more request to each site after the last
    joint round."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int = 0
    """Threads of torch on the CPU; 0 chooses by the cores that are free when the training begins.
    The run keeps the number (`threads.json`), since weights depend on it in their last bits."""
    compile: bool = False
    """Whether to run the network through torch.compile."""
    cuda_kernels: CudaKernels = "torch"
    """Kernels on a GPU: "torch", or "fused" (normalisation with rectifier, channels last, CUDA
    graphs): half the time in trials, not yet run on a GPU as it stands; see docs/benchmarks.md."""
    filters: tuple[Any, ...] = ()
    """Filters of what sites send after local training, in their order: names, or tables of `name`
    and settings (see `federation.filters`)."""
    filters_down: tuple[Any, ...] = ()
    """A filter of the weights that sites receive in rounds: "quantised", "top_k", "delta_bfloat16",
    or a table of its name and settings. Changes travel in place of weights; a site that was not in
    the round before receives all weights. Scores are asked for with all weights."""

    @property
    def all_rounds(self) -> int:
        """The most rounds that a training may have, over all phases."""
        return self.joint_end + self.personal_rounds + self.public_rounds

    @property
    def joint_end(self) -> int:
        """The number of rounds until the joint ones have ended, those of pretraining included."""
        return self.pretraining_rounds + self.rounds

    def without_execution(self) -> Training:
        """The same training with the defaults for all that changes how it is run, and not what is
        trained: the device and its kernels, threads, and how long sites are waited for."""
        return replace(
            self,
            device="auto",
            threads=0,
            compile=False,
            cuda_kernels="torch",
            quorum=0,
            deadline_s=0.0,
            grace_s=0.0,
            exchange_grace_s=0.0,
        )

    @property
    def filter_chain(self) -> tuple[Filter, ...]:
        """The filters of what sites send; the first is nearest to a site's work."""
        chosen = tuple(filter_from(entry) for entry in self.filters)
        privacy = self.privacy
        if privacy is None or privacy.unit == "patient":
            return chosen
        return (ClippedNoise(clip=privacy.clip, noise=privacy.noise), *chosen)

    @property
    def down_chain(self) -> tuple[Filter, ...]:
        """The filters of what sites receive; the first is nearest to the merge."""
        return tuple(filter_from(e, where="training.filters_down") for e in self.filters_down)

    @property
    def runs(self) -> dict[str, Settings]:
        """The method of each training by its name: "" is the main one, then the baselines."""
        return {"": self.method} | {f"baselines/{label(each)}": each for each in self.baselines}

    def method_labelled(self, name: str) -> Method:
        """The method that an invite names by its label: of one of the `runs`, or a preset.

        Raises InputError where there is none.
        """
        own = {label(settings): settings for settings in self.runs.values()}
        return (own[name] if name in own else _chosen(name)).build()

    def merge(self, settings: Settings) -> Merge:
        """How the replies of one of the `runs` are merged in joint rounds.

        Raises InputError where a robust mean, a rule of weights or another step is wanted and the
        method takes no mean.
        """
        merge = settings.build().merge
        if isinstance(settings, Local) or run_kind(settings) == "pooled":
            return merge
        name = label(settings)
        return stepped_merge(self._changed(merge, name), self.step, method=name)

    @property
    def mean(self) -> Merge:
        """How the replies of public rounds are merged."""
        return self._changed(mean_by_cases, "fedavg")

    @property
    def has_trial(self) -> bool:
        """Whether sites may find out that they are better off alone, and leave (see `guard`).

        Not where a site cannot be left out of the sum (secure aggregation) or is needed in a robust
        mean, nor with differential privacy, since the decision depends on the site's cases, nor
        after pretraining, from whose weights training alone would not begin.
        """
        others = self.secure or self.robust or self.privacy or self.pretraining_rounds
        return not others and self.guard.rounds(self.rounds) > 0

    @property
    def site_mean(self) -> SiteMean:
        """The mean of replies by the file's rule of weights."""
        return SiteMean(rule=self.weights, merging=self.merging)

    def figures_in(self, phase: Phase) -> tuple[FigureName, ...]:
        """What sites state for the rule of weights, beside loss and overlap; alone they do not."""
        return () if phase == "personal" else (*self.weights.figures, *self.merging.figures)

    def figure_words(self, phase: Phase) -> tuple[str, ...]:
        """What leaves with these figures, for a site's ledger and for whoever approves."""
        return tuple(FIGURE_WORDS[name] for name in self.figures_in(phase))

    def _changed(self, merge: Merge, method: str) -> Merge:
        """The merge with a rule of weights, or with a robust mean, where the file asks for one."""
        merge = weighted_merge(merge, self.site_mean, method=method)
        return merge if self.robust is None else robust_merge(merge, self.robust, method=method)

    def phases(self, method: Method, tensors: Tensors) -> Phases:
        """The rounds of each phase of a training by `method`, computed alike at both sides.

        `tensors` are all of the network's, by name. There is no public phase where what is shared
        is the whole model.
        """
        two_parts = bool(method.shared(tensors)) and bool(method.private(tensors))
        return Phases(
            joint=self.rounds,
            personal=self.personal_rounds,
            public=self.public_rounds if two_parts or method.mean_needs_training else 0,
            pretraining=self.pretraining_rounds,
            continued=self.personal_schedule == "continued",
        )

    @property
    def mirrored(self) -> bool:
        """Whether sites train on mirrored patches as well, so that predictions may be mirrored."""
        return RECIPES[self.recipe].augmentation.mirror

    def __post_init__(self) -> None:
        chosen = [_chosen(each) for each in (self.method, *self.baselines)]
        object.__setattr__(self, "method", chosen[0])
        object.__setattr__(self, "baselines", tuple(chosen[1:]))
        if isinstance(self.weights, str):
            object.__setattr__(self, "weights", WEIGHTS.preset(self.weights))
        check_training(self)
        for settings in chosen:
            self.merge(settings)  # one without a mean cannot be robust
