"""Sites and a coordinator that run the protocol on vectors of words, without messages."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fednnunet.federation.secure.protocol import SiteSession, Unmasking


def run_protocol(
    vectors: dict[str, np.ndarray],
    threshold: int,
    *,
    session: str = "s",
    before: Collection[str] = (),
    after: Collection[str] = (),
) -> np.ndarray:
    """The sum that the coordinator gets.

    The sites in `before` drop out when masks are shared, before they send their vectors; those in
    `after` send them and drop out before masks are removed.
    """
    parties = {site: SiteSession.begin(session, site) for site in vectors}
    roster = {site: party.public for site, party in parties.items()}
    parties = {site: party.share(roster, threshold) for site, party in parties.items()}
    sealed = {site: party.sealed for site, party in parties.items()}
    survivors = [site for site in vectors if site not in before]
    total = np.zeros_like(next(iter(vectors.values())))
    for site in survivors:
        parties[site] = parties[site].masked_with(roster)
        masked = vectors[site].copy()
        parties[site].mask_vector(masked)
        assert len(masked) < 8 or not (masked == vectors[site]).all()
        total += masked
    revealed = {}
    for site in survivors:
        if site not in after:
            own = {sender: shares[site] for sender, shares in sealed.items()}
            parties[site], revealed[site] = parties[site].reveal(survivors, own)
    unmasking = Unmasking(
        session=session,
        threshold=threshold,
        roster=roster,
        partners=tuple(roster),
        survivors=survivors,
    )
    unmasking.remove(total, revealed)
    return total
