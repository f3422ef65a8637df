"""What a run is known by, and its kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.federation.methods.catalogue import PRESETS
from fednnunet.federation.methods.fedavgm import FedAvgM
from fednnunet.federation.methods.fedprox import FedProx
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.weighting.fedmix import FedMix
from fednnunet.labels.pretraining import Pretraining
from fednnunet.training.imbalance import Imbalance
from tests.federation.fakes import a_run


def test_no_two_methods_have_the_same_key(tmp_path):
    assert len({a_run(tmp_path, name).key for name in PRESETS}) == len(PRESETS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FedProx(mu=0.1), FedProx(mu=0.2)),
        (FedProx(), FedProx(private=("norm",))),
        (FedAvgM(learning_rate=1.0), FedAvgM()),
    ],
)
def test_another_setting_is_another_training(tmp_path, one, other):
    assert a_run(tmp_path, one).key == a_run(tmp_path, replace(one)).key
    assert a_run(tmp_path, one).key != a_run(tmp_path, other).key


def test_given_first_weights_are_another_training(tmp_path):
    run = a_run(tmp_path, "fedavg")
    given = replace(run, training=replace(run.training, start="0" * 64))
    assert given.key != run.key


def test_pooling_is_a_kind_of_run(tmp_path):
    run = a_run(tmp_path, "pooled")
    assert run.kind == "pooled"
    assert run.method == PRESETS["fedavg"].build()
    assert {a_run(tmp_path, name).kind for name in set(PRESETS) - {"pooled"}} == {"federated"}


def test_another_number_of_threads_is_the_same_training(tmp_path):
    run = a_run(tmp_path, "fedavg")
    other = replace(run, training=replace(run.training, threads=3))
    assert run.key == other.key


def test_a_rule_of_weights_is_another_training_and_that_by_cases_is_as_before(tmp_path):
    run = a_run(tmp_path, "fedavg")
    same = replace(run.training, weights="cases", merging=Merging())
    assert replace(run, training=same).key == run.key
    others = [
        replace(run.training, weights="uniform"),
        replace(run.training, weights=FedMix()),
        replace(run.training, weights=FedMix(power=2.0)),
        replace(run.training, merging=Merging(conflicts="drop")),
    ]
    keys = {replace(run, training=other).key for other in others}
    assert len(keys) == 4 and run.key not in keys


def test_what_is_done_about_labels_is_part_of_a_training(tmp_path):
    run = a_run(tmp_path, "fedavg")
    others = (
        {"noisy": "drop"},
        {"imbalance": Imbalance(margin=0.5)},
        {"pretraining_rounds": 1},
        {"pretraining_rounds": 1, "pretraining": Pretraining(masked=0.5)},
    )
    keys = {replace(run, training=replace(run.training, **other)).key for other in others}
    assert len(keys | {run.key}) == 5
