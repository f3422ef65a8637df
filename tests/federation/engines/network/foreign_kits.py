"""Kits that a coordinator must not admit: of another federation, and expired."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path


def with_certificate(kit: Path, startup: Path, folder: Path) -> Path:
    """A copy of a site's kit in `folder`, which trusts its coordinator but shows another
    certificate."""
    shutil.copytree(kit, folder, ignore=shutil.ignore_patterns("work", "exchange", "*.txt"))
    for name in ("client.crt", "client.key"):
        shutil.copy(startup / name, folder / "startup" / name)
    return folder


def expired_certificate(authority: Path, site: str, folder: Path) -> Path:
    """A certificate of the federation's own authority that expired yesterday; returns `folder`."""
    return certificate(authority, site, folder, begin=timedelta(-30), end=timedelta(-1))


def certificate(
    authority: Path, site: str, folder: Path, *, begin: timedelta, end: timedelta
) -> Path:
    """A certificate that holds from `begin` to `end`, both from now; returns `folder`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    root = x509.load_pem_x509_certificate((authority / "rootCA.pem").read_bytes())
    secret = (authority / "rootCA.key").read_bytes()
    root_key = serialization.load_pem_private_key(secret, password=None)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = datetime.now(UTC)
    names = [
        x509.NameAttribute(NameOID.COMMON_NAME, site),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fednnunet"),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .sign(root_key, hashes.SHA256())  # type: ignore[arg-type]
    )
    folder.mkdir()
    (folder / "client.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    (folder / "client.key").write_bytes(private)
    return folder
