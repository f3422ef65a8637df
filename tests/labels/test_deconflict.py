from __future__ import annotations

from dataclasses import replace

import torch

from fednnunet.labels.deconflict import deconflicted, remember_change
from fednnunet.supervision import Supervision
from fednnunet.training.local_rule import RoundContext
from tests.training.steps import batch, state


def gradient_of(now, on_labels, on_pseudo):
    """A gradient that is constant over all parameters, and so is its part on pseudo-labels."""

    def gradient(samples):
        for parameter in now.parameters.values():
            value = on_labels + (on_pseudo if samples.pseudo else 0.0)
            parameter.grad = torch.full_like(parameter, value)
        return torch.zeros(()), torch.zeros(3, 2)

    return gradient


def slopes(now, samples, on_labels, on_pseudo):
    deconflicted(now, samples, gradient_of(now, on_labels, on_pseudo), RoundContext())
    return {round(float(p.grad.flatten()[0]), 5) for p in now.parameters.values()}


def pseudo_batch(kind):
    whole = batch()
    return replace(whole, supervision=(kind,) * 4, pseudo=(whole.labels,), pseudo_weights=(1.0,))


def test_what_opposes_the_gradient_on_labels_is_removed():
    now, samples = state(), pseudo_batch(Supervision())
    assert slopes(now, samples, 2.0, -0.5) == {2.0}
    assert slopes(now, samples, 2.0, 0.5) == {2.5}


def test_without_labels_the_change_of_the_received_model_takes_their_place():
    now, samples = state(), pseudo_batch(Supervision(kind="none"))
    remember_change(now)
    assert slopes(now, samples, 0.0, -0.5) == {-0.5}  # nothing is known of the change yet
    with torch.no_grad():
        for parameter in now.parameters.values():
            parameter.add_(1.0)
    remember_change(now)
    assert slopes(now, samples, 0.0, -0.5) == {-0.5}  # a step along the change
    assert slopes(now, samples, 0.0, 0.5) == {0.0}


def test_a_batch_without_pseudo_labels_has_its_plain_gradient():
    now = state()
    assert slopes(now, batch(), 2.0, -0.5) == {2.0}
