"""The key of a site's noise lies in its memory, and is made once."""

from __future__ import annotations

import torch

from fednnunet.secret_noise import KEY_BYTES, normal
from fednnunet.training.secret_key import NAME, key_in, normal_like


def test_a_key_is_made_once_and_kept():
    memory: dict[str, torch.Tensor] = {}
    key = key_in(memory)
    assert len(key) == KEY_BYTES
    assert key_in(memory) == key
    assert memory.keys() == {NAME}
    assert key_in({}) != key
    assert key_in(memory, "other") != key


def test_noise_has_the_shape_and_type_of_the_tensor():
    like = torch.zeros(2, 3, dtype=torch.float32)
    noise = normal_like(b"key", "use", like)
    assert noise.dtype == torch.float32
    assert torch.equal(noise.flatten(), torch.from_numpy(normal(b"key", "use", 6)).float())
