"""What sites are sent in fewer bytes: codes of changes, in the place of weights (`filters_down`).

After a round the coordinator codes, by the same filters as sites do,

    c = new - sent + e,      e' = c - decoded(code),

where `sent` is what the sites of the round were sent, and goes on with sent + decoded(code): the
state holds just the weights that the sites will train from, so all that is computed from it, and
all that is logged, is the same at both sides. What a code loses, e', is added to the next change
(as in DoubleSqueeze: Tang et al., ICML 2019). Sites that are sent weights of their own have codes
of their own. A site that was not accepted in the round before is sent the same weights whole, and
so is every site in the first round of a phase. With the last round of a phase all that was lost
comes back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from fednnunet.federation.filters.chain import (
    filter_at_coordinator,
    filter_at_site,
    may_be_coded,
)
from fednnunet.federation.filters.filter import Filter, FilterContext
from fednnunet.federation.methods.merge import State, Tensors
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import TrainInvite

_CODES, _LOST = "codes", "lost"
_ALL = ""  # in the place of a site's name: what all sites are sent that have nothing of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class SentWeights:
    """The codes after a round that was begun by `invites`, of which `accepted` sites replied.

    `more` says whether another round of the phase follows.
    """

    filters: tuple[Filter, ...]
    invites: Mapping[str, TrainInvite]
    accepted: Collection[str]
    more: bool

    def coded(self, state: State) -> State:
        """The merged state with the weights that sites will have, and their codes in `down`."""
        if not self.filters:
            return state
        lost = {name: tensor for name, tensor in state.down.items() if name.startswith(f"{_LOST}/")}
        first = next(iter(self.invites.values()))
        coding = self.more and first.phase != "personal"
        own = state.for_site if first.phase == "joint" else {}
        groups = {site if site in own else _ALL: site for site in sorted(self.accepted)}
        down: dict[str, Tensor] = {}
        made: dict[str, dict[str, Tensor]] = {}
        for group in {_ALL, *own, *groups}:
            weights = own.get(group, state.shared)
            kept = _part(lost, f"{_LOST}/{group}/")
            if coding and group in groups:
                sent = split(self.invites[groups[group]].tensors)[0]
                made[group], more = self._code(group, weights, sent, kept, state.round)
                down |= more
            elif kept:
                made[group] = _with_lost(weights, kept)
        return replace(
            state,
            shared=made.pop(_ALL, state.shared),
            for_site={**state.for_site, **made},
            down=down,
        )

    def _code(
        self, group: str, weights: Tensors, sent: Tensors, kept: Tensors, number: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What a group of sites will have, and its part of `State.down`."""
        first = next(iter(self.invites.values()))
        context = FilterContext(
            site=group, run=first.run, round=number, phase=first.phase, received=sent
        )
        memory = dict(kept)
        codes = filter_at_site(self.filters, weights, context, memory)
        decoded = filter_at_coordinator(self.filters, codes, context)
        down = {f"{_CODES}/{group}/{name}": tensor for name, tensor in codes.items()}
        down |= {f"{_LOST}/{group}/{name}": tensor for name, tensor in memory.items()}
        return dict(decoded), down


def as_sent(
    filters: Sequence[Filter], state: State, invites: Mapping[str, TrainInvite]
) -> dict[str, TrainInvite]:
    """The invites of a round with codes in the place of weights where their sites can read them."""
    if not filters:
        return dict(invites)
    result = {}
    for site, invite in invites.items():
        own = site in state.for_site and invite.phase == "joint"
        codes = _part(state.down, f"{_CODES}/{site if own else _ALL}/")
        extras = split(invite.tensors)[1]
        coded = may_be_coded(invite) and codes
        result[site] = replace(invite, tensors=join(codes, extras)) if coded else invite
    return result


def _with_lost(weights: Tensors, lost: Tensors) -> dict[str, Tensor]:
    """The weights with what codes have lost of them: memory of a filter is named by its tensor."""
    names = {name.rpartition("/")[2]: name for name in lost}
    return {
        name: tensor + lost[names[name]] if name in names else tensor
        for name, tensor in weights.items()
    }


def _part(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
