"""A robust mean in the place of the mean by cases: a few hostile sites cannot move it far.

The mean of FedAvg goes wherever one site wants it to go. With

    [training.robust]
    rule = "trimmed_mean"
    faulty = 1

every method whose coordinator takes a mean of the replies takes a robust one instead, over at most
`faulty` sites that may send anything. "median" and "trimmed_mean" (Yin et al., "Byzantine-Robust
Distributed Learning", ICML 2018) look at each weight for itself: its median over sites, or its mean
without the `faulty` largest and smallest; the other rules at whole updates (`robust_rules`).

Every site counts the same: a number of cases is what a site says of itself. A rule can only tell a
hostile site from others that agree with each other, so an honest hospital that differs from all
others is held back, too; `neighbours` softens that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.methods.mean import MeanBy
from fednnunet.federation.methods.merge import Collected, Merge, Needs, Reply, State, with_mean
from fednnunet.federation.methods.robust_rules import (
    clipping_weights,
    krum_weights,
    mixing_weights,
)
from fednnunet.ranges import Within, check_ranges

Rule = Literal["median", "trimmed_mean", "krum", "multi_krum", "centered_clipping"]
_CHUNK = 2**18  # weights of all sites that are sorted at once


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustMean:
    """Which robust mean the coordinator takes of the replies."""

    rule: Rule = "trimmed_mean"
    """"median" or "trimmed_mean" of each weight, the update nearest to the others ("krum"), the
    mean of the updates nearest to each other ("multi_krum"), or "centered_clipping" of updates."""
    faulty: Annotated[int, Within(1, 1000)] = 1
    """Number of sites that may be faulty or hostile. More sites than twice as many must reply, with
    the two Krums three more than twice as many."""
    neighbours: bool = True
    """Replace each update by the mean of those nearest to it before the rule is applied (NNM), so
    that honest sites with other scanners are not taken for hostile ones."""
    radius: Annotated[float, Within(0, 1e9)] = 0.0
    """Norm to which centered_clipping cuts updates; 0 takes the median of the updates' norms."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.robust]")
        if self.radius and self.rule != "centered_clipping":
            raise InputError(
                f"radius is {self.radius} with the rule {self.rule}, which has none",
                where="training.robust.radius",
                mend='leave radius out, or set rule = "centered_clipping"',
            )

    @property
    def min_sites(self) -> int:
        """The number of replies below which the rule says nothing."""
        return 2 * self.faulty + (3 if "krum" in self.rule else 1)

    @property
    def words(self) -> str:
        """The rule in one line, for logs and reports."""
        mixed = " after nearest-neighbour mixing" if self.neighbours else ""
        return f"{self.rule.replace('_', ' ')}{mixed}, against {self.faulty} faulty"


def robust_merge(merge: Merge, settings: RobustMean, *, method: str) -> Merge:
    """The merge with a robust mean wherever it takes a mean of all replies.

    Raises InputError, which names the method, where it takes none, or more than a mean.
    """
    robust = RobustMerge(settings)
    found = with_mean(merge, lambda mean: robust if isinstance(mean, MeanBy) else None)
    if found is None:
        raise InputError(
            f"method {method} needs more of the replies than their mean; it takes no robust one",
            where="training.robust",
            mend="choose a method such as fedavg, fedbn_head, fedprox or fedavgm (fedease with "
            "graph = false), or remove the table [training.robust]",
        )
    return found


@dataclass(frozen=True, slots=True)
class RobustMerge:
    """A merge: the received tensors plus the robust mean of the sites' changes."""

    needs: ClassVar[Needs] = "replies"
    keeps_equal_sites: ClassVar[bool] = True

    settings: RobustMean

    def start(self, state: State, /) -> Collected:
        """Begin a round."""
        return Collected(state, self._merge)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """None."""
        return {}

    def _merge(self, state: State, replies: Sequence[Reply]) -> State:
        settings = self.settings
        if len(replies) < settings.min_sites:
            raise ReplyError(
                f"{len(replies)} sites replied; {settings.rule} against {settings.faulty} faulty "
                f"sites needs {settings.min_sites}",
                mend="lower training.robust.faulty, choose another rule, or bring the sites back",
            )
        combine = _combination(settings, _gram(state, replies))
        shared = {}
        for name, old in state.shared.items():
            tensors = torch.stack([reply.tensors[name] for reply in replies])
            if bool((tensors == tensors[0]).all()):
                shared[name] = tensors[0].clone()
            elif old.is_floating_point():
                shared[name] = _by_parts(old, tensors, combine)
            else:  # counters
                shared[name] = tensors.median(0).values
        return replace(state, round=state.round + 1, shared=shared)


def _gram(state: State, replies: Sequence[Reply]) -> Tensor:
    """Inner products (n, n; float64) of the changes of all floating-point tensors."""
    total = torch.zeros((len(replies), len(replies)), dtype=torch.float64)
    for name, old in state.shared.items():
        if old.is_floating_point():
            changes = torch.stack(
                [reply.tensors[name].double() - old.double() for reply in replies]
            )
            flat = changes.reshape(len(replies), -1)
            total += flat @ flat.T
    return total


def _combination(settings: RobustMean, gram: Tensor) -> Callable[[Tensor], Tensor]:
    """What makes one change (d,) of the changes (n, d) of all sites."""
    sites, faulty = len(gram), settings.faulty
    mixing = mixing_weights(gram, faulty) if settings.neighbours else torch.eye(sites).to(gram)
    mixed = mixing @ gram @ mixing.T
    match settings.rule:
        case "median":
            return lambda changes: (mixing @ changes).quantile(0.5, 0)
        case "trimmed_mean":
            inner = slice(faulty, sites - faulty)
            return lambda changes: (mixing @ changes).sort(0).values[inner].mean(0)
        case "krum":
            weights = krum_weights(mixed, faulty, 1)
        case "multi_krum":
            weights = krum_weights(mixed, faulty, sites - faulty)
        case "centered_clipping":
            weights = clipping_weights(mixed, settings.radius)
    total = weights @ mixing
    return lambda changes: total @ changes


def _by_parts(old: Tensor, tensors: Tensor, combine: Callable[[Tensor], Tensor]) -> Tensor:
    """The old tensor plus the combined changes, in float64, some weights at a time."""
    before = old.double().flatten()
    changes = tensors.reshape(len(tensors), -1)
    size = max(1, _CHUNK // len(tensors))
    parts = [
        combine(changes[:, at : at + size].double() - before[at : at + size])
        for at in range(0, len(before), size)
    ]
    return (before + torch.cat(parts)).to(old.dtype).reshape(old.shape)
