"""FedProto's prototypes: the features of a class are pulled towards its mean over all sites.

Tan et al., "FedProto: Federated Prototype Learning across Heterogeneous Clients", AAAI 2022. The
prototype of a class is the mean of its features; the coordinator averages the sites' prototypes,
and to each site's loss is added

    weight * mean over patches and their classes of ||m_j - C_j||^2 / f,

with m_j the mean over the patch's voxels of class j, C_j the prototype received and f the number
of features. Features are what the finest segmentation head reads. The paper exchanges prototypes
instead of weights; here they are exchanged in addition to FedAvg's weights, as features of networks
that are never averaged would not be comparable. The squared distance is divided by f, so that
`weight` means the same for any width.

What leaves a site: for each class one vector, the mean over all voxels of the class in two patches
of each of its training cases (of the first 32 of them, to bound the time), and whether there were
enough: a class found in fewer cases than the site's `min_cases` is not sent. There is one row an
output of the network: a label, or a region. A site that does not annotate all labels sends no
background. Voxels whose label is not known are left out, and so are cases without drawn labels
(boxes, image labels, none), which do not count among the 32.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Reply, State, Streamed, Tensors
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.federation.wire.exact_sum import ExactSum, check_terms
from fednnunet.training.evaluate_patches import Prediction, evaluate_patches
from fednnunet.training.local_rule import ForwardPass, LocalRule
from fednnunet.training.targets import Targets, make_targets

_MEAN, _SEEN = "prototypes/mean", "prototypes/seen"
_HEAD = "heads.0.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPrototypes:
    """The loss term; zero in the first round, when there are no prototypes yet."""

    weight: float

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise InputError(f"weight is {self.weight}", mend="choose a weight above 0, e.g. 1")

    def __call__(self, seen: ForwardPass, /) -> Tensor:
        """The term as a scalar: classes that a patch or the federation lacks do not count in it."""
        nothing = _MEAN not in seen.context.extras or seen.targets.nothing
        if nothing or seen.features is None:
            return seen.logits.new_zeros((), dtype=torch.float32)
        prototypes, known = seen.context.extras[_MEAN], seen.context.extras[_SEEN]
        sums, voxels = class_sums(seen.features, seen.labels, seen.targets, len(prototypes))
        both = known * (voxels > 0)  # (b, rows)
        distances = (sums / voxels.clamp_min(1)[..., None] - prototypes).square().mean(2)
        return self.weight * ((both * distances).sum(1) / both.sum(1).clamp_min(1)).mean()


def class_sums(
    features: Tensor, labels: Tensor, targets: Targets, rows: int
) -> tuple[Tensor, Tensor]:
    """Sums of features (b, rows, f) and numbers of voxels (b, rows) of each class and sample.

    `features` are (b, f, z, y, x), `labels` (b, z, y, x); in 2D without z. A class that is merged
    with others (a background that hides what is not annotated) stays zero.
    """
    valid = targets.valid(labels)
    truth = targets.indicators(labels)
    if valid is not None:
        truth = truth & valid[:, None]
    kind = features.device.type
    with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):  # sums need float32
        inside = truth.flatten(2).float()  # (b, groups, voxels)
        sums = inside @ features.float().flatten(2).transpose(1, 2)  # (b, groups, f)
        place = _places(targets, rows).to(sums)
        return place @ sums, inside.sum(2) @ place.T


def _places(targets: Targets, rows: int) -> Tensor:
    """(rows, groups): which group of the loss is which output of the network."""
    table = torch.zeros(rows, len(targets.outputs))
    for group, outputs in enumerate(targets.outputs):
        if len(outputs) == 1:
            table[outputs[0], group] = 1
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMeans:
    """The extra: a site's mean features of each class (k, f), and which were seen (k,), 0 or 1.

    They are over `patches` of each of the first `cases` cases.
    """

    words: str = "mean features of each class over the site's training cases"
    patches: int
    cases: int

    def __post_init__(self) -> None:
        if self.patches < 1 or self.cases < 1:
            raise InputError(
                f"patches is {self.patches} and cases {self.cases}",
                mend="choose at least 1 of both",
            )

    def like(self, tensors: Tensors, shared: Collection[str], /) -> dict[str, Tensor]:
        """Their sizes, from the finest head's weight (k, f, 1, 1, 1)."""
        outputs, features = tensors[_HEAD].shape[:2]
        return {_MEAN: torch.zeros(outputs, features), _SEEN: torch.zeros(outputs)}

    def received(self, like: Tensors, sites: Collection[str], /) -> Tensors:
        """The prototypes over all sites, in the same tensors."""
        return like

    def reply(self, site: TrainedSite, /) -> dict[str, Tensor]:
        """Computed with the weights that the site sends; zeros for a class seen too rarely."""
        rows = len(site.state.parameters[_HEAD])

        def of_case(prediction: Prediction) -> tuple[Tensor, Tensor]:
            """Sums of features (k, f) and voxels (k,) of each class over one case's patches."""
            assert prediction.features is not None
            targets = make_targets(site.task, prediction.batch.supervision[0])
            sums, voxels = class_sums(prediction.features, prediction.batch.labels, targets, rows)
            return sums.sum(0), voxels.sum(0)

        with_map = (
            batch for batch in site.each_case(self.patches) if batch.supervision[0].is_drawn
        )
        patches = islice(with_map, self.cases)
        network, execution = site.state.network, site.execution
        found = evaluate_patches(network, patches, execution, of_case, features=True)
        if not found:
            return self.like(site.state.network.state_dict(), ())
        sums, voxels = (torch.stack(parts).double() for parts in zip(*found, strict=True))
        seen = (voxels > 0).sum(0) >= site.min_cases
        means = sums.sum(0) / voxels.sum(0).clamp_min(1)[:, None] * seen[:, None]
        return {_MEAN: means.float().cpu(), _SEEN: seen.float().cpu()}


