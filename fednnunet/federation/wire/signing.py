"""The key of a site or of a coordinator: it signs the entries of its ledger (Ed25519, RFC 8032).

The private key is made with the first entry, lies in the owner's working folder, readable by its
owner alone, and never leaves. Give the public key to whoever is to check the ledger later, while
you trust the folder: with a key of their own, others could only sign another ledger. Signatures
need the package `cryptography` (`pip install 'fednnunet[privacy]'`); without it entries are chained
and not signed.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fednnunet.errors import DataError, InputError
from fednnunet.files import replacing, write_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE, PUBLIC = "ledger_key.pem", "ledger_key.pub.pem"


def can_sign() -> bool:
    """Whether the package for signatures is installed."""
    return find_spec("cryptography") is not None


def sign(folder: Path, data: bytes) -> str:
    """The signature of `data` in hexadecimal by the key in `folder`, which is made if it is not
    there; empty without the package for it."""
    if not can_sign():
        return ""
    key = _private_key(folder)
    if not (folder / PUBLIC).is_file():
        _write_public(folder / PUBLIC, key)
    return key.sign(data).hex()


def public_hex(folder: Path) -> str:
    """The public key in `folder` as 64 hexadecimal digits; empty without the package for it."""
    if not can_sign():
        return ""
    return _private_key(folder).public_key().public_bytes_raw().hex()


def pem_of(key: str) -> bytes:
    """A public key of `public_hex` as PEM; raises as `is_signed`."""
    _check_package()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except ValueError:
        raise DataError(
            "this is no public key of a ledger",
            mend="give the 64 hexadecimal digits that fednnunet_ledger shows",
        ) from None
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def is_signed(public: bytes, data: bytes, signature: str) -> bool:
    """Whether `signature` is one of `data` by the owner of the public key (PEM).

    Raises InputError where the package is missing, and DataError for what is no such key.
    """
    _check_package()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(public)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise DataError(
            "this is no public key of a ledger",
            mend=f"give the {PUBLIC} that the site handed out",
        )
    try:
        key.verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_package() -> None:
    if not can_sign():
        raise InputError(
            "the package cryptography is not installed, which checks signatures",
            where="this installation",
            mend="pip install 'fednnunet[privacy]'",
        )


def _write_public(path: Path, key: Ed25519PrivateKey) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_text(path, public.decode())


def _private_key(folder: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    path = folder / PRIVATE
    if path.is_file():
        key = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise DataError(
                "the key of the ledger is of another kind",
                where=str(path),
                mend="put the site's own key back; a new one begins with a new working folder",
            )
        return key
    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with replacing(path) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
    return made
