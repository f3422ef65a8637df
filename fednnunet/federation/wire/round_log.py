"""What invites and replies say of the coordinator's log of rounds.

The log is a chain of signed lines (`wire.chain`) with two entries a round: what each site is sent,
written before it is sent, and what came of the replies. Its digests are those of
`wire.content_digests`, and of replies the SHA-256 of their bytes, as the site's own ledger has it.
A site keeps the lines that it sees. What it has seen it signs in its reply, and the coordinator
hands that on to all sites: a coordinator that shows different logs is found by the first site that
receives the signature of one with another log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.chain import canonical
from fednnunet.federation.wire.phases import Phase
from fednnunet.ranges import AtMost, Within, check_ranges

INVITED, MERGED = "invited", "merged"
"""The two kinds of entries."""
MAX_TEXT = 2**21
"""Characters of the lines that one invite brings."""

_SAME_VERSION = "give coordinator and sites the same version of the program"
_MAX_SITES = 4096

Digest = Annotated[str, AtMost(64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenHead:
    """The last line of the log that a site has seen: its number and digest.

    `key` is the site's public key and `signature` its signature of both, in hexadecimal; empty
    where the site has no package for signatures.
    """

    number: Annotated[int, Within(1, 2**53)]
    sha256: Digest
    key: Digest = ""
    signature: Annotated[str, AtMost(128)] = ""

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=_SAME_VERSION)

    def signed(self, site: str) -> bytes:
        """What the site's signature is of."""
        return canonical({"site": site, "number": self.number, "sha256": self.sha256})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogExtract:
    """What an invite brings: the `lines` that the site lacks, and the `heads` that sites have seen.

    `key` is the coordinator's public key in hexadecimal; empty where it does not sign.
    """

    lines: Annotated[tuple[str, ...], AtMost(100_000)]
    heads: Annotated[dict[str, SeenHead], AtMost(_MAX_SITES)] = field(default_factory=dict)
    key: Digest = ""

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=_SAME_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """An entry: the content of each site's invite for a round (from 0)."""

    run: str
    round: int
    phase: Phase
    invites: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """An entry: the replies that were merged in a round, and what the sites are to receive then.

    A site in `for_site` receives that in place of what is `shared`. `refused` are the sites without
    a reply that was accepted.
    """

    run: str
    round: int
    phase: Phase
    replies: dict[str, str]
    refused: tuple[str, ...]
    shared: str
    extras: str
    for_site: dict[str, str] = field(default_factory=dict)

    def received(self, site: str) -> str:
        """The digest of the network's tensors that a site receives after the round."""
        return self.for_site.get(site, self.shared)
