"""What of a site's privacy is spent: every noisy release, in a file of its working folder.

A release is written down before it can leave, and nothing is ever taken back: a restart, a round
that is lost on the way and a reply that the coordinator refuses all leave the account as it is. The
same bytes made again, after a crash, are the same release.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.errors import RefusalError
from fednnunet.federation.privacy.accountant import Mechanism, epsilon
from fednnunet.federation.privacy.settings import Unit
from fednnunet.federation.wire.privacy import GAPS, Gap, Spent
from fednnunet.files import locked

FILE = "privacy.json"
PLANNING = "planning"
"""The phase of releases before any training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release: of which run, phase and round (from 0), its mechanism, and its SHA-256."""

    run: str
    phase: str
    round: int
    mechanism: Mechanism
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    schema: int = 1
    releases: tuple[Release, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyAccount:
    """The account in a site's working folder `base`; `site` is for messages."""

    base: Path
    site: str

    @property
    def releases(self) -> tuple[Release, ...]:
        """All releases, oldest first."""
        path = self.base / FILE
        return records.read(_Record, path).releases if path.is_file() else ()

    def add(self, release: Release) -> None:
        """Write a release down, unless these very bytes are."""
        path = self.base / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            known = self.releases
            if release not in known:
                records.write(_Record(releases=(*known, release)), path)

    def spent(self, run: str, unit: Unit, delta: float, gaps: tuple[Gap, ...]) -> Spent:
        """What a run has spent, and what all have together; no figure where there are `gaps`."""
        own = [r for r in self.releases if r.run == run and r.phase != PLANNING]
        total = self._epsilon(self.releases, delta)
        figure = self._epsilon(own, delta)
        if not math.isfinite(total):
            gaps = (*gaps, *(() if "no_noise" in gaps else ("no_noise",)))
        return Spent(
            unit=unit,
            epsilon=None if gaps else figure,
            total=None if gaps else total,
            delta=delta,
            rounds=len({(release.phase, release.round) for release in own}),
            gaps=gaps,
        )

    def check(
        self, more: Mechanism, delta: float, limit: float | None, gaps: tuple[Gap, ...]
    ) -> None:
        """Raise RefusalError where one more release would exceed the limit of the policy."""
        if limit is None:
            return
        if gaps:
            raise RefusalError(
                f"no epsilon can be stated: {'; '.join(GAPS[gap] for gap in gaps)}",
                where=f"site {self.site}, max_epsilon = {limit:g} in its policy",
                mend="mend what is named, or take [privacy] out of the policy",
            )
        after = epsilon([*(r.mechanism for r in self.releases), more], delta)
        if not after <= limit:
            before = self._epsilon(self.releases, delta)
            raise RefusalError(
                f"epsilon is {before:.3g} and would be {after:.3g} after this round, more than "
                f"{limit:g}",
                where=f"site {self.site}, max_epsilon in its policy",
                mend="end the training with the rounds that there are, or raise max_epsilon",
                advice="epsilon_spent",
            )

    def _epsilon(self, releases: Iterable[Release], delta: float) -> float:
        return epsilon([release.mechanism for release in releases], delta)
