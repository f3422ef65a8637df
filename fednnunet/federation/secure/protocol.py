"""One masked sum, at a site and at the coordinator, as pure steps from value to value.

    1 keys      each site makes two key pairs and hands out the public keys
    2 shares    each site makes a seed of its own; a Shamir share of the seed and of its private
                mask key goes to each site, sealed for it, by way of the coordinator
    3 masked    each site sends vector + mask(own seed) + sum over partners of +-mask(pair)
    4 reveal    for each site whose vector came, the others reveal their shares of its seed; for
                each site whose vector did not come, those of its mask key; never both of one site

The pair masks of sites whose vectors came cancel. The coordinator removes the masks of the seeds,
and what the sites that dropped out leave of their pair masks. What is left is the sum.

Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017,
against an honest but curious coordinator. A site refuses to take part with fewer partners than the
threshold, and to reveal twice in one session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np

from fednnunet.errors import RefusalError, ReplyError
from fednnunet.federation.secure import keys, masks, shamir
from fednnunet.ranges import AtMost

Hex = Annotated[str, AtMost(2048)]
_SAME_VERSION = "give coordinator and sites the same version of the program"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeys:
    """A site's public keys of one session in hexadecimal, with its signature of them.

    `signer` is the public key of the signature: the inner line of its PEM.
    """

    cipher: Hex
    mask: Hex
    signature: Hex = ""
    signer: Hex = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """The shares that one site reveals in hexadecimal: of seeds, and of mask keys, by site."""

    seeds: Annotated[dict[str, Hex], AtMost(4096)]
    masks: Annotated[dict[str, Hex], AtMost(4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSession:
    """All that a site knows of a session; it stays at the site, readable by its owner alone.

    `cipher`, `mask` and `seed` are private, in hexadecimal. `sealed` has the shares for each site
    of the `roster`, `partners` are the sites with whom it was masked, and `survivors` those for
    whom the site has revealed shares.
    """

    session: str
    site: str
    cipher: str
    mask: str
    seed: str
    threshold: int = 0
    roster: dict[str, PublicKeys] = field(default_factory=dict)
    sealed: dict[str, str] = field(default_factory=dict)
    partners: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()

    @classmethod
    def begin(cls, session: str, site: str) -> SiteSession:
        """Step 1: new keys and a new seed."""
        cipher, mask = keys.new_pair(), keys.new_pair()
        return cls(
            session=session,
            site=site,
            cipher=cipher.private.hex(),
            mask=mask.private.hex(),
            seed=keys.new_seed().hex(),
        )

    @property
    def public(self) -> PublicKeys:
        """The keys to hand out, without a signature."""
        cipher, mask = bytes.fromhex(self.cipher), bytes.fromhex(self.mask)
        return PublicKeys(cipher=keys.public_of(cipher).hex(), mask=keys.public_of(mask).hex())

    def share(self, roster: Mapping[str, PublicKeys], threshold: int) -> SiteSession:
        """Step 2: with the sealed shares for each site of the roster.

        Raises RefusalError for a roster of fewer sites than the threshold or of twice as many,
        without this site's keys, or for another one than before.
        """
        _check_enough(len(roster), threshold)
        own, given = self.public, roster.get(self.site)
        if given is None or (given.cipher, given.mask) != (own.cipher, own.mask):
            raise _refusal("the list of keys does not have this site's own keys")
        if self.roster:
            if dict(roster) != self.roster:
                raise _refusal("the site has shared its keys with other sites in this session")
            return self
        if 2 * threshold <= len(roster):  # two halves could be told different survivors
            raise _refusal(f"{threshold} shares are too few in a sum over {len(roster)} sites")
        places = _places(roster)
        seeds = shamir.split(bytes.fromhex(self.seed), places.values(), threshold)
        masks_ = shamir.split(bytes.fromhex(self.mask), places.values(), threshold)
        sealed = {}
        for site, place in places.items():
            public = _bytes(roster[site].cipher, keys.KEY_BYTES, site)
            key = keys.agreed(bytes.fromhex(self.cipher), public, self._sealing(self.site, site))
            sealed[site] = keys.seal(key, seeds[place] + masks_[place]).hex()
        return replace(self, roster=dict(roster), threshold=threshold, sealed=sealed)

    def masked_with(self, partners: Collection[str]) -> SiteSession:
        """Step 3, first half: with the partners, which cannot be changed in this session.

        Raises RefusalError for too few, for others than shared keys, or for others than before.
        """
        found = tuple(sorted(partners))
        _check_enough(len(found), self.threshold)
        if not self.threshold or self.site not in found or not set(found) <= self.roster.keys():
            raise _refusal("the partners are not those with whom the site has shared its keys")
        if self.partners not in ((), found):
            raise _refusal("the site has masked its reply with other partners in this session")
        return replace(self, partners=found)

    def mask_vector(self, vector: np.ndarray) -> None:
        """Step 3, second half: add all masks to a vector of unsigned words, in place."""
        masks.add_masks(vector, self._masks())

    def _masks(self) -> Iterator[tuple[bytes, int]]:
        yield own_mask(bytes.fromhex(self.seed), self.session), 1
        for partner in self.partners:
            if partner != self.site:
                yield pair_mask(
                    bytes.fromhex(self.mask), self.roster, self.site, partner, self.session
                )

    def reveal(
        self, survivors: Collection[str], sealed: Mapping[str, str]
    ) -> tuple[SiteSession, Revealed]:
        """Step 4: shares of the seeds of the survivors, and of the mask keys of the others.

        `sealed` are the partners' shares for this site. Raises RefusalError for too few survivors,
        or for others than before, and ReplyError for a share that was not sealed for this site.
        """
        found = tuple(sorted(survivors))
        _check_enough(len(found), self.threshold)
        if not self.partners or self.site not in found or not set(found) <= set(self.partners):
            raise _refusal("the sites of the sum are not those with whom the site was masked")
        if self.survivors not in ((), found):
            raise _refusal("the site has revealed its shares for another sum in this session")
        seeds, mask_keys = {}, {}
        for partner in self.partners:
            text = self._unsealed(partner, sealed.get(partner, ""))
            if partner in found:
                seeds[partner] = text[: shamir.SHARE_BYTES].hex()
            else:
                mask_keys[partner] = text[shamir.SHARE_BYTES :].hex()
        return replace(self, survivors=found), Revealed(seeds=seeds, masks=mask_keys)

    def _unsealed(self, sender: str, sealed: str) -> bytes:
        public = _bytes(self.roster[sender].cipher, keys.KEY_BYTES, sender)
        key = keys.agreed(bytes.fromhex(self.cipher), public, self._sealing(sender, self.site))
        return keys.unseal(key, _bytes(sealed, None, sender))

    def _sealing(self, sender: str, receiver: str) -> str:
        return f"{self.session}/shares/{sender}/{receiver}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmasking:
    """Step 4 at the coordinator: what the sum of the survivors' vectors is freed from."""

    session: str
    threshold: int
    roster: Mapping[str, PublicKeys]
    partners: Collection[str]
    survivors: Collection[str]

    def remove(self, total: np.ndarray, revealed: Mapping[str, Revealed]) -> None:
        """Remove all masks from the sum of the masked vectors, in place.

        `revealed` are the shares by the site that sent them. Raises ReplyError for too few shares,
        or for shares that do not fit.
        """
        places = _places(self.roster)
        found = []
        for site in sorted(self.survivors):
            shares = {places[s]: r.seeds.get(site, "") for s, r in revealed.items()}
            found.append((own_mask(self._joined(shares, site), self.session), -1))
        for site in sorted(set(self.partners) - set(self.survivors)):
            shares = {places[s]: r.masks.get(site, "") for s, r in revealed.items()}
            private = self._joined(shares, site)
            if keys.public_of(private).hex() != self.roster[site].mask:
                raise ReplyError(
                    "the shares of a mask key do not give the key that the site has handed out",
                    where=f"site {site}",
                    mend=_SAME_VERSION,
                )
            for survivor in self.survivors:  # what `site` would have added is the counterpart
                found.append(pair_mask(private, self.roster, site, survivor, self.session))
        masks.add_masks(total, found)

    def _joined(self, shares: Mapping[int, str], site: str) -> bytes:
        size = shamir.SHARE_BYTES
        given = {place: _bytes(share, size, site) for place, share in shares.items() if share}
        try:
            return shamir.join(given, self.threshold)
        except ReplyError as error:
            error.where = f"shares of site {site}"
            raise


