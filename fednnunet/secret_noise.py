"""Random numbers of a site that nobody else can repeat: noise and samples of differential privacy.

The seed of a federation is known to all, so noise made from it could be subtracted. These numbers
are a keyed function instead: SHAKE-256 over a secret key and what they are used for. The same key
and use give the same numbers, so that work repeated after a crash gives the same bytes; whoever
does not know the key can tell them from random ones no better than SHAKE-256 allows. The use must
name the very data that is noised (`digest_of`), so that two different values never get the same
noise.

Normal numbers are computed in floating point, as in most programs for differential privacy; they
are not protected against attacks on the last bits of such numbers (Mironov, "On Significance of the
Least Significant Bits for Differential Privacy", CCS 2012).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import numpy as np
from scipy.special import ndtri

KEY_BYTES = 32


def new_key() -> bytes:
    """A key from the operating system's generator."""
    return os.urandom(KEY_BYTES)


def digest_of(parts: Iterable[bytes]) -> bytes:
    """SHA-256 over byte strings and their lengths."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.digest()


def uniform(key: bytes, use: str, count: int) -> np.ndarray:
    """Numbers (count,) float64 above 0 and below 1."""
    stream = hashlib.shake_256(len(key).to_bytes(8, "big") + key + use.encode())
    bits = np.frombuffer(stream.digest(8 * count), dtype="<u8") >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52


def normal(key: bytes, use: str, count: int) -> np.ndarray:
    """Standard normal numbers (count,) float64, by the inverse of their distribution."""
    numbers: np.ndarray = ndtri(uniform(key, use, count))
    return numbers
