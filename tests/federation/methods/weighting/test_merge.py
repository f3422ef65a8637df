"""Which methods take other weights."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.site_mean import SiteMean
from fednnunet.federation.methods.weighting.merge import weighted_merge
from fednnunet.federation.methods.weighting.plain import Uniform
from fednnunet.federation.training_spec import Training
from tests.contracts.helpers import merged
from tests.federation.methods.replies import NAME, a_reply, a_state

UNIFORM = SiteMean(rule=Uniform())
REPLIES = [a_reply("a", (1.0, 0.0), cases=1), a_reply("b", (5.0, 0.0), cases=3)]
TAKEN = {"fedavg", "fedbn_head", "fedprox", "fedavgm", "fedadam", "ditto", "fedease", "similarity"}
REFUSED = {"fedavg_uniform", "qfedavg", "propfair", "fedadp", "fednova", "scaffold", "fedproto"}


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_a_mean_takes_the_weights_wherever_it_stands(name):
    merge = weighted_merge(METHODS[name].merge, UNIFORM, method=name)
    by_rule, by_cases = (merged(m, a_state(), REPLIES) for m in (merge, METHODS[name].merge))
    assert not by_rule.shared[NAME].equal(by_cases.shared[NAME])


def test_a_site_mean_is_that_of_the_rule_also_where_sites_get_their_own():
    for name in ("fedavg", "fedease", "similarity"):
        merge = weighted_merge(METHODS[name].merge, UNIFORM, method=name)
        assert merged(merge, a_state(), REPLIES).shared[NAME].tolist() == [3.0, 0.0]
    similar = weighted_merge(METHODS["similarity"].merge, UNIFORM, method="similarity")
    found = merged(similar, a_state(), REPLIES)
    assert found.for_site["a"][NAME].tolist() == [3.0, 0.0]  # both updates have one direction


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_method_with_weights_of_its_own_is_refused_by_name(name):
    with pytest.raises(InputError, match=f"method {name} weights sites by itself"):
        Training(method=name, weights="uniform")  # type: ignore[arg-type]


def test_without_a_table_nothing_changes():
    for method in METHODS.values():
        assert weighted_merge(method.merge, SiteMean(), method="any") is method.merge


def test_a_robust_mean_counts_all_alike():
    for other in ({"weights": "uniform"}, {"merging": Merging(conflicts="drop")}):
        with pytest.raises(InputError, match="robust mean counts all sites alike"):
            Training(method="fedavg", robust={}, **other)  # type: ignore[arg-type]
