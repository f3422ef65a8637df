"""The account of noisy sums for planning."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fednnunet.dataset import Case
from fednnunet.federation.privacy.accountant import Mechanism
from fednnunet.federation.site.measurements import Answer
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.privacy_account import PLANNING, PrivacyAccount, Release
from fednnunet.federation.training_spec import Training


def patient_weights(cases: Sequence[Case]) -> tuple[float, ...]:
    """For each case, one over the number of its patient's cases."""
    count = Counter(case.group for case in cases)
    return tuple(1 / count[case.group] for case in cases)


def count_planning(
    answer: Answer, base: Path, training: Training, policy: SitePolicy, *, site: str
) -> None:
    """Write an answer with noise into the site's account, once, before it can leave.

    Raises RefusalError where it would exceed the epsilon of the policy.
    """
    if not answer.noise:
        return
    account = PrivacyAccount(base=base, site=site)
    release = Release(
        run="",
        phase=PLANNING,
        round=0,
        mechanism=Mechanism(noise=answer.noise),
        sha256=hashlib.sha256(answer.vector.tobytes()).hexdigest(),
    )
    if release in account.releases:
        return
    if training.privacy and policy.privacy:
        limit = policy.privacy.max_epsilon
        account.check(release.mechanism, training.privacy.delta, limit, ())
    account.add(release)
