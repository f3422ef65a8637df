"""The table `[training]` of the federation file."""

from __future__ import annotations

import json

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.methods.catalogue import METHODS, PRESETS
from fednnunet.federation.methods.fedprox import FedProx
from fednnunet.federation.training_spec import Training
from fednnunet.labels.settings import PseudoLabels


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_a_file(name):
    training = Training(method=PRESETS[name])
    data = json.loads(json.dumps(records.encode(training)))
    assert records.decode(Training, data) == training
    assert records.decode(Training, {"method": name}) == training
    assert Training(method=name) == training


@pytest.mark.parametrize(
    ("method", "place", "words"),
    [
        (
            {"name": "fedprox", "mue": 1.0},
            "$.method.mue",
            "did you mean 'mu'? choose one of: mu, private",
        ),
        ({"name": "fedprox", "mu": "x"}, "$.method.mu", "must be a number"),
        ({"name": "fedprox", "private": ["nose"]}, "$.method.private[0]", "choose one of: norm"),
        ({"name": "magic"}, "$.method.name", "choose one of: fedavg"),
        ({"mu": 1.0}, "$.method", "a table with a name"),
        (3, "$.method", "must be a name"),
        ("magic", "$.method", "fedprox_bn_head"),
        ({"name": "fedprox", "mu": -1}, "$", "mu is -1.0"),
    ],
)
def test_what_is_wrong_with_a_method_is_said_with_its_place(method, place, words):
    with pytest.raises(FedNNUNetError) as caught:
        records.decode(Training, {"method": method}, source="f.toml")
    assert f"f.toml, {place}\n" in str(caught.value)
    assert words in str(caught.value)


def test_baselines_are_names_or_tables_and_differ_from_the_method():
    data = {"method": "fedprox", "baselines": ["local", {"name": "fedprox", "mu": 1}]}
    training = records.decode(Training, data)
    assert training.runs == {
        "": FedProx(),
        "baselines/local": PRESETS["local"],
        "baselines/fedprox_mu=1.0": FedProx(mu=1.0),
    }
    with pytest.raises(InputError, match="'fedprox' is named twice"):
        Training(method="fedprox", baselines=(FedProx(mu=0.01),))


def test_an_invites_label_names_a_method_with_its_settings():
    training = Training(method=FedProx(mu=0.5))
    assert training.method_labelled("fedprox_mu=0.5") == FedProx(mu=0.5).build()
    assert training.method_labelled("fedprox") == METHODS["fedprox"]


def test_a_method_that_nobody_knows_is_refused():
    with pytest.raises(FedNNUNetError, match="choose one of"):
        Training().method_labelled("magic")


def test_pseudo_labels_are_off_unless_there_is_a_table():
    assert Training().pseudo_labels is None
    training = records.decode(Training, {"pseudo_labels": {"confidence": 0.8}})
    assert training.pseudo_labels == PseudoLabels(confidence=0.8)
    assert records.decode(Training, json.loads(json.dumps(records.encode(training)))) == training


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"confident": 0.8}, "did you mean 'confidence'?"),
        ({"confidence": 2.0}, "confidence is 2"),
        ({"uncertainty": "guess"}, "dropout"),
    ],
)
def test_what_is_wrong_with_pseudo_labels_is_said(table, words):
    with pytest.raises(FedNNUNetError) as caught:
        records.decode(Training, {"pseudo_labels": table})
    assert words in str(caught.value)


def test_a_start_is_named_by_its_sha256():
    assert Training(start="0f" * 32).start == "0f" * 32
    with pytest.raises(InputError, match="start is 'bundle'") as caught:
        Training(start="bundle")
    assert "--from" in caught.value.mend


def test_two_filters_that_send_changes_are_refused():
    with pytest.raises(InputError, match="2 filters"):
        Training(filters=("top_k", {"name": "quantised", "bits": 4}))
