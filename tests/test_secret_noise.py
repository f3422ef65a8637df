"""Keyed random numbers: their distribution, and that key and use decide them."""

from __future__ import annotations

import numpy as np

from fednnunet.secret_noise import KEY_BYTES, digest_of, new_key, normal, uniform

KEY = bytes(range(KEY_BYTES))


def test_the_same_key_and_use_give_the_same_numbers_and_others_give_others():
    once = normal(KEY, "a", 5)
    assert (once == normal(KEY, "a", 5)).all()
    assert not (once == normal(KEY, "b", 5)).any()
    assert not (once == normal(bytes(KEY_BYTES), "a", 5)).any()
    assert (normal(KEY, "a", 3) == once[:3]).all()


def test_uniform_numbers_are_even_and_never_0_or_1():
    found = uniform(KEY, "even", 40_000)
    assert found.min() > 0 and found.max() < 1
    counts = np.histogram(found, bins=10, range=(0, 1))[0]
    assert (abs(counts - 4000) < 5 * 60).all()


def test_normal_numbers_have_the_normal_moments():
    found = normal(KEY, "normal", 40_000)
    assert abs(found.mean()) < 5 / 200
    assert abs(found.std() - 1) < 5 / 280
    assert abs((found**4).mean() - 3) < 5 * np.sqrt(96) / 200


def test_keys_differ_and_have_their_length():
    one, other = new_key(), new_key()
    assert one != other
    assert len(one) == KEY_BYTES


def test_a_digest_tells_where_parts_end():
    assert digest_of([b"ab", b"c"]) != digest_of([b"a", b"bc"])
    assert digest_of([b"ab"]) == digest_of(iter([b"ab"]))
