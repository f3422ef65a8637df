"""Masks: the key stream of ChaCha20 from a seed, added to a vector modulo 2^32 or 2^64.

To whoever does not know the seed a masked vector is uniformly random. Two sites with one seed, of
which one adds and the other subtracts it, leave nothing of it in their sum.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_CHUNK = 2**18  # bytes of a vector that stay in a core's cache while all masks are added
_SPARE = 64  # bytes more than a chunk, which the cipher asks for
_NONCE = bytes(16)  # every seed is used once, and the counter begins at 0


def add_masks(vector: np.ndarray, seeds: Iterable[tuple[bytes, int]]) -> None:
    """Add the mask of each seed (32 bytes) times its sign (1 or -1) to a vector, in place.

    `vector` (n,) is uint32 or uint64 and contiguous; the sums wrap around.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    streams = [
        (Cipher(algorithms.ChaCha20(seed, _NONCE), mode=None).encryptor(), sign)
        for seed, sign in seeds
    ]
    step = _CHUNK // vector.itemsize
    nothing, buffer = memoryview(bytes(_CHUNK)), bytearray(_CHUNK + _SPARE)
    mask = np.frombuffer(buffer, dtype=vector.dtype.newbyteorder("<"), count=step)
    for begin in range(0, len(vector), step):
        part = vector[begin : begin + step]
        size = part.nbytes
        for stream, sign in streams:
            stream.update_into(nothing[:size], buffer)
            if sign > 0:
                part += mask[: len(part)]
            else:
                part -= mask[: len(part)]