def own_mask(seed: bytes, session: str) -> bytes:
    """The seed of a site's own mask."""
    return keys.derived(seed, f"{session}/own")


def pair_mask(
    private: bytes, roster: Mapping[str, PublicKeys], site: str, partner: str, session: str
) -> tuple[bytes, int]:
    """The seed of the mask of two sites, and its sign in the vector of the first, `site`."""
    public = _bytes(roster[partner].mask, keys.KEY_BYTES, partner)
    return keys.agreed(private, public, f"{session}/mask"), 1 if site < partner else -1


def usual_threshold(sites: int) -> int:
    """More than two thirds of the sites: as many may drop out as are left of them."""
    return 2 * sites // 3 + 1


def _places(roster: Collection[str]) -> dict[str, int]:
    """The place of each site's shares, from 1."""
    return {site: place for place, site in enumerate(sorted(roster), start=1)}


def _bytes(text: str, size: int | None, site: str) -> bytes:
    """Bytes from hexadecimal; raises ReplyError for what is none, or of another length."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if not data or (size is not None and len(data) != size):
        raise ReplyError(
            "a key or share of secure aggregation cannot be read",
            where=f"site {site}",
            mend=_SAME_VERSION,
        )
    return data


def _check_enough(sites: int, threshold: int) -> None:
    if sites < threshold:
        raise RefusalError(
            f"{sites} sites would be summed, and the site takes part with {threshold} or more",
            mend="bring more sites back, or agree on a lower threshold in the federation file",
            advice="too_few_partners",
        )


def _refusal(what: str) -> RefusalError:
    return RefusalError(
        what,
        mend="begin the round again, with a new session",
        advice="rounds_in_order",
    )
