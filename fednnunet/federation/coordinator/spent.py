"""What differential privacy has cost each site of a training, as the sites have stated it."""

from __future__ import annotations

from collections.abc import Iterable

from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.wire.privacy import Spent

SCOPE = (
    "for what the sites sent in training; the fingerprint of planning, numbers of cases, and "
    "scores of held-out cases are not in it"
)
"""What a figure is of."""


def spent_by_site(history: Iterable[RoundRecord]) -> dict[str, Spent]:
    """The last statement of each site, by name; empty without differential privacy."""
    found = {
        name: site.spent
        for record in history
        for name, site in record.sites.items()
        if site.spent is not None
    }
    return dict(sorted(found.items()))


def spent_words(history: Iterable[RoundRecord], *, named: bool = True) -> tuple[str, ...]:
    """A line a site, `named` or not, and the scope of the figures; nothing without privacy."""
    found = spent_by_site(history)
    if not found:
        return ()
    lines = [f"{name}: {spent.words}" if named else spent.words for name, spent in found.items()]
    return (*dict.fromkeys(lines), SCOPE)
