"""Differencing names everybody in exact sums, and is kept back by the site's rules."""

from __future__ import annotations

from fednnunet.audit.differencing import difference
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.minimum_counts import release_fingerprint
from fednnunet.planning.noisy_counts import noisy_fingerprint
from tests.planning.cases import TASK, make_cases

CASES = make_cases(8)


def exact(cases, number):
    return Fingerprint.of(TASK, cases)


def noisy(cases, number):
    even = (1.0,) * len(cases)
    return noisy_fingerprint(TASK, cases, even, noise=2.0, key=bytes([number]))


def test_exact_sums_name_every_patient():
    found = difference(TASK, CASES, exact)
    assert (found.patients, found.named, found.share) == (8, 8, 1.0)
    assert found.low > found.chance == 1 / 8


def test_minimum_counts_and_noise_name_fewer():
    def common(cases, number):
        return release_fingerprint(TASK, cases, min_bin_count=5)

    assert difference(TASK, CASES, common).named < 8
    hidden = difference(TASK, CASES, noisy)
    assert hidden.low < hidden.chance < 0.5
