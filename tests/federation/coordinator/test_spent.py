"""What sites have stated of their privacy, for report and card."""

from __future__ import annotations

from fednnunet.federation.coordinator.history import RoundRecord, SiteRound
from fednnunet.federation.coordinator.spent import SCOPE, spent_by_site, spent_words
from fednnunet.federation.wire.privacy import Spent


def spent(epsilon: float) -> Spent:
    return Spent(unit="patient", epsilon=epsilon, total=epsilon, delta=1e-5, rounds=1)


def record(number: int, **epsilons: float | None) -> RoundRecord:
    sites = {
        name: SiteRound(
            cases=5,
            loss=None,
            dice=(),
            seconds=1,
            wait_share=0,
            bytes_to_site=1,
            bytes_from_site=1,
            spent=None if value is None else spent(value),
        )
        for name, value in epsilons.items()
    }
    return RoundRecord(key="k", round=number, phase="joint", shift=0, sites=sites, refused={})


def test_the_last_statement_of_each_site_counts():
    """Also of a site that was not in the last round, or sent nothing in it."""
    history = (record(1, b=1.0, a=2.0), record(2, b=1.5), record(3, b=None))
    assert {name: one.epsilon for name, one in spent_by_site(history).items()} == {"a": 2, "b": 1.5}
    first, second, scope = spent_words(history)
    assert first.startswith("a: epsilon 2 ")
    assert second.startswith("b: epsilon 1.5 ")
    assert scope == SCOPE


def test_sites_need_not_be_named():
    words = spent_words((record(1, a=2.0, b=2.0),), named=False)
    assert words == (spent(2.0).words, SCOPE)


def test_without_privacy_there_are_no_words():
    assert spent_words((record(1, a=None),)) == ()
