"""Who a site's partners in a sum under masks are: by the federation file, and by their signatures.

A coordinator that could hand a site keys of its own in the names of other sites would see through
the masks. So every site signs its keys with the key of its ledger (`signing`). Others hold it
against `sites.NAME.ledger_key` of the federation file; without that they keep the key that they see
first, and refuse another one later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fednnunet import records
from fednnunet.errors import DataError, RefusalError
from fednnunet.federation.secure.protocol import PublicKeys
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire import signing

FILE = "known_keys.json"
_PEM = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKeys:
    """`known_keys.json`: the signing key of each site that was seen first."""

    keys: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partners:
    """The other sites as the site `name` knows them; `base` is its working folder."""

    name: str
    base: Path
    federation: Federation

    def signed(self, about: str, keys: PublicKeys) -> PublicKeys:
        """The site's own keys with its signature; `about` names session, topic and round."""
        signature = signing.sign(self.base, _statement(about, self.name, keys))
        signer = _inner((self.base / signing.PUBLIC).read_text(encoding="ascii"))
        return replace(keys, signature=signature, signer=signer)

    def check(
        self, about: str, roster: Mapping[str, PublicKeys], allowed: Mapping[str, object]
    ) -> None:
        """Raise RefusalError for a site that is not `allowed`, or whose keys it has not signed.

        Keys that are seen for the first time are kept.
        """
        path = self.base / FILE
        known = records.read(KnownKeys, path).keys if path.is_file() else {}
        fresh = dict(known)
        for site, keys in sorted(roster.items()):
            if site not in allowed:
                raise RefusalError(
                    f"{site[:80]!r} is no site of the federation file that takes part in this sum",
                    mend="give coordinator and sites the same federation file",
                    advice="same_federation_file",
                )
            wanted = self.federation.sites[site].ledger_key or fresh.setdefault(site, keys.signer)
            if keys.signer != wanted or not _is_signed(about, site, keys):
                raise RefusalError(
                    f"the keys of site {site} are not signed by the key that it is known by",
                    where=f"sites.{site}.ledger_key"
                    if self.federation.sites[site].ledger_key
                    else str(path),
                    mend="compare that key with the site's ledger_key.pub.pem; if it has a new "
                    f"one, correct the federation file or delete {FILE}, otherwise look for who "
                    "exchanges keys",
                    advice="wrong_key",
                )
        if fresh != known:
            records.write(KnownKeys(keys=fresh), path)


def _is_signed(about: str, site: str, keys: PublicKeys) -> bool:
    pem = _PEM.format(keys.signer).encode()
    try:
        return signing.is_signed(pem, _statement(about, site, keys), keys.signature)
    except DataError:  # it is no key
        return False


def _statement(about: str, site: str, keys: PublicKeys) -> bytes:
    """What a site signs."""
    return f"fednnunet masks/{about}/{site}/{keys.cipher}/{keys.mask}".encode()


def _inner(pem: str) -> str:
    """The line of a public key between the first and the last."""
    return "".join(line for line in pem.splitlines() if not line.startswith("-"))
