"""A run is known by its method's constants, not by the method's name alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.constants import constants
from fednnunet.federation.methods.fedavgm import Momentum
from fednnunet.federation.methods.method import MeanBy
from fednnunet.federation.methods.server_step import ServerStep
from fednnunet.federation.methods.weighting import ByLoss


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_told_as_json_the_same_every_time(name):
    told = json.dumps(constants(METHODS[name]))
    assert told == json.dumps(constants(METHODS[name]))
    assert "0x" not in told


def test_no_two_methods_are_alike():
    told = [json.dumps(constants(method)) for method in METHODS.values()]
    assert len(set(told)) == len(METHODS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MeanBy(ByLoss(q=1.0)), MeanBy(ByLoss(q=2.0))),
        (ServerStep(Momentum(learning_rate=1.0)), ServerStep(Momentum(learning_rate=0.5))),
        (ServerStep(Momentum()), ServerStep(Momentum(), mean=MeanBy(ByLoss(q=1.0)))),
    ],
)
def test_another_constant_is_another_method(one, other):
    assert constants(one) == constants(one)
    assert constants(one) != constants(other)


def test_the_description_does_not_count():
    fedavg = METHODS["fedavg"]
    assert constants(replace(fedavg, about="said otherwise")) == constants(fedavg)


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(TypeError, match="neither a frozen value nor a named function"):
        constants(object())
