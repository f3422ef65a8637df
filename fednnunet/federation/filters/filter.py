"""What a filter is: a change of what one side sends, with the other side's half that undoes it.

site work -> filters' site halves, in order -> packed, sent, unpacked
          -> filters' coordinator halves, in reverse order -> names and shapes are checked -> merge

On the way down (`training.filters_down`) the sides are exchanged: the coordinator uses the site
halves, and the site the coordinator halves; see `coordinator.sent_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from fednnunet.federation.wire.phases import Phase
from fednnunet.network.tensors import Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterContext:
    """What a filter sees of the round.

    `received` are the tensors of the invite that the site trained from, known to both sides, so
    that a filter can send differences. Extras are in it and in payloads under their message names
    (see `wire.extras`). `memory` is the filter's own at this site, on the CPU: its site half may
    change it, it is saved in one file with the state that the round ends with, and a round that is
    repeated begins with the memory of the first time. It is empty at the coordinator.
    """

    site: str
    run: str
    round: int
    phase: Phase
    received: Tensors
    memory: dict[str, Tensor] = field(default_factory=dict)


class Filter(Protocol):
    """One change of what sites send after local training; a frozen value with its settings."""

    @property
    def words(self) -> str:
        """What is done to what leaves the site, for its ledger: one line."""
        ...

    def site(self, payload: Tensors, context: FilterContext, /) -> Tensors:
        """The tensors to send in place of `payload`. Must be a function of its arguments alone."""
        ...

    def coordinator(self, payload: Tensors, context: FilterContext, /) -> Tensors:
        """The tensors to go on with in place of those that came: names, shapes and kinds as sent.

        `payload` is what another machine sent and may be anything: raise ReplyError for what the
        site half cannot have made.
        """
        ...
