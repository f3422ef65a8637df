"""A site's private key that never leaves it: the site asks for a certificate by a request.

    NAME.key   the site's private key, which stays
    NAME.csr   the request (PKCS #10), which goes to who holds the authority

The kit that comes back has a certificate and no key; `complete` puts the key in.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from fednnunet.errors import InputError
from fednnunet.federation.engines.network.certificates import certificate_of
from fednnunet.federation.engines.network.kit import read_kit
from fednnunet.files import private_files, replacing

KEY, REQUEST = ".key", ".csr"
_BITS = 3072
_MIN_BITS = 2048
_LARGEST = 2**16  # bytes of a request


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that was looked at: for which site it is, and the site's public key."""

    site: str
    public_key: rsa.RSAPublicKey

    @property
    def fingerprint(self) -> str:
        """What both sides compare by telephone: the SHA-256 of the public key, in groups."""
        return fingerprint_of(self.public_key)


def fingerprint_of(public_key: rsa.RSAPublicKey) -> str:
    """The SHA-256 of a public key, in hexadecimal groups of four."""
    data = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = hashlib.sha256(data).hexdigest()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def make_request(site: str, folder: Path) -> Request:
    """Write `site.key` and `site.csr` into `folder`; a key that is there already is kept."""
    key_path = folder / f"{site}{KEY}"
    with private_files():
        if key_path.exists():
            key = _read_key(key_path)
        else:
            key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
            _write(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name)
        signed = request.sign(key, hashes.SHA256())
        _write(folder / f"{site}{REQUEST}", signed.public_bytes(Encoding.PEM))
    return Request(site=site, public_key=key.public_key())


def read_request(path: Path) -> Request:
    """The request in a file; raises InputError where it is none, or one that must not be signed.

    Its signature shows that who made it has the private key. Of what it asks for, the name and the
    key count alone.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        found = x509.load_pem_x509_csr(path.read_bytes())
        valid = found.is_signature_valid
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        key = found.public_key()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"the request cannot be read: {error}",
            where=str(path),
            mend=f"give the file NAME{REQUEST} that fednnunet_provision --request made at the site",
        ) from None
    if not valid or not isinstance(key, rsa.RSAPublicKey) or key.key_size < _MIN_BITS:
        raise InputError(
            "the request is not signed by its own RSA key of 2048 bits or more",
            where=str(path),
            mend="have the site make another by fednnunet_provision --request",
        )
    if len(names) != 1:
        raise InputError(
            f"the request is for {len(names)} names",
            where=str(path),
            mend="have the site make another by fednnunet_provision --request",
        )
    return Request(site=str(names[0].value), public_key=key)


def complete(kit: Path, folder: Path) -> None:
    """Put the private key of `folder` into the kit that came back for its request."""
    name = read_kit(kit, "site").name
    path = folder / f"{name}{KEY}"
    key = _read_key(path)
    certificate = x509.load_pem_x509_certificate(certificate_of(kit).read_bytes())
    if certificate.public_key() != key.public_key():
        raise InputError(
            f"the kit of {name} is not for the key in this folder",
            where=str(path),
            mend="give the folder of the request that the kit was made for, or send the request "
            f"{name}{REQUEST} again",
        )
    with private_files(), replacing(kit / "startup" / "client.key") as temporary:
        shutil.copyfile(path, temporary)


def _read_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"the private key cannot be read: {error}",
            where=str(path),
            mend="give the folder in which fednnunet_provision --request made it",
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InputError(
            "the private key is not an RSA key",
            where=str(path),
            mend="give the folder in which fednnunet_provision --request made it",
        )
    return key


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)
