"""No exchange at all: what each site reaches alone, the lower reference of a federation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.methods.method import Method


def _none(name: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class NoMerge:
    """A merge of nothing: it counts the round."""

    needs: ClassVar[Needs] = "sum"
    keeps_equal_sites: ClassVar[bool] = True

    def start(self, state: State, /) -> NothingAdded:
        """Begin a round."""
        return NothingAdded(state)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """None."""
        return {}


class NothingAdded:
    """An aggregation that leaves the state as it is, but for the number of the round."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, reply: Reply, /) -> None:
        """Nothing is shared."""

    def finish(self) -> State:
        """The state after the round."""
        return replace(self._state, round=self._state.round + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Nothing is shared; every site trains alone."""

    tag: ClassVar[str] = "local"

    def build(self) -> Method:
        """The method."""
        return Method(is_shared=_none, merge=NoMerge())
