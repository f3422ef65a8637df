from __future__ import annotations

import numpy as np
import pytest

from fednnunet.federation.secure import masks
from fednnunet.federation.secure.masks import add_masks

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")

SEED, OTHER = bytes(range(32)), bytes(32)


@pytest.mark.parametrize("word", [np.uint32, np.uint64])
@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_masks_cancel(word, size, monkeypatch):
    monkeypatch.setattr(masks, "_CHUNK", 256)
    values = np.arange(size).astype(word)
    vector = values.copy()
    add_masks(vector, [(SEED, 1), (OTHER, -1)])
    assert not size or np.mean(vector == values) < 0.1
    add_masks(vector, [(OTHER, 1), (SEED, -1)])
    assert (vector == values).all()


def test_a_mask_is_the_stream_of_its_seed_whatever_the_chunks(monkeypatch):
    whole, parts = np.zeros(1000, np.uint64), np.zeros(1000, np.uint64)
    add_masks(whole, [(SEED, 1)])
    monkeypatch.setattr(masks, "_CHUNK", 64)
    add_masks(parts, [(SEED, 1)])
    assert (whole == parts).all()
    assert len(set(whole.tolist())) == len(whole)


def test_masked_words_look_uniform():
    """Of 8 bytes each, over the same number everywhere: every bit is set in half of the words."""
    vector = np.full(20_000, 5, np.uint64)
    add_masks(vector, [(SEED, 1)])
    bits = np.unpackbits(vector.view(np.uint8).reshape(-1, 8), axis=1)
    assert np.abs(bits.mean(0) - 0.5).max() < 0.02
