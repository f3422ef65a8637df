from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.errors import RefusalError
from fednnunet.federation.secure.protocol import PublicKeys
from fednnunet.federation.site.partners import FILE, Partners
from fednnunet.federation.wire import signing
from tests.federation.masked_sites import a_federation

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")

KEYS = PublicKeys(cipher="00", mask="11")
ABOUT = "session/training//0"


def partners(tmp_path, name: str, federation=None) -> Partners:
    base = tmp_path / name
    base.mkdir(exist_ok=True)
    return Partners(name=name, base=base, federation=federation or a_federation())


def roster(tmp_path) -> dict[str, PublicKeys]:
    return {name: partners(tmp_path, name).signed(ABOUT, KEYS) for name in ("a", "b", "c")}


def test_the_key_that_is_seen_first_is_kept(tmp_path):
    a, found = partners(tmp_path, "a"), roster(tmp_path)
    a.check(ABOUT, found, found)
    assert (tmp_path / "a" / FILE).is_file()
    a.check(ABOUT, found, found)
    stranger = partners(tmp_path / "a", "b").signed(ABOUT, KEYS)  # a key of its own
    with pytest.raises(RefusalError, match="keys of site b are not signed by the key") as caught:
        a.check(ABOUT, {**found, "b": stranger}, found)
    assert caught.value.advice == "wrong_key"
    assert FILE in caught.value.where


def test_the_federation_file_names_the_key(tmp_path):
    found = roster(tmp_path)
    plain = a_federation()
    sites = {n: replace(site, ledger_key=found[n].signer) for n, site in plain.sites.items()}
    a = partners(tmp_path, "a", replace(plain, sites=sites))
    a.check(ABOUT, found, found)
    assert not (tmp_path / "a" / FILE).exists()
    stranger = partners(tmp_path / "a", "b").signed(ABOUT, KEYS)
    with pytest.raises(RefusalError, match="site b") as caught:
        a.check(ABOUT, {**found, "b": stranger}, found)
    assert caught.value.where == "sites.b.ledger_key"


@pytest.mark.parametrize(
    "change",
    [
        {"cipher": "01"},
        {"signature": ""},
        {"signature": "zz"},
        {"signer": "no key"},
        {"signer": ""},
    ],
)
def test_keys_without_a_signature_of_them_are_refused(change, tmp_path):
    found = roster(tmp_path)
    forged = {**found, "c": replace(found["c"], **change)}
    with pytest.raises(RefusalError, match="keys of site c are not signed"):
        partners(tmp_path, "a").check(ABOUT, forged, found)


def test_keys_of_another_session_are_refused(tmp_path):
    found = roster(tmp_path)
    with pytest.raises(RefusalError, match="are not signed"):
        partners(tmp_path, "a").check("other/training//0", found, found)


def test_a_stranger_is_refused(tmp_path):
    found = roster(tmp_path)
    with pytest.raises(RefusalError, match="no site of the federation file"):
        partners(tmp_path, "a").check(ABOUT, {**found, "mallory": found["b"]}, found)


def test_the_signing_key_is_that_of_the_ledger(tmp_path):
    signer = roster(tmp_path)["b"].signer
    assert signer in (tmp_path / "b" / signing.PUBLIC).read_text()
