"""Which sites take part in a round.

A function of the seed, the round and the history alone, so that a resumed training asks the same
sites. `random` is even over time: those that were asked in the smallest share of the rounds since
they joined come first, and lots decide between equals.

`loss` is Cho et al., "Client Selection in Federated Learning: Convergence Analysis and
Power-of-Choice Selection Strategies", 2020, in its variant without extra exchange (rpow-d): twice
as many candidates as wanted are sampled in proportion to their cases, and those of them with the
highest loss take part. The loss is the mean over a site's last joint round; a site that was not yet
heard counts as the highest, and one that states no loss, since it is over too few cases, as the
mean of the others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.membership import Member, Selection, present


def choose(
    members: Mapping[str, Member],
    number: int,
    history: Sequence[RoundRecord],
    *,
    count: int,
    selection: Selection,
    seed: int,
) -> tuple[str, ...]:
    """`count` of the members that are in round `number` (from 0), sorted; 0 takes all."""
    found = present(members, number)
    if not 0 < count < len(found):
        return found
    lots = {name: _lot(seed, number, name) for name in found}
    joint = [record for record in history if record.phase == "joint"]
    if selection == "loss":
        return _by_loss({name: members[name] for name in found}, lots, joint, count)
    shares = {name: _asked(joint, name, members[name].joins) for name in found}
    return tuple(sorted(sorted(found, key=lambda name: (shares[name], lots[name]))[:count]))


def _by_loss(
    members: Mapping[str, Member],
    lots: Mapping[str, float],
    history: Iterable[RoundRecord],
    count: int,
) -> tuple[str, ...]:
    """The highest losses among candidates sampled by cases (Efraimidis and Spirakis 2006)."""
    heard: dict[str, float | None] = dict.fromkeys(members, math.inf)
    for record in history:
        heard |= {name: site.loss for name, site in record.sites.items() if name in members}
    stated = [loss for loss in heard.values() if loss is not None and math.isfinite(loss)]
    mean = math.fsum(stated) / len(stated) if stated else 0.0
    losses = {name: mean if loss is None else loss for name, loss in heard.items()}
    sampled = sorted(members, key=lambda name: -math.log(lots[name]) / max(members[name].cases, 1))
    candidates = sampled[: 2 * count]
    return tuple(sorted(sorted(candidates, key=lambda name: (-losses[name], lots[name]))[:count]))


def _asked(history: Sequence[RoundRecord], name: str, joins: int) -> float:
    """The share of the rounds since a site joined in which it was asked."""
    since = [record for record in history if record.round >= joins]
    times = sum(name in record.sites or name in record.refused for record in since)
    return times / len(since) if since else 0.0


def _lot(seed: int, number: int, name: str) -> float:
    """An even random number above 0 and up to 1, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{number}/{name}".encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 1) / 2**48
