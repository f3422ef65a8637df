"""Which case a patch is taken from: by weights, by a class first, or as the donor of a lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fednnunet.supervision import SiteSupervision
from fednnunet.task import Task
from fednnunet.training.patches import PatchStore, class_groups


def choose_case(
    names: Sequence[str], weights: Mapping[str, float], rng: np.random.Generator
) -> str:
    """One of the names, in proportion to their `weights` (1 for those that are not named)."""
    if not weights:
        return names[int(rng.integers(len(names)))]
    chances = np.array([weights.get(name, 1.0) for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


@dataclass(slots=True, kw_only=True)
class ClassTable:
    """The cases of a store by the classes that they have; read when it is first asked."""

    store: PatchStore
    names: Sequence[str]
    weights: Mapping[str, float]
    supervision: SiteSupervision
    _found: dict[str, frozenset[int]] = field(default_factory=dict, init=False, repr=False)

    def of_a_class(
        self, task: Task, rng: np.random.Generator
    ) -> tuple[str, tuple[int, ...]] | None:
        """A case, and the label values of a class or region that was chosen before it.

        The class is uniform among those that some case has; None where there is none.
        """
        there = [
            (tuple(group), names) for group in class_groups(task) if (names := self._holders(group))
        ]
        if not there:
            return None
        group, names = there[int(rng.integers(len(there)))]
        return choose_case(names, self.weights, rng), group

    def donor(
        self, values: Sequence[int], receiver: str, rng: np.random.Generator
    ) -> tuple[str, int] | None:
        """A fully labelled case other than the `receiver`, and one of `values` that it has.

        The value is uniform among those that such a case has; None where there is none.
        """
        there = []
        for value in values:
            names = [name for name in self._holders((value,)) if name != receiver]
            full = [name for name in names if self.supervision.of(name).kind == "full"]
            if full:
                there.append((value, full))
        if not there:
            return None
        value, names = there[int(rng.integers(len(there)))]
        return choose_case(names, self.weights, rng), value

    def _holders(self, values: Sequence[int]) -> list[str]:
        """The cases that may be sampled and have one of the label values."""
        if not self._found:
            for name in self.names:
                tables = self.store.case(name).locations.items()
                self._found[name] = frozenset(v for v, table in tables if v > 0 and len(table))
        return [
            name
            for name in self.names
            if self._found[name].intersection(values) and self.weights.get(name, 1.0) > 0
        ]
