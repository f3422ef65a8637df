"""Settings of methods: names, labels, what is shared, and how they stand in a file."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import combinations

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.methods.catalogue import METHODS, PRESETS, SETTINGS, label
from fednnunet.federation.methods.fedadam import FedAdam
from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.fedprox import FedProx
from fednnunet.federation.methods.head_alternating import HeadAlternating
from fednnunet.federation.methods.settings import PARTS, AllBut, canonical, summary
from fednnunet.federation.training_spec import Training
from fednnunet.network.roles import is_norm, role
from tests.contracts.helpers import field_docs

NO_PAPER = {"local", "pooled"}
NAMES = (
    "encoder.0.blocks.0.conv.weight",
    "encoder.0.blocks.0.norm.weight",
    "decoder.0.blocks.0.norm.bias",
    "decoder.0.up.weight",
    "heads.0.weight",
)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_kind_of_settings_documents_itself(name):
    kind = SETTINGS[name]
    assert kind.tag == name
    fields = [field.name for field in dataclasses.fields(kind)]
    texts = field_docs(kind)
    assert texts.keys() == set(fields)
    assert all(len(text) > 20 and text.endswith(".") for text in texts.values())
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(kind))
    about = summary(kind())
    assert about and "\n" not in about
    assert bool(re.search(r"\b(19|20)\d\d\b", about)) == (name not in NO_PAPER)


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_a_file(name):
    training = Training(method=PRESETS[name])
    data = json.loads(json.dumps(records.encode(training)))
    assert records.decode(Training, data) == training
    assert records.decode(Training, {"method": name}) == training
    assert Training(method=name) == training


def test_labels_tell_all_methods_apart_and_are_the_presets_names():
    assert [label(settings) for settings in PRESETS.values()] == list(PRESETS)
    assert len({canonical(settings) for settings in PRESETS.values()}) == len(PRESETS)
    assert label(FedProx(mu=0.1)) == "fedprox_mu=0.1"
    assert label(FedProx(mu=0.1)) != label(FedProx(mu=0.10000001))
    assert label(FedAdam(correct_bias=True)) == "fedadam_correct_bias=true"
    assert label(FedProx(mu=1.0, private=("head", "norm"))) == "fedprox_mu=1.0_private=norm+head"
    assert label(FedAvg(private=("head", "norm"))) == "fedbn_head"


@pytest.mark.parametrize(
    "private",
    [
        parts
        for n in range(len(PARTS) + 1)
        for parts in combinations(PARTS, n)
        if not {"head", "decoder", "encoder"} <= set(parts)
    ],
)
def test_private_parts_are_not_shared(private):
    for name in NAMES:
        inside = role(name) in private or ("norm" in private and is_norm(name))
        assert AllBut(private)(name) != inside


@pytest.mark.parametrize(
    ("private", "words"),
    [
        (("head", "head"), "name each part once"),
        (("nose",), "any of norm, head"),
        (("encoder", "decoder", "head"), 'method = "local"'),
        (("encoder", "decoder", "head", "norm"), "nothing is shared"),
    ],
)
def test_private_parts_that_make_no_sense_are_refused(private, words):
    with pytest.raises(InputError) as caught:
        Training(method=FedProx(private=private))
    assert words in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"local", "pooled"}))
def test_every_method_can_keep_parts_private(name):
    kind = SETTINGS[name]
    for private in (("norm",), ("head", "norm"), ("decoder", "head")):
        if kind is HeadAlternating and "head" not in private:
            continue
        method = kind(private=private).build()
        assert method.is_shared("encoder.0.blocks.0.conv.weight")
        assert method.is_shared("heads.0.weight") != ("head" in private)


@pytest.mark.parametrize(
    ("method", "place", "words"),
    [
        ({"name": "fedprox", "mue": 1.0}, "$.method.mue", "known fields: mu, private"),
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
