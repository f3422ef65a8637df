"""Weights by agreement in direction (FedAdp), by what is left to the worst loss, by shortfall."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedadp import ByAngle, fedadp
from fednnunet.federation.methods.method import Reply, State
from fednnunet.federation.methods.qfedavg_dice import ByDiceLoss, qfedavg_dice
from fednnunet.federation.methods.updates import Pulls
from fednnunet.federation.methods.weighting import Proportional
from fednnunet.federation.wire.extras import split
from fednnunet.training.counts import DiceCounts
from fednnunet.training.initial import initial_tensors
from tests.contracts.test_local_training import CONFIGURATION, a_trainer, an_invite

NAME = "encoder.0.blocks.0.conv.weight"


def a_reply(site: str, change: tuple[float, float], *, cases: int = 1, **settings) -> Reply:
    values = {"loss": 0.0, **settings}
    return Reply(site=site, tensors={NAME: torch.tensor(change)}, cases=cases, **values)


def a_state() -> State:
    return State(round=0, shared={NAME: torch.zeros(2)})


def test_a_cosine_is_that_of_all_trained_tensors_as_one_vector():
    head, running = "heads.0.weight", "encoder.0.norm.running_mean"
    start = {NAME: torch.ones(2), head: torch.zeros(1), running: torch.zeros(1)}
    changes = {"b": ((3.0, 0.0), 4.0), "a": ((5.0, 5.0), 0.0), "still": ((0.0, 0.0), 0.0)}
    replies = [
        Reply(
            site=site,
            tensors={
                NAME: torch.ones(2) + torch.tensor(body),
                head: torch.tensor([last]),
                running: torch.tensor([99.0]),
            },
            cases=1,
            loss=0.0,
        )
        for site, (body, last) in changes.items()
    ]
    state = State(round=0, shared=start)
    pulls = Pulls.of(state, replies)
    a, b, both = {"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 1.0}
    assert pulls.sites == ("a", "b", "still")
    assert pulls.cosine(a, b) == pytest.approx(15 / (5 * math.hypot(5, 5)))
    assert pulls.cosine(a, {"a": 2.0}) == pytest.approx(1.0)
    assert pulls.cosine(a, both) == pytest.approx(65 / (math.hypot(5, 5) * math.hypot(8, 5, 4)))
    assert pulls.cosine(a, {"still": 1.0}) == 0.0
    assert pulls.cosine({}, b) == 0.0
    assert Pulls.of(state, replies, lambda name: name != head).cosine(a, b) == pytest.approx(
        0.5**0.5
    )


def test_fedadp_is_its_formula():
    replies = [a_reply("a", (1.0, 0.0), cases=3), a_reply("b", (0.0, 1.0), cases=1)]
    merged = fedadp.merge(a_state(), replies)
    # The mean by cases is (3, 1) / 4, at angles atan(1/3) to a and atan(3) to b.
    angles = {"a": math.atan2(1, 3), "b": math.atan2(3, 1)}
    gain = {s: 5 * (1 - math.exp(-math.exp(-5 * (a - 1)))) for s, a in angles.items()}
    weights = {"a": 3 * math.exp(gain["a"]), "b": 1 * math.exp(gain["b"])}
    share = weights["a"] / sum(weights.values())
    torch.testing.assert_close(merged.shared[NAME], torch.tensor([share, 1 - share]))
    for site, angle in angles.items():
        assert merged.memory[f"angle/{site}"].tolist() == pytest.approx([angle, 1.0])


def test_fedadp_takes_the_mean_angle_over_the_rounds_of_a_site():
    state = a_state()
    both = [a_reply("a", (1.0, 0.0)), a_reply("b", (0.0, 1.0))]
    state = fedadp.merge(state, both)
    alone = fedadp.merge(replace(state, shared={NAME: torch.zeros(2)}), both[:1])
    assert alone.memory["angle/a"].tolist() == pytest.approx([math.pi / 8, 2.0])
    assert alone.memory["angle/b"].tolist() == pytest.approx([math.pi / 4, 1.0])


def test_fedadp_falls_from_its_slope_to_nothing():
    gains = [ByAngle().gain(angle) for angle in (0.0, 0.5, 1.0, 2.0, math.pi)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == pytest.approx(5.0)
    assert gains[-1] == pytest.approx(0.0, abs=1e-3)


def test_propfair_weighs_by_what_is_left_to_the_worst_loss():
    replies = [a_reply("a", (0.0, 0.0), cases=4, loss=0.0), a_reply("b", (0.0, 0.0), loss=2.0)]
    assert Proportional()(replies) == pytest.approx({"a": 4 / (5 - 1), "b": 1 / (5 - 3)})
    far = Proportional()([a_reply("a", (0.0, 0.0), loss=100.0)])
    assert far == pytest.approx({"a": 1 / 0.2})


def test_shortfall_is_one_minus_the_mean_dice_of_targets_that_are_there():
    counts = DiceCounts(names=("a", "b", "c"), tp=(6, 0, 0), fp=(2, 3, 0), fn=(2, 1, 0))
    assert counts.dice_loss == pytest.approx(1 - (12 / 16 + 0 / 4) / 2)
    assert DiceCounts.empty(("a", "b")).dice_loss == 1.0


def test_the_site_that_is_served_worse_counts_more():
    extras = {"shortfall": torch.tensor([0.2])}
    replies = [
        a_reply("a", (0.0, 0.0), cases=2, extras=extras),
        a_reply("b", (1.0, 1.0), cases=1, extras={"shortfall": torch.tensor([0.8])}),
    ]
    assert ByDiceLoss(q=1.0)(replies) == pytest.approx({"a": 0.4, "b": 0.8})
    assert ByDiceLoss(q=0.0)(replies) == {"a": 2.0, "b": 1.0}
    merged = qfedavg_dice.merge(a_state(), replies)
    torch.testing.assert_close(merged.shared[NAME], torch.full((2,), 0.8 / 1.2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ByAngle(slope=0.0),
        lambda: Proportional(least=0.0),
        lambda: Proportional(most=0.1),
        lambda: ByDiceLoss(q=-1.0),
        lambda: ByDiceLoss(q=math.nan),
    ],
)
def test_impossible_constants_are_refused(make):
    with pytest.raises(InputError, match="is"):
        make()


def test_a_site_tells_its_shortfall_and_trains_as_without(tmp_path):
    replies = {}
    for method in ("fedavg", "qfedavg_dice"):
        trainer = a_trainer(tmp_path / method, "one")
        first = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
        replies[method] = trainer.train(an_invite(method, first, 0))
    tensors, extras = split(replies["qfedavg_dice"].tensors)
    assert all(torch.equal(t, tensors[name]) for name, t in replies["fedavg"].tensors.items())
    assert extras.keys() == {"shortfall"}
    assert 0 < float(extras["shortfall"]) <= 1


def test_the_shortfall_is_that_of_the_received_model(tmp_path):
    """However long the site trains in the round, the number is the same."""
    numbers = []
    for iterations in (1, 3):
        trainer = a_trainer(tmp_path / str(iterations), "one")
        first = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
        invite = replace(an_invite("qfedavg_dice", first, 0), iterations=iterations)
        numbers.append(float(split(trainer.train(invite).tensors)[1]["shortfall"]))
    assert numbers[0] == numbers[1]
