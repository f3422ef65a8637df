"""A private key stays at its site: what is asked for, what is signed, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fednnunet.errors import InputError
from fednnunet.federation.engines.network.certificate_request import (
    complete,
    make_request,
    read_request,
)
from fednnunet.federation.engines.network.certificates import check_key, days_left
from fednnunet.federation.engines.network.flare.provision import Wanted, make_kits


def a_request(path: Path, key: object, *names: str) -> Path:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    path.write_bytes(request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))  # type: ignore[arg-type]
    return path


def test_a_request_names_the_site_and_has_no_private_key(tmp_path: Path) -> None:
    made = make_request("north", tmp_path)
    found = read_request(tmp_path / "north.csr")
    assert found.site == "north" and found.fingerprint == made.fingerprint
    assert "PRIVATE" not in (tmp_path / "north.csr").read_text()
    assert (tmp_path / "north.key").stat().st_mode & 0o077 == 0
    again = make_request("north", tmp_path)
    assert again.fingerprint == made.fingerprint  # the key that is there is kept


@pytest.mark.parametrize("kind", ["text", "short", "curve", "no_name", "two_names", "changed"])
def test_what_must_not_be_signed_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.csr"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "text":
        path.write_text("no request")
    elif kind == "short":
        a_request(path, rsa.generate_private_key(public_exponent=65537, key_size=1024), "north")
    elif kind == "curve":
        a_request(path, ec.generate_private_key(ec.SECP256R1()), "north")
    elif kind == "changed":
        a_request(path, key, "north")
        found = x509.load_pem_x509_csr(path.read_bytes()).public_bytes(Encoding.DER)
        pem = x509.load_der_x509_csr(found.replace(b"north", b"south")).public_bytes(Encoding.PEM)
        path.write_bytes(pem)
    else:
        a_request(path, key, *([] if kind == "no_name" else ["north", "south"]))
    with pytest.raises(InputError, match="request") as caught:
        read_request(path)
    assert "--request" in caught.value.mend


def test_the_kit_for_a_request_is_completed_at_the_site_alone(tmp_path: Path) -> None:
    request = make_request("north", tmp_path / "asked")
    wanted = Wanted(
        sites=("north", "south"), host="localhost", port=8102, federation="", requests=(request,)
    )
    make_kits(wanted, tmp_path / "kits")
    kit, secret = tmp_path / "kits" / "north", (tmp_path / "asked" / "north.key").read_bytes()
    assert not (kit / "startup" / "client.key").exists()
    assert not [p for p in (tmp_path / "kits").rglob("*") if p.is_file() and secret in _bytes(p)]
    with pytest.raises(InputError, match="no private key") as caught:
        check_key(kit)
    assert "--complete" in caught.value.mend
    assert 350 < days_left(kit) <= 360
    complete(kit, tmp_path / "asked")
    check_key(kit)
    assert (kit / "startup" / "client.key").stat().st_mode & 0o077 == 0
    check_key(tmp_path / "kits" / "south")  # the other site's kit is as it was


def test_a_kit_is_not_completed_by_another_key(tmp_path: Path) -> None:
    request = make_request("north", tmp_path / "asked")
    wanted = Wanted(
        sites=("north",), host="localhost", port=8102, federation="", requests=(request,)
    )
    make_kits(wanted, tmp_path / "kits")
    make_request("north", tmp_path / "other")
    kit = tmp_path / "kits" / "north"
    with pytest.raises(InputError, match="not for the key"):
        complete(kit, tmp_path / "other")
    with pytest.raises(InputError, match="private key cannot be read"):
        complete(kit, tmp_path / "nowhere")
    (kit / "startup" / "client.key").write_bytes((tmp_path / "other" / "north.key").read_bytes())
    with pytest.raises(InputError, match="do not belong together"):
        check_key(kit)


def _bytes(path: Path) -> bytes:
    return path.read_bytes()
