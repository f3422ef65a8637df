from __future__ import annotations

import itertools
import os

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.secure.shamir import PRIME, SHARE_BYTES, join, split

SECRET = bytes(range(32))


@pytest.mark.parametrize("secret", [SECRET, bytes(32), b"\xff" * 32])
def test_any_of_the_shares_give_the_secret(secret):
    shares = split(secret, range(1, 6), 3)
    for chosen in itertools.combinations(shares, 3):
        assert join({place: shares[place] for place in chosen}, 3) == secret
    assert join(shares, 3) == secret


def test_fewer_shares_give_nothing():
    shares = split(SECRET, range(1, 6), 3)
    two = {place: shares[place] for place in (1, 4)}
    with pytest.raises(ReplyError, match="2 shares of a secret are there, 3 are needed"):
        join(two, 3)
    with pytest.raises(ReplyError, match="not of one secret"):  # as if two were enough
        join(two, 2)


def test_to_two_shares_every_secret_is_as_likely():
    """For any two shares of three and any secret there is a third share that gives the secret."""
    shares = split(SECRET, (1, 2, 3), 3)
    one, two = int.from_bytes(shares[1]), int.from_bytes(shares[2])
    other = os.urandom(32)
    third = (int.from_bytes(other) - 3 * one + 3 * two) % PRIME  # Lagrange: 3 - 3 + 1
    assert join({1: shares[1], 2: shares[2], 3: third.to_bytes(SHARE_BYTES)}, 3) == other


def test_shares_of_two_secrets_are_found_out():
    mixed = {**split(SECRET, (1, 2, 3), 3), 3: split(bytes(32), (1, 2, 3), 3)[3]}
    with pytest.raises(ReplyError, match="not of one secret"):
        join(mixed, 3)


@pytest.mark.parametrize(
    ("secret", "places", "threshold"), [(b"", (1, 2), 2), (SECRET, (1, 2), 3), (SECRET, (0, 1), 2)]
)
def test_what_cannot_be_shared(secret, places, threshold):
    with pytest.raises(ValueError, match="cannot be shared"):
        split(secret, places, threshold)
