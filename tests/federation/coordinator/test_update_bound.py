from __future__ import annotations

import pytest
import torch

from fednnunet.federation.coordinator.history import RoundRecord, SiteRound
from fednnunet.federation.coordinator.update_bound import UpdateBound
from fednnunet.federation.training_spec import Training


def site(norm, *, unlabelled=0):
    return SiteRound(
        cases=4,
        unlabelled=unlabelled,
        loss=0.1,
        dice=(),
        seconds=1.0,
        wait_share=0.0,
        bytes_to_site=1,
        bytes_from_site=1,
        update_norm=norm,
    )


def bound(**sites):
    record = RoundRecord(key="k", round=1, phase="joint", shift=1.0, sites=sites, refused={})
    return UpdateBound.of((record,), "joint", Training())


def test_sites_without_labels_do_not_lower_the_bound():
    found = bound(a=site(2.0), b=site(0.01, unlabelled=4), c=site(0.02, unlabelled=4))
    assert found.median == 2.0
    received = {"weight": torch.zeros(2)}
    assert found.limit(received, Training().iterations_per_round) == 20.0


def test_a_site_of_which_some_cases_have_labels_counts():
    assert bound(a=site(2.0), b=site(1.0, unlabelled=3)).median == pytest.approx(1.5)


def test_where_no_site_has_labels_all_count():
    assert bound(a=site(1.0, unlabelled=4), b=site(3.0, unlabelled=4)).median == 2.0
