from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fednnunet.errors import RefusalError, ReplyError
from fednnunet.federation.secure.protocol import (
    PublicKeys,
    Revealed,
    SiteSession,
    Unmasking,
    usual_threshold,
)
from tests.federation.secure.parties import run_protocol

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")

SITES = ("a", "b", "c", "d", "e")


def words(seed, sites=SITES, size=16, word=np.uint64):
    rng = np.random.default_rng(seed)
    return {site: rng.integers(0, np.iinfo(word).max, size, word) for site in sites}


def wanted(vectors, without=()):
    total = np.zeros_like(next(iter(vectors.values())))
    for site, vector in vectors.items():
        if site not in without:
            total += vector
    return total


def test_200_rounds_with_dropouts_at_every_moment_are_exact():
    rng = np.random.default_rng(0)
    for number in range(200):
        vectors = words(number, word=np.uint32 if number % 2 else np.uint64)
        lost = rng.permutation(SITES)[:2]
        before = [str(site) for site in lost[: number % 3]]
        after = [str(site) for site in lost[number % 3 :]]
        total = run_protocol(vectors, 3, session=str(number), before=before, after=after)
        assert (total == wanted(vectors, before)).all()


@pytest.mark.parametrize("moment", ["before", "after", "both"])
def test_32_sites_of_which_3_drop_out(moment):
    """More rounds of the same size are in scripts/bench_secure.py."""
    sites = [f"site{number:02d}" for number in range(32)]
    vectors, lost = words(7, sites), ("site00", "site13", "site31")
    before = {"before": lost, "after": (), "both": lost[:2]}[moment]
    after = tuple(site for site in lost if site not in before)
    total = run_protocol(vectors, usual_threshold(32), before=before, after=after)
    assert (total == wanted(vectors, before)).all()


def test_fewer_than_the_threshold_cannot_remove_masks():
    with pytest.raises(ReplyError, match="2 shares of a secret are there, 3 are needed"):
        run_protocol(words(1), 3, after=("a", "b", "c"))
    with pytest.raises(RefusalError, match="2 sites would be summed"):
        run_protocol(words(1), 3, before=("a", "b", "c"))


@pytest.mark.parametrize(("sites", "threshold"), [(2, 2), (3, 3), (4, 3), (8, 6), (32, 22)])
def test_the_usual_threshold_is_more_than_two_thirds(sites, threshold):
    assert usual_threshold(sites) == threshold > 2 * sites / 3


def sessions(threshold=3):
    found = {site: SiteSession.begin("s", site) for site in SITES}
    roster = {site: session.public for site, session in found.items()}
    return roster, {site: session.share(roster, threshold) for site, session in found.items()}


def test_a_federation_of_one_is_refused():
    session = SiteSession.begin("s", "a")
    with pytest.raises(RefusalError, match="1 sites would be summed") as caught:
        session.share({"a": session.public}, 3)
    assert caught.value.advice == "too_few_partners"


def test_a_threshold_of_half_of_the_sites_is_too_low():
    """Two halves could be told different survivors, and give away both secrets of one site."""
    with pytest.raises(RefusalError, match="3 shares are too few in a sum over 6 sites"):
        six = {name: SiteSession.begin("s", name) for name in "abcdef"}
        six["a"].share({name: session.public for name, session in six.items()}, 3)


def test_a_site_keeps_to_the_session_that_it_began():
    roster, found = sessions()
    a = found["a"]
    assert a.share(roster, 3) == a
    with pytest.raises(RefusalError, match="with other sites"):
        a.share({**roster, "f": roster["b"]}, 3)
    with pytest.raises(RefusalError, match="own keys"):
        SiteSession.begin("s", "a").share(roster, 3)
    a = a.masked_with(SITES[:4])
    assert a.masked_with(SITES[:4]) == a
    with pytest.raises(RefusalError, match="other partners"):
        a.masked_with(SITES)
    with pytest.raises(RefusalError, match="not those with whom"):
        found["b"].masked_with(("a", "b", "x"))


def test_a_site_reveals_once_and_never_both_secrets_of_one_site():
    _, found = sessions()
    b = found["b"].masked_with(SITES)
    own = {site: session.sealed["b"] for site, session in found.items()}
    b, revealed = b.reveal(("a", "b", "c"), own)
    assert revealed.seeds.keys() == {"a", "b", "c"} and revealed.masks.keys() == {"d", "e"}
    assert b.reveal(("a", "b", "c"), own)[1] == revealed
    with pytest.raises(RefusalError, match="for another sum"):
        b.reveal(("a", "b", "d"), own)
    with pytest.raises(RefusalError, match="not those with whom"):
        found["b"].masked_with(SITES).reveal(("a", "c", "d"), own)


def test_a_share_for_another_site_cannot_be_read():
    _, found = sessions()
    other = {site: session.sealed["c"] for site, session in found.items()}
    with pytest.raises(ReplyError, match="made with another key"):
        found["b"].masked_with(SITES).reveal(SITES, other)
    with pytest.raises(ReplyError, match="cannot be read"):
        found["b"].masked_with(SITES).reveal(SITES, dict.fromkeys(SITES, "no share"))


def test_keys_that_are_none_are_refused():
    roster, found = sessions()
    fresh = SiteSession.begin("s", "a")
    forged = {**roster, "a": fresh.public, "b": PublicKeys(cipher="zz", mask="zz")}
    with pytest.raises(ReplyError, match="cannot be read"):
        fresh.share(forged, 3)
    wrong = replace(found["a"], roster={**roster, "b": PublicKeys(cipher="00", mask="00")})
    with pytest.raises(ReplyError, match="cannot be read"):
        wrong.masked_with(SITES).mask_vector(np.zeros(4, np.uint64))


def test_shares_of_a_wrong_mask_key_are_found_out():
    roster, found = sessions()
    roster = {**roster, "e": replace(roster["e"], mask=roster["d"].mask)}
    parties = {site: session.masked_with(SITES) for site, session in found.items()}
    survivors = SITES[:4]
    revealed: dict[str, Revealed] = {}
    for site in survivors:
        own = {sender: session.sealed[site] for sender, session in found.items()}
        revealed[site] = parties[site].reveal(survivors, own)[1]
    unmasking = Unmasking(
        session="s", threshold=3, roster=roster, partners=SITES, survivors=survivors
    )
    with pytest.raises(ReplyError, match="do not give the key"):
        unmasking.remove(np.zeros(4, np.uint64), revealed)
