"""The table of rules, and the laws that all of them keep to."""

from __future__ import annotations

import itertools
import json

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError
from fednnunet.federation.methods.site_mean import SiteMean
from fednnunet.federation.methods.weighting.catalogue import RULES
from fednnunet.federation.methods.weighting.fedmix import FedMix
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.figures import Figures
from tests.contracts.helpers import merged
from tests.federation.methods.replies import NAME, a_reply, a_state

REPLIES = [
    a_reply(
        site,
        (float(number), 1.0),
        cases=number + 1,
        loss=0.5 * number,
        overlap=((number, 1, 2), (0, 0, number)),
        held_out=((3, number, 1), (0, 0, 0)),
        figures=Figures(loss_spread=0.1 * number, contour_noise=0.2 * number),
        labelled=site != "d",
    )
    for number, site in enumerate("abcd")
]


@pytest.mark.parametrize("tag", RULES)
def test_the_mean_does_not_depend_on_the_order_and_lies_between_the_sites(tag):
    found = {
        tuple(merged(SiteMean(rule=RULES[tag]()), a_state(), order).shared[NAME].tolist())
        for order in itertools.permutations(REPLIES)
    }
    assert len(found) == 1
    ((first, second),) = found
    assert 0 < first < 3 and second == 1.0


@pytest.mark.parametrize("tag", RULES)
def test_one_site_alone_has_all_the_weight(tag):
    for reply in REPLIES:
        state = merged(SiteMean(rule=RULES[tag]()), a_state(), [reply])
        assert state.shared[NAME].tolist() == reply.tensors[NAME].tolist()


@pytest.mark.parametrize("tag", RULES)
def test_a_rule_is_a_name_or_a_table_of_rule_and_settings(tag):
    made = records.decode(Training, {"method": "fedavg", "weights": tag})
    assert made.weights == RULES[tag]()
    assert records.decode(Training, {"method": "fedavg", "weights": {"rule": tag}}) == made
    assert records.decode(Training, json.loads(json.dumps(records.encode(made)))) == made


def test_settings_stand_in_the_table_and_errors_name_the_field():
    table = {"rule": "fedmix", "strength": 3.0}
    assert records.decode(Training, {"weights": table}).weights == FedMix(strength=3.0)
    for data, words in (
        ({"rule": "fedmixx"}, "$.weights.rule"),
        ({"name": "fedmix"}, "a table with a rule"),
        ("fedmixx", "choose one of"),
        ({"rule": "fedmix", "power": -1.0}, "power is -1"),
    ):
        with pytest.raises(FedNNUNetError) as caught:
            records.decode(Training, {"weights": data})
        assert words in str(caught.value)
