"""Settings that do not go together with sums under masks: one message each, before any training."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import PRESETS
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.robust import RobustMean
from fednnunet.federation.methods.step import StepBetweenRounds
from fednnunet.federation.secure_checks import with_threshold
from fednnunet.federation.secure_spec import Planning, SecureAggregation
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.labels.settings import PseudoLabels
from fednnunet.task import Task

TOGETHER = {"method": "fedavg", "max_update_ratio": 0, "secure": SecureAggregation()}


def training(**changes) -> Training:
    return Training(**{**TOGETHER, **changes})


def federation(sites: int, *, planning: bool = False, joins: int = 1, **changes) -> Federation:
    first = SiteSpec(folder=Path("s0"), joins=joins)
    others = {f"s{n}": SiteSpec(folder=Path(f"s{n}")) for n in range(1, sites)}
    return Federation(
        task=Task(name="t", channels=("MRI",), labels=("background", "a")),
        sites={"s0": first, **others},
        planning=Planning(secure=planning),
        training=training(**changes),
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "fedease"}, "method fedease needs more of the replies than their mean"),
        ({"method": "similarity"}, "method similarity needs more"),
        ({"method": "qfedavg"}, "method qfedavg needs more"),
        ({"method": "fedproto"}, "method fedproto needs more"),
        ({"baselines": ("fedadp",)}, "method fedadp needs more"),
        ({"robust": RobustMean()}, "a robust mean compares single replies"),
        ({"max_update_ratio": 10.0}, "max_update_ratio = 10 screens single replies"),
        ({"filters": ("top_k",)}, "the filter top_k sends codes"),
        ({"filters": ("quantised",)}, "the filter quantised sends codes"),
        ({"filters": ("delta_bfloat16",)}, "the filter delta_bfloat16 sends codes"),
        ({"contribution": True}, "training.contribution compares single replies"),
        ({"routed": True}, "training.routed asks for whole models"),
        ({"pseudo_labels": PseudoLabels()}, "training.pseudo_labels counts sites by"),
        ({"selection": "loss"}, "training.selection needs the loss"),
        ({"weights": "fedmix"}, "training.weights weights sites otherwise than by cases"),
        ({"merging": Merging(conflicts="drop")}, "training.merging changes single replies"),
        ({"filters_down": ("quantised",)}, "training.filters_down codes what each site receives"),
        ({"step": StepBetweenRounds(server="fedexp")}, "training.step.server needs the norms"),
        ({"step": StepBetweenRounds(alone_rounds=1)}, "training.step.alone_rounds keeps the reply"),
        (
            {"method": "scaffold", "secure": SecureAggregation(bits=32, clip=1.0)},
            "method scaffold sends tensors of its own",
        ),
    ],
)
def test_what_needs_single_replies_is_refused_by_its_name(changes, words):
    with pytest.raises(InputError) as caught:
        training(**changes)
    assert words in caught.value.what
    assert caught.value.where.startswith("training.")
    assert "[training.secure]" in caught.value.mend
    if "secure" not in changes:
        training(**{"secure": None, **changes})  # without masks it is allowed


def test_methods_of_the_mean_are_taken():
    refused = set()
    for name in PRESETS:
        try:
            training(method=name)
        except InputError:
            refused.add(name)
    assert {"fedavg", "fedbn", "fedbn_head", "fedprox", "fedavgm", "fednova", "ditto"}.isdisjoint(
        refused
    )
    assert {"fedease", "fedadp", "similarity", "propfair", "feddg"} <= refused
    assert training(baselines=("local", "pooled")).secure


def test_a_bound_is_clipped_to_at_the_site_instead():
    with pytest.raises(InputError) as caught:
        training(max_update_ratio=10.0)
    assert "training.secure.clip" in caught.value.mend


@pytest.mark.parametrize("threshold", [2, 5])
def test_a_threshold_that_protects_nobody_or_cannot_be_reached(threshold):
    with pytest.raises(InputError, match=f"threshold is {threshold} with 4 sites"):
        federation(4, secure=SecureAggregation(threshold=threshold))
    assert federation(4, secure=SecureAggregation(threshold=4))


def test_the_threshold_of_a_run_is_a_number():
    secure = with_threshold(training(), 8).secure
    assert secure is not None and secure.threshold == 6
    assert with_threshold(training(secure=None), 8) == training(secure=None)


def test_too_few_sites_are_refused():
    with pytest.raises(InputError, match="1 sites would be summed"):
        federation(1)
    with pytest.raises(InputError, match="1 sites would be summed"):
        federation(3, sites_per_round=1)
    with pytest.raises(InputError, match="1 sites would be summed"):
        federation(1, planning=True, secure=None)
    with pytest.raises(InputError, match="2 sites would be summed under masks, and 3 are needed"):
        federation(3, joins=2)
    with pytest.raises(InputError, match="quorum is 2, and the masks of a sum need 3"):
        federation(4, quorum=2)
