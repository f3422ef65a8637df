"""No exchange at all: what each site reaches alone, the lower reference of a federation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from fednnunet.federation.methods.merge import Reply, State, Streamed
from fednnunet.federation.methods.method import Method


def _none(name: str) -> bool:
    return False


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
        return Method(is_shared=_none, merge=Streamed(NothingAdded, keeps_equal_sites=True))
