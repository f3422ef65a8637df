"""What leaves a site in each phase, and the extras of several kinds together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fednnunet.federation.methods.method import Method

TENSORS = {"body": torch.zeros(2), "head": torch.ones(3)}


@dataclass(frozen=True)
class Named:
    """Extras of one tensor for each shared one."""

    words: str

    def like(self, tensors, shared):
        return {f"{self.words}/{name}": tensors[name] for name in shared}

    def reply(self, site):
        return {f"{self.words}/reply": torch.ones(1)}


def a_method(**settings):
    return Method(is_shared=lambda name: name == "body", **settings)


def test_tensors_are_shared_or_private():
    method = a_method()
    assert method.shared(TENSORS).keys() == {"body"}
    assert method.private(TENSORS).keys() == {"head"}


def test_each_phase_sends_its_own_part():
    method, means = a_method(), a_method(mean_needs_training=True)
    assert method.outgoing(TENSORS, "joint").keys() == {"body"}
    assert method.outgoing(TENSORS, "personal") == {}
    assert method.outgoing(TENSORS, "public").keys() == {"head"}
    assert means.outgoing(TENSORS, "public").keys() == {"body", "head"}


def test_extras_of_all_kinds_go_together_and_are_named_in_words():
    method = a_method(extras=(Named("control"), Named("spectra")))
    assert method.extras_like(TENSORS).keys() == {"control/body", "spectra/body"}
    assert method.make_extras(None).keys() == {"control/reply", "spectra/reply"}
    assert method.extras_words == "control; spectra"
    assert a_method().extras_words == ""
