"""How far one site's reply may move the shared weights in a round.

The weights of a reply are bounded by what sites did before: the Euclidean norm of a site's update
(its tensors minus those that it received, floating-point ones together) may be at most
`max_update_ratio` times the median norm of the accepted updates in earlier rounds of the phase. The
median stays where it is as long as most sites are honest. Sites without any labelled case count in
it only where no site has one: before their first pseudo-labels they send back about what they
received, and with a median of that every site that learns would be refused. In the first round of a
phase the norm of the received weights takes the place of the median. Compare the clipping of
updates in Sun et al., "Can You Really Backdoor Federated Learning?", 2019; a reply is refused here
and not clipped, so that the weights of honest sites do not change.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.methods.merge import State, Tensors
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.phases import Phase
from fednnunet.federation.wire.tensors import is_in_range, update_norm

FIRST_EXTRAS = 1e9  # norm; the spectrum of a patch has the size of its number of voxels
_SMALLEST = 1.0  # norm of received weights: a part of a network may begin at zero


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBound:
    """The bound of one round.

    `ratio` is `Training.max_update_ratio`, 0 for no bound; `median` is that of earlier updates,
    none in the first round of a phase. A site with more than the usual number of local
    `iterations` may go further in proportion.
    """

    ratio: float
    iterations: int
    median: float | None = None
    extras_median: float | None = None

    @classmethod
    def of(cls, history: Iterable[RoundRecord], phase: Phase, training: Training) -> UpdateBound:
        """The bound of the round of `phase` that comes after a history."""
        earlier = [
            site for record in history if record.phase == phase for site in record.sites.values()
        ]
        earlier = [site for site in earlier if site.unlabelled < site.cases] or earlier
        norms = [site.update_norm for site in earlier if site.update_norm]
        extras = [site.extras_norm for site in earlier if site.extras_norm]
        return cls(
            ratio=training.max_update_ratio,
            iterations=training.iterations_per_round,
            median=statistics.median(norms) if norms else None,
            extras_median=statistics.median(extras) if extras else None,
        )

    def limit(self, received: Tensors, iterations: int) -> float:
        """The largest norm that is accepted of a site with so many iterations."""
        usual = self.median
        if usual is None:
            usual = max(norm_of(received), _SMALLEST)
        return self.ratio * usual * max(1.0, iterations / self.iterations)

    def check(self, tensors: Tensors, received: Tensors, *, site: str, iterations: int) -> float:
        """The norm of a site's update; raises ReplyError where it is too large.

        Both mappings have the same names.
        """
        norm = update_norm(tensors, received)
        if self.ratio:
            _check(norm, self.limit(received, iterations), "the update has", site)
        return norm

    def check_extras(self, extras: Tensors, received: Tensors, *, site: str) -> float:
        """The norm of a reply's auxiliary tensors; raises ReplyError where it is too large.

        `received` are the network's tensors that the site trained.
        """
        norm = norm_of(extras)
        if not self.ratio:
            return norm
        what = "the auxiliary tensors have"
        if self.extras_median is not None:
            _check(norm, self.ratio**2 * self.extras_median, what, site)
            return norm
        _check(norm, FIRST_EXTRAS, what, site)
        paired = {n: tensor for n, tensor in extras.items() if n.partition("/")[2] in received}
        _check(norm_of(paired), self.ratio**2 * max(norm_of(received), _SMALLEST), what, site)
        return norm


def norm_of(tensors: Tensors) -> float:
    """Euclidean norm of the floating-point tensors together."""
    squares = [torch.zeros((), dtype=torch.float64)]
    for _, tensor in sorted(tensors.items()):
        if tensor.is_floating_point():
            squares.append(tensor.to(torch.float64, copy=True).square_().sum())
    return float(torch.stack(squares).sum().sqrt())


def _check(norm: float, limit: float, what: str, site: str) -> None:
    if not norm <= limit:
        raise ReplyError(
            f"{what} norm {norm:.3g}, more than {limit:.3g}",
            where=f"reply of site {site}",
            mend="look into the site's training; if it is sound, raise "
            "training.max_update_ratio (0 turns this check off)",
        )


def check_state(state: State) -> None:
    """Raise FedNNUNetError for a state that no site can train from: it must not be saved.

    Sites refuse values that are not finite or too large (`wire.tensors.is_in_range`).
    """
    parts = [(state.shared, False), (state.extras, True)]
    parts += [(tensors, False) for tensors in state.for_site.values()]
    for part, extra in parts:
        for name, tensor in part.items():
            if is_in_range(tensor, extra=extra):
                continue
            raise FedNNUNetError(
                f"after merging, tensor {name} holds values that are not finite or too large for "
                "any site; the round is not kept",
                where=f"round {state.round}",
                mend="leave out the site whose training diverges, or use a smaller step of the "
                "method at the coordinator; the same command then goes on from the round before",
            )