class PrototypeAggregation:
    """The mean of a round's weights, and each class's mean prototype over the sites, by cases.

    Sites that did not see a class do not count for it. A class that no site saw keeps the prototype
    of the round before.
    """

    def __init__(self, state: State) -> None:
        self._state, self._mean = state, mean_by_cases.start(state)
        self._sum: ExactSum | None = None
        self._cases = torch.zeros(0)
        self._dtype = torch.float32

    def add(self, reply: Reply, /) -> None:
        """Add the reply; raises ReplyError, with nothing added, where it cannot be summed."""
        cases = reply.cases * reply.extras[_SEEN].double()
        term = cases[:, None] * reply.extras[_MEAN].double()
        check_terms(reply.site, {_MEAN: term})
        self._mean.add(reply)
        if self._sum is None:
            self._sum, self._cases = ExactSum(term.shape), torch.zeros_like(cases)
            self._dtype = reply.extras[_MEAN].dtype
        self._sum.add(term)
        self._cases += cases  # whole numbers: exact in any order

    def finish(self) -> State:
        """The state after the round, with the prototypes among its extras."""
        new = self._mean.finish()
        if self._sum is None:
            return new
        seen = self._cases > 0
        means = (self._sum.total() / self._cases.clamp_min(1)[:, None]).to(self._dtype)
        old = self._state.extras.get(_MEAN, torch.zeros_like(means))
        known = self._state.extras.get(_SEEN, torch.zeros(len(means)))
        extras = {_MEAN: means.where(seen[:, None], old), _SEEN: torch.maximum(known, seen.float())}
        return replace(new, extras={**new.extras, **extras})


@dataclass(frozen=True, slots=True, kw_only=True)
class FedProto:
    """FedAvg, and classes have similar features at all sites (FedProto's term, Tan 2022)."""

    tag: ClassVar[str] = "fedproto"

    weight: float = 1.0
    """Weight of the term in the loss, above 0."""

    patches: int = 2
    """Patches of each case over which a site computes its prototypes, at least 1."""

    cases: int = 32
    """Training cases of a site, at most, over which it computes its prototypes."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(terms=(NearPrototypes(weight=self.weight),), features=True),
            extras=(ClassMeans(patches=self.patches, cases=self.cases),),
            merge=Streamed(PrototypeAggregation, keeps_equal_sites=True),
        )
