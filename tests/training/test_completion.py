"""When local training asks a completion, and what it does with the answers."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch

from fednnunet.training.batches import SecondView
from fednnunet.training.completion import Moment
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from tests.training.fakes import CPU, small_plan, train_on_cpu


def wanted(supervision):
    return True


class Recording:
    """A completion that notes when it is asked; its pseudo-labels are the labels themselves.

    Its loss is `weight` times the mean of the finest logits, and 0 without a weight.
    """

    def __init__(self, weight=0.0, local_rule=None):
        self.weight, self.local_rule = weight, local_rule or LocalRule()
        self.second_view = SecondView(wanted=wanted)
        self.told, self.moments, self.batches, self.seen = [], [], [], []

    def make_loss(self, task, configuration, recipe, /):
        assert task.labels and recipe is RECIPES["fast"]

        def loss(logits, batch):
            self.seen.append(batch)
            return logits[0].mean() * self.weight

        return loss

    def begin(self, state, /):
        self.told.append(("begin", state.step))

    def complete(self, state, batch, moment, /):
        self.told.append(("complete", state.step))
        self.moments.append(moment)
        self.batches.append(batch)
        return replace(batch, weak=None, pseudo=(batch.labels,), pseudo_weights=(1.0,))

    def follow(self, state, /):
        self.told.append(("follow", state.step))

    def end(self, state, /):
        self.told.append(("end", state.step))


def a_state():
    return new_state(*small_plan(), RECIPES["fast"], CPU, seed=1)


def trained(completion, **changes):
    now = a_state()
    train_on_cpu(now, completion=completion, **{"iterations": 2, **changes})
    return now


def same(a, b):
    one, two = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_it_is_asked_at_the_beginning_around_every_iteration_and_at_the_end():
    completion = Recording()
    trained(completion)
    assert completion.told == [
        ("begin", 0),
        ("complete", 0),
        ("follow", 1),
        ("complete", 1),
        ("follow", 2),
        ("end", 2),
    ]


def test_the_moments_are_shares_of_the_federations_iterations():
    completion = Recording()
    trained(completion, iterations=3, schedule_start=2, schedule_length=4)
    assert [moment.done for moment in completion.moments] == [0.5, 0.75, 1.0]
    assert all(moment.execution == CPU and moment.at_once >= 1 for moment in completion.moments)


def test_a_moment_cannot_be_changed():
    moment = Moment(done=0.5, at_once=2, execution=CPU)
    with pytest.raises(dataclasses.FrozenInstanceError):
        moment.done = 1.0


def test_the_batch_has_the_second_view_that_it_asks_for():
    completion = Recording()
    trained(completion, iterations=1)
    (batch,) = completion.batches
    assert batch.weak is not None and batch.weak.shape == batch.image.shape


def test_the_loss_is_on_the_batch_that_it_completed():
    completion = Recording()
    trained(completion, iterations=1)
    labels = torch.cat([part.pseudo[0] for part in completion.seen])
    assert torch.equal(labels, completion.batches[0].labels)


def test_its_loss_is_added_to_the_supervised_one():
    plain = trained(Recording())
    assert same(plain, trained(Recording()))
    assert not same(plain, trained(Recording(weight=10.0)))


def test_its_rule_stands_behind_the_methods():
    order = []

    def named(name):
        def rule(state, batch, gradient, context):
            order.append(name)
            return gradient(batch)

        return LocalRule(gradient_rules=(rule,))

    trained(Recording(local_rule=named("completion")), iterations=1, local_rule=named("method"))
    assert order == ["method", "completion"]
