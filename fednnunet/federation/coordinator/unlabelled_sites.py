"""What sites without labels add to a round: their mean change, beside that of the labelled sites.

With x what all received, y_L the merged model of the sites that have labels, and D_U the mean by
cases of the changes of the sites that have none (trained on pseudo-labels), the next model is

    y_L + strength * D_U.

In one mean over all sites the unlabelled ones, which often have most of the cases, hold back what
the labelled ones learn: with 13 labelled cases among 103 each of their steps would count by an
eighth, and pseudo-labels, which the model made itself, do not replace it. Added beside them,
pseudo-labels take nothing from the labelled sites; `docs/benchmarks.md` has both.
"""

from __future__ import annotations

from dataclasses import replace

from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Aggregation, Merge, Reply, State, Tensors
from fednnunet.labels.ramp import ramp
from fednnunet.labels.settings import PseudoLabels


class BesideLabelled:
    """An aggregation of labelled sites' replies, to which the others' mean change is added.

    Without any reply of a labelled site the received model takes the place of y_L.
    """

    def __init__(self, labelled: Aggregation, state: State, strength: float) -> None:
        self._labelled, self._state, self._strength = labelled, state, strength
        self._others = mean_by_cases.start(state)
        self._counts = {True: 0, False: 0}

    def add(self, reply: Reply, /) -> None:
        """Add a reply to the part that it belongs to."""
        (self._labelled if reply.labelled else self._others).add(reply)
        self._counts[reply.labelled] += 1

    def finish(self) -> State:
        """The state after the round; the order of the replies changes no bit of it."""
        state = self._state
        merged = self._labelled.finish() if self._counts[True] else state
        if self._counts[False] and self._strength:
            mean = self._others.finish().shared
            shared = {**merged.shared, **_moved(merged.shared, state.shared, mean, self._strength)}
            merged = replace(merged, shared=shared)
        return replace(merged, round=state.round + 1)


def are_added(settings: PseudoLabels | None, merge: Merge) -> bool:
    """Whether sites without labels are added beside the others, and not one mean is taken of all.

    A merge that looks at single replies may send each site something else: there is no one change.
    """
    return settings is not None and settings.unlabelled_sites == "add" and merge.needs == "sum"


def added_strength(settings: PseudoLabels | None, merge: Merge, done: float) -> float | None:
    """By what strength their change is added after the share `done` of a schedule's rounds.

    None where it is not added (see `are_added`).
    """
    if settings is None or not are_added(settings, merge):
        return None
    return settings.unlabelled_strength * ramp(settings, done)


def _moved(tensors: Tensors, received: Tensors, mean: Tensors, strength: float) -> Tensors:
    """The floating-point tensors plus `strength` times the change from `received` to `mean`."""
    return {
        name: (tensor.double() + strength * (mean[name].double() - received[name].double())).to(
            tensor.dtype
        )
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }
