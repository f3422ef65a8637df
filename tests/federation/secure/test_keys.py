from __future__ import annotations

import pytest

from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.secure import keys

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")


def test_two_sites_agree_on_a_key_that_no_third_has():
    one, other, third = (keys.new_pair() for _ in range(3))
    key = keys.agreed(one.private, other.public, "masks")
    assert key == keys.agreed(other.private, one.public, "masks")
    assert key != keys.agreed(third.private, one.public, "masks")
    assert key != keys.agreed(one.private, other.public, "shares")
    assert keys.public_of(one.private) == one.public
    assert len(keys.new_seed()) == keys.KEY_BYTES


def test_the_curve_and_the_derivation_are_those_of_the_standards():
    """RFC 7748, section 6.1, and RFC 5869, test case 3."""
    alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
    public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert keys.public_of(bytes.fromhex(alice)).hex() == public
    derived = keys.derived(b"\x0b" * 22, "")
    assert derived.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


@pytest.mark.parametrize("public", [b"", b"short", bytes(32)])
def test_what_is_no_public_key_is_refused(public):
    with pytest.raises(ReplyError, match="public key of secure aggregation is none"):
        keys.agreed(keys.new_pair().private, public, "masks")


def test_a_sealed_text_opens_with_its_key_only():
    key = keys.new_seed()
    sealed = keys.seal(key, b"a share")
    assert keys.unseal(key, sealed) == b"a share"
    for wrong, text in ((keys.new_seed(), sealed), (key, sealed[:-1] + b"x"), (key, b"")):
        with pytest.raises(ReplyError, match="made with another key"):
            keys.unseal(wrong, text)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(keys, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        keys.check_installed()
    assert "fednnunet[privacy]" in caught.value.mend
