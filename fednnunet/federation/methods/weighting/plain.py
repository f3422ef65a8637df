"""Weights that ask for nothing but the number of cases, or not even for that.

`cases`, McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
Data", AISTATS 2017:  w_k = n_k, the training cases of site k. It is what every method does without
a table `[training.weights]`.

`uniform`:  w_k = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fednnunet.federation.methods.mean import by_cases, uniform
from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.wire.figures import FigureName


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Sites count by their training cases (FedAvg, McMahan 2017)."""

    tag: ClassVar[str] = "cases"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "sum"
    figures: ClassVar[tuple[FigureName, ...]] = ()

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The numbers of cases."""
        return {reply.site: by_cases(reply) for reply in replies}


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """All sites count the same."""

    tag: ClassVar[str] = "uniform"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "sum"
    figures: ClassVar[tuple[FigureName, ...]] = ()

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """1 for each."""
        return {reply.site: uniform(reply) for reply in replies}
