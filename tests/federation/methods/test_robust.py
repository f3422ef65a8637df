"""Robust means of replies, and which methods take them."""

from __future__ import annotations

import itertools
import typing

import pytest
import torch

from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.merge import State
from fednnunet.federation.methods.robust import RobustMean, RobustMerge, Rule, robust_merge
from fednnunet.federation.training_spec import Training
from tests.contracts.helpers import merged
from tests.federation.methods.replies import NAME, a_reply, a_state

RULES = typing.get_args(Rule)
HONEST = [
    a_reply(site, (1.0 + far, -1.0 + far), cases=n + 1)
    for n, (site, far) in enumerate({"a": 0.0, "b": 0.1, "c": 0.25, "d": 0.3}.items())
]


def after(rule, replies, state=None, **settings):
    merge = RobustMerge(RobustMean(rule=rule, **settings))
    return merged(merge, state or a_state(), replies).shared[NAME]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("median", [1.25, -0.75]),
        ("trimmed_mean", [(1.1 + 1.25 + 1.3) / 3, -(0.9 + 0.75 + 0.7) / 3]),
        ("krum", [1.25, -0.75]),
        ("multi_krum", [1.1625, -0.8375]),
    ],
)
def test_rules_by_hand(rule, wanted):
    replies = [*HONEST, a_reply("e", (50.0, 50.0))]
    assert after(rule, replies, neighbours=False).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("neighbours", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sent", [(1e4, 1e4), (-1e4, 0.0), (-1.15, 0.85)])
def test_one_hostile_site_of_five_cannot_move_the_mean_far(rule, neighbours, sent):
    found = after(rule, [*HONEST, a_reply("e", sent, cases=1000)], neighbours=neighbours)
    honest = torch.stack([reply.tensors[NAME] for reply in HONEST])
    assert (found - honest.mean(0)).norm() < 1.0
    mean = merged(FedAvg().build().merge, a_state(), [*HONEST, a_reply("e", sent, cases=1000)])
    assert (mean.shared[NAME] - honest.mean(0)).norm() > 1.0


@pytest.mark.parametrize("rule", RULES)
def test_order_does_not_matter_and_equal_replies_are_kept(rule):
    replies = [*HONEST, a_reply("e", (7.0, -3.0))]
    found = [
        after(rule, order)
        for order in itertools.islice(itertools.permutations(replies), 0, 120, 17)
    ]
    assert all(torch.equal(found[0], each) for each in found)
    same = [a_reply(site, (0.1, 0.3)) for site in "abcde"]
    assert torch.equal(after(rule, same), same[0].tensors[NAME])


def test_counters_are_those_of_most_sites():
    count = "encoder.0.blocks.0.norm.num_batches_tracked"
    state = State(round=0, shared={NAME: torch.zeros(2), count: torch.tensor(0)})
    values = {"a": 5, "b": 5, "c": 10**6}
    replies = []
    for site, value in values.items():
        reply = a_reply(site, (float(ord(site)), 0.0))
        replies.append(
            type(reply)(
                site=site, cases=1, loss=0.0, tensors={**reply.tensors, count: torch.tensor(value)}
            )
        )
    new = merged(RobustMerge(RobustMean()), state, replies)
    assert int(new.shared[count]) == 5 and new.round == 1


@pytest.mark.parametrize(("rule", "needed"), [("median", 3), ("krum", 5)])
def test_too_few_replies_are_an_error_that_says_how_many_are_needed(rule, needed):
    with pytest.raises(ReplyError, match=f"needs {needed}"):
        after(rule, HONEST[: needed - 1])


@pytest.mark.parametrize("settings", [{"faulty": 0}, {"rule": "median", "radius": 1.0}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(InputError):
        RobustMean(**settings)


def test_methods_with_a_mean_take_a_robust_one_and_others_are_refused_by_name():
    taken, refused = set(), set()
    for name, method in METHODS.items():
        try:
            robust_merge(method.merge, RobustMean(), method=name)
            taken.add(name)
        except InputError as error:
            assert name in error.what
            refused.add(name)
    assert {"fedavg", "fedbn_head", "fedprox", "fedavgm", "fedadam", "fedease_all"} <= taken
    assert {"fedease", "scaffold", "fednova", "similarity"} <= refused


def test_a_federation_file_is_refused_where_its_method_takes_no_mean():
    training = Training(method="fedavgm", robust=RobustMean(), baselines=("local", "fedavg"))
    merges = [training.merge(settings) for settings in training.runs.values()]
    assert isinstance(merges[0].mean, RobustMerge)
    assert not isinstance(merges[1], RobustMerge) and isinstance(merges[2], RobustMerge)
    with pytest.raises(InputError, match="scaffold"):
        Training(method="scaffold", robust=RobustMean())
