"""A site's own key for its ledger."""

from __future__ import annotations

import stat

import pytest

from fednnunet.errors import DataError, InputError
from fednnunet.federation.wire import signing

needs_package = pytest.mark.skipif(
    not signing.can_sign(), reason="the package cryptography is not installed"
)


@needs_package
def test_only_the_owner_of_the_key_can_sign(tmp_path):
    north, south = tmp_path / "north", tmp_path / "south"
    for folder in (north, south):
        folder.mkdir()
    signature = signing.sign(north, b"line")
    public = (north / signing.PUBLIC).read_bytes()
    assert signing.is_signed(public, b"line", signature)
    assert signing.sign(north, b"line") == signature
    assert not signing.is_signed(public, b"another", signature)
    assert not signing.is_signed(public, b"line", signing.sign(south, b"line"))
    assert not signing.is_signed(public, b"line", "no hexadecimal")


@needs_package
def test_the_private_key_is_its_owners_alone(tmp_path):
    signing.sign(tmp_path, b"")
    assert stat.S_IMODE((tmp_path / signing.PRIVATE).stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / signing.PUBLIC).read_bytes()


@needs_package
def test_a_public_key_that_a_crash_left_out_is_written(tmp_path):
    signature = signing.sign(tmp_path, b"line")
    (tmp_path / signing.PUBLIC).unlink()
    signing.sign(tmp_path, b"next")
    assert signing.is_signed((tmp_path / signing.PUBLIC).read_bytes(), b"line", signature)


@needs_package
def test_what_is_no_public_key_is_refused():
    with pytest.raises(DataError, match="no public key"):
        signing.is_signed(b"junk", b"", "")


def test_without_the_package_nothing_is_signed_and_checking_says_what_is_missing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(signing, "find_spec", lambda name: None)
    assert signing.sign(tmp_path, b"line") == ""
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="cryptography") as caught:
        signing.is_signed(b"", b"", "")
    assert "privacy" in caught.value.mend
