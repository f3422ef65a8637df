"""Shamir's secret sharing: any `threshold` of the shares give the secret, fewer give nothing.

The secret is the constant term of a random polynomial of degree `threshold - 1` over the integers
modulo the prime 2^521 - 1, and a share is its value at one place. The field has 265 bits more than
a secret, so shares of different secrets give a number that is no secret, and are found out.

Shamir, "How to Share a Secret", Communications of the ACM, 1979.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping

from fednnunet.errors import ReplyError

PRIME = 2**521 - 1
SECRET_BYTES = 32
SHARE_BYTES = 66
_MEND = "start the round again; if it fails again, see which site runs another program"


def split(secret: bytes, places: Collection[int], threshold: int) -> dict[int, bytes]:
    """A share of `secret` (32 bytes) for each place, a number from 1 on.

    Raises ValueError for a secret of another length, or for fewer places than the threshold.
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= len(places) or min(places) < 1:
        raise ValueError(f"{len(secret)} bytes cannot be shared {threshold} of {len(places)}")
    terms = [int.from_bytes(secret), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {place: _value(terms, place).to_bytes(SHARE_BYTES) for place in places}


def join(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret of at least `threshold` shares, by place.

    Raises ReplyError for fewer shares, or for shares that are not of one secret.
    """
    if len(shares) < threshold:
        raise ReplyError(
            f"{len(shares)} shares of a secret are there, {threshold} are needed",
            mend="bring the sites back, and start the round again",
        )
    used = dict(sorted(shares.items())[:threshold])
    values = {place: int.from_bytes(share) for place, share in used.items()}
    weights = _weights(tuple(used))
    total = sum(weights[place] * value for place, value in values.items()) % PRIME
    if total >= 2 ** (8 * SECRET_BYTES):
        raise ReplyError("the shares are not of one secret", mend=_MEND)
    return total.to_bytes(SECRET_BYTES)


def _value(terms: list[int], place: int) -> int:
    """The polynomial at a place, by Horner's rule."""
    total = 0
    for term in reversed(terms):
        total = (total * place + term) % PRIME
    return total


def _weights(places: tuple[int, ...]) -> dict[int, int]:
    """Lagrange's weights of the values at these places for the value at 0."""
    found = {}
    for place in places:
        above = below = 1
        for other in places:
            if other != place:
                above = above * other % PRIME
                below = below * (other - place) % PRIME
        found[place] = above * pow(below, -1, PRIME) % PRIME
    return found
