"""The tables of methods: every entry documents itself, has a label and may keep parts private."""

from __future__ import annotations

import dataclasses
import re

import pytest

from fednnunet.federation.methods.catalogue import METHODS, PRESETS, SETTINGS, label
from fednnunet.federation.methods.fedadam import FedAdam
from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.fedprox import FedProx
from fednnunet.federation.methods.head_alternating import HeadAlternating
from fednnunet.federation.methods.settings import canonical, summary
from tests.contracts.helpers import field_docs

NO_PAPER = {"local", "pooled"}


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


def test_labels_tell_all_methods_apart_and_are_the_presets_names():
    assert [label(settings) for settings in PRESETS.values()] == list(PRESETS)
    assert len({canonical(settings) for settings in PRESETS.values()}) == len(PRESETS)
    assert label(FedProx(mu=0.1)) == "fedprox_mu=0.1"
    assert label(FedProx(mu=0.1)) != label(FedProx(mu=0.10000001))
    assert label(FedAdam(correct_bias=True)) == "fedadam_correct_bias=true"
    assert label(FedProx(mu=1.0, private=("head", "norm"))) == "fedprox_mu=1.0_private=norm+head"
    assert label(FedAvg(private=("head", "norm"))) == "fedbn_head"


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"local", "pooled"}))
def test_every_method_can_keep_parts_private(name):
    kind = SETTINGS[name]
    for private in (("norm",), ("head", "norm"), ("decoder", "head")):
        if kind is HeadAlternating and "head" not in private:
            continue
        method = kind(private=private).build()
        assert method.is_shared("encoder.0.blocks.0.conv.weight")
        assert method.is_shared("heads.0.weight") != ("head" in private)


def test_every_preset_is_a_method_of_the_table():
    assert METHODS.keys() == PRESETS.keys() >= SETTINGS.keys()
    assert {type(settings) for settings in PRESETS.values()} == set(SETTINGS.values())
    assert METHODS["fedbn"] == FedAvg(private=("norm",)).build()
