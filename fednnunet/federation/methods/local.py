"""No exchange at all: what each site reaches alone, the lower reference of a federation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from fednnunet.federation.methods.method import Method, Reply, State


def _none(name: str) -> bool:
    return False


def _count_the_round(state: State, replies: Sequence[Reply]) -> State:
    return replace(state, round=state.round + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Nothing is shared; every site trains alone."""

    tag: ClassVar[str] = "local"

    def build(self) -> Method:
        """The method."""
        return Method(is_shared=_none, merge=_count_the_round)
