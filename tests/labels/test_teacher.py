from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import OutOfMemoryError
from fednnunet.labels.teacher import Teacher, look
from fednnunet.training.completion import Moment
from tests.training.fakes import CPU
from tests.training.steps import batch, state

NOW = Moment(done=0.5, at_once=4, execution=CPU)


def add(now, value):
    with torch.no_grad():
        for parameter in now.parameters.values():
            parameter.add_(value)


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name])


def test_it_follows_the_network_in_an_iteration():
    now, teacher = state(), Teacher(decay=0.9, carry=0.0)
    teacher.begin(now)
    first = {name: tensor.clone() for name, tensor in now.network.state_dict().items()}
    add(now, 1.0)
    teacher.follow(now)
    same(teacher.tensors(now), {name: tensor + 0.1 for name, tensor in first.items()})
    teacher.follow(now)
    same(teacher.tensors(now), {name: tensor + 0.19 for name, tensor in first.items()})


def test_a_teacher_that_is_kept_fixed_does_not_follow():
    now, teacher = state(), Teacher(decay=1.0, carry=0.0)
    teacher.begin(now)
    first = {name: tensor.clone() for name, tensor in now.network.state_dict().items()}
    add(now, 1.0)
    teacher.follow(now)
    same(teacher.tensors(now), first)


def test_it_carries_a_part_of_itself_into_the_next_round():
    now, teacher = state(), Teacher(decay=1.0, carry=0.75)
    teacher.begin(now)
    first = {name: tensor.clone() for name, tensor in now.network.state_dict().items()}
    teacher.end(now)
    add(now, 1.0)
    teacher.begin(now)
    same(teacher.tensors(now), {name: tensor + 0.25 for name, tensor in first.items()})


def test_what_the_next_round_does_not_need_is_not_kept():
    now = state()
    for carry, kept in ((0.0, 0), (0.5, len(now.network.state_dict()))):
        teacher = Teacher(decay=1.0, carry=carry, keep_received=True)
        teacher.begin(now)
        teacher.end(now)
        assert len(now.memory) == kept


def test_a_look_is_the_networks_prediction_in_any_parts():
    now, image = state(), batch().image
    tensors = dict(now.network.state_dict())
    with torch.no_grad():
        expected = now.network.eval()(image)
    now.network.train()
    for at_once in (1, 3, 4):
        seen = look(now, tensors, image, replace(NOW, at_once=at_once), coarse=True)
        torch.testing.assert_close(seen.logits, expected, rtol=1e-4, atol=1e-5)
        assert seen.features.shape == (4, 4, 8, 8, 8)
        assert seen.coarse.shape == (4, 6, 4, 4, 4)
        assert now.network.training


def lack_memory_above(monkeypatch, now, samples):
    real = now.network.forward

    def forward(image):
        if len(image) > samples:
            raise torch.OutOfMemoryError("too many samples")
        return real(image)

    monkeypatch.setattr(now.network, "forward", forward)


def test_it_looks_at_fewer_samples_where_memory_is_short(monkeypatch):
    now, image = state(), batch().image
    tensors = dict(now.network.state_dict())
    expected = look(now, tensors, image, NOW)
    lack_memory_above(monkeypatch, now, 1)
    found = look(now, tensors, image, NOW)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_one_patch_that_does_not_fit_is_an_error(monkeypatch):
    now = state()
    lack_memory_above(monkeypatch, now, 0)
    with pytest.raises(OutOfMemoryError, match="one patch alone"):
        look(now, dict(now.network.state_dict()), batch().image, NOW)
