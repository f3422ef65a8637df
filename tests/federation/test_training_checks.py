"""The checks of the table `[training]`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.guard_spec import Guard
from fednnunet.federation.methods.robust import RobustMean
from fednnunet.federation.methods.step import StepBetweenRounds
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.secure_spec import SecureAggregation
from fednnunet.federation.training_checks import FOLDS, MAX_ITERATIONS, MAX_ROUNDS
from fednnunet.federation.training_spec import Training


def test_the_best_needs_rounds_to_choose_from():
    with pytest.raises(InputError, match="validate_every is 0"):
        Training(keep="best")
    assert replace(Training(), keep="best", validate_every=1).keep == "best"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rounds": 0}, "at least 1"),
        ({"rounds": MAX_ROUNDS + 1}, "too many rounds"),
        ({"iterations_per_round": MAX_ITERATIONS + 1}, "iterations_per_round is too large"),
        ({"personal_rounds": -1}, "is negative"),
        ({"seed": -1}, "seed or split_seed is negative"),
        ({"split_seed": -1}, "seed or split_seed is negative"),
        ({"quorum": -1}, "sites_per_round or quorum is negative"),
        ({"deadline_s": -1.0}, "deadline_s is -1.0"),
        ({"grace_s": 5.0}, "without a quorum"),
        ({"max_cases": -1}, "max_cases is -1"),
        ({"held_out": 1.0}, "held_out is 1.0"),
        ({"fold": FOLDS}, "there is no fold 5"),
        ({"validate_every": -1}, "validate_every is -1"),
        ({"recipe": "magic"}, "no recipe"),
        ({"filters": ("magic",)}, "magic"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(FedNNUNetError) as caught:
        Training(**settings)
    assert words in str(caught.value)


def test_bounds_themselves_are_allowed():
    training = Training(held_out=0.0, fold=FOLDS - 1, grace_s=1.0, quorum=1, rounds=MAX_ROUNDS)
    assert training.fold == 4


@pytest.mark.parametrize("others", [{"filters_down": ("quantised",)}, {"pretraining_rounds": 2}])
def test_first_rounds_alone_exclude_what_needs_common_weights(others):
    with pytest.raises(InputError, match="alone_rounds is 1 together with"):
        Training(step=StepBetweenRounds(alone_rounds=1), **others)


@pytest.mark.parametrize(
    ("others", "trial"),
    [
        ({}, True),
        ({"guard": Guard(share=0)}, False),
        ({"rounds": 5}, False),
        ({"method": "fedbn_head", "robust": RobustMean()}, False),
        ({"method": "fedbn_head", "max_update_ratio": 0.0, "secure": SecureAggregation()}, False),
        ({"privacy": Privacy()}, False),
        ({"pretraining_rounds": 2}, False),
    ],
)
def test_sites_have_a_trial_where_one_of_them_can_be_left_out(others, trial):
    assert Training(**others).has_trial == trial


@pytest.mark.parametrize("threads", [-1, 1025])
def test_threads_that_no_machine_has_are_refused(threads):
    with pytest.raises(InputError, match=f"threads is {threads}"):
        Training(threads=threads)
