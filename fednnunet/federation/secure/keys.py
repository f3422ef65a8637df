"""Keys of secure aggregation: X25519 key agreement, HKDF-SHA256, and sealed shares.

All of it comes from the package `cryptography` (`pip install 'fednnunet[privacy]'`). Keys are 32
bytes each: private, public, and what two sites have agreed on. Agreed keys depend on the session
and on what they are for, so that no key serves twice.

RFC 7748 (X25519), RFC 5869 (HKDF), RFC 8439 (ChaCha20-Poly1305).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

from fednnunet.errors import InputError, ReplyError

KEY_BYTES = 32
_NONCE = bytes(12)  # every key seals one text only


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and the public key that belongs to it."""

    private: bytes
    public: bytes


def check_installed() -> None:
    """Raise InputError where the package for it is missing."""
    if find_spec("cryptography") is None:
        raise InputError(
            "the package cryptography is not installed, which secure aggregation needs",
            where="this installation",
            mend="pip install 'fednnunet[privacy]'",
        )


def new_pair() -> KeyPair:
    """A new key pair."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.generate()
    return KeyPair(private.private_bytes_raw(), private.public_key().public_bytes_raw())


def public_of(private: bytes) -> bytes:
    """The public key of a private one."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def new_seed() -> bytes:
    """32 random bytes."""
    return os.urandom(KEY_BYTES)


def agreed(private: bytes, public: bytes, purpose: str) -> bytes:
    """The key that two sites agree on for a purpose, the same from either side.

    Raises ReplyError for bytes that are no public key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    try:
        shared = X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        raise ReplyError(
            "a public key of secure aggregation is none",
            mend="give every site the same version of the program",
        ) from None
    return derived(shared, purpose)


def derived(secret: bytes, purpose: str) -> bytes:
    """A key for a purpose from a secret (HKDF-SHA256)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(secret)


def seal(key: bytes, text: bytes) -> bytes:
    """The text, encrypted and authenticated by a key that is used for nothing else."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key).encrypt(_NONCE, text, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """The text; raises ReplyError where it was sealed by another key, or changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed, None)
    except (InvalidTag, ValueError):
        raise ReplyError(
            "a sealed share was made with another key, or changed on its way",
            mend="start the round again; if it fails again, see who changes messages",
        ) from None
