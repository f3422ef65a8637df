"""FedCE's estimate from what was measured."""

from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.evaluation.contribution import Contributions, RoundContribution, estimate


def measured(**values: tuple[float, float | None]) -> dict[str, RoundContribution]:
    return {s: RoundContribution(divergence=a, dice_loss=m) for s, (a, m) in values.items()}


def test_both_parts_are_normalised_added_and_normalised_again():
    first = measured(a=(0.2, None), b=(0.4, None))
    last = measured(a=(0.4, 0.1), b=(1.0, 0.3))
    found = estimate([first, last]).sites
    assert found["a"].divergence == pytest.approx(0.3)
    assert found["b"].divergence == pytest.approx(0.7)
    assert found["a"].dice_loss == 0.1
    assert found["a"].share == pytest.approx((0.3 + 0.25) / 2)
    assert found["b"].share == pytest.approx((0.7 + 0.75) / 2)


def test_directions_stand_alone_where_a_site_was_not_asked():
    found = estimate([measured(a=(0.2, 0.9), b=(0.6, None))]).sites
    assert (found["a"].share, found["b"].share) == pytest.approx((0.25, 0.75))


def test_a_site_that_missed_rounds_has_the_mean_over_its_own():
    rounds = [measured(a=(0.2, None), b=(0.2, None)), measured(a=(0.6, None), c=(0.6, None))]
    divergence = {site: found.divergence for site, found in estimate(rounds).sites.items()}
    assert divergence == pytest.approx({"a": 0.4, "b": 0.2, "c": 0.6})


def test_sites_that_are_all_alike_share_evenly():
    found = estimate([measured(a=(0.0, 0.0), b=(0.0, 0.0))]).sites
    assert (found["a"].share, found["b"].share) == (0.5, 0.5)


def test_nothing_measured_is_no_site(tmp_path):
    assert estimate([{}, {}]) == Contributions(sites={})
    found = estimate([measured(a=(0.2, None), b=(0.4, 0.2))])
    records.write(found, tmp_path / "contribution.json")
    assert records.read(Contributions, tmp_path / "contribution.json") == found
