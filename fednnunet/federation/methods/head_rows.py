"""A class's row of the segmentation heads is averaged over the sites that annotate this class.

After Dong et al., "Federated Partially Supervised Learning with Limited Decentralized Medical
Images", IEEE TMI 2023, and the decoupling of a segmentation network into what all sites share and
what depends on their label sets. With S_c the sites whose labels annotate class c, w_k the weight
of site k, and x_k[c] its row c of a head (a weight or a bias),

    row c  =  sum over k in S_c of w_k x_k[c]  /  sum over k in S_c of w_k,

and the received row where none of the sites in S_c has replied. The background's row, and all
tensors before the heads, are averaged over all sites.

Why it matters: at a site that never sees class c, the marginal loss still moves its row, as the
class is one of those that the background there may be. The gradient is small, but AdamW divides it
by its own size, so that the row moves as far as at a site that learns the class, towards whatever
parts background from the classes drawn there. The mean by cases would take half of its change from
that.
"""

from __future__ import annotations

from torch import Tensor

from fednnunet.federation.methods.merge import Reply, State, Tensors
from fednnunet.federation.wire.exact_sum import WeightedMean
from fednnunet.network.roles import role


class RowMeans:
    """The running mean of a round's replies, with the heads' rows averaged by class."""

    def __init__(self, state: State) -> None:
        self._state, self._all = state, WeightedMean()
        self._rows: dict[int, WeightedMean] = {}
        self._targets = 0

    def add(self, reply: Reply, weight: float) -> None:
        """Add a reply; one that states no cases by class counts in every row."""
        self._all.add(reply.site, reply.tensors, weight)
        annotated = reply.figures.annotated_cases
        self._targets = max(self._targets, len(annotated))
        if not weight > 0:
            return
        for target, tensors in _rows(reply.tensors, len(annotated) or None).items():
            if not annotated or annotated[target]:
                self._rows.setdefault(target, WeightedMean()).add(reply.site, tensors, weight)

    def mean(self) -> dict[str, Tensor]:
        """The mean; raises ReplyError where the weights sum to nothing."""
        mean = self._all.mean()
        if not self._targets:
            return mean
        rows = {target: found.mean() for target, found in self._rows.items()}
        for name, tensor in mean.items():
            for target, row in _places(name, tensor, self._targets):
                own = rows.get(target, {}).get(name)
                tensor[row] = self._state.shared[name][row] if own is None else own
        return mean


def _rows(tensors: Tensors, targets: int | None) -> dict[int, dict[str, Tensor]]:
    """The heads' rows by target, each under its tensor's name."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        for target, row in _places(name, tensor, targets):
            found.setdefault(target, {})[name] = tensor[row]
    return found


def _places(name: str, tensor: Tensor, targets: int | None) -> list[tuple[int, int]]:
    """Targets with their rows in a tensor of a head; none in any other tensor.

    A softmax has the background's row first, regions have one row for each. Where the number of
    targets is not known the rows are taken for those of a softmax.
    """
    if role(name) != "head" or not tensor.ndim:
        return []
    first = 1 if targets is None else len(tensor) - targets
    return [(row - first, row) for row in range(first, len(tensor))] if first in (0, 1) else []
