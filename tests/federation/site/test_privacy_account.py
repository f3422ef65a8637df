"""The account of a site's privacy: kept over restarts, never reset, and held to the policy."""

from __future__ import annotations

import math

import pytest

from fednnunet.errors import RefusalError
from fednnunet.federation.privacy.accountant import Mechanism, epsilon
from fednnunet.federation.site.privacy_account import FILE, PLANNING, PrivacyAccount, Release

pytest.importorskip("dp_accounting", reason="the extra dp is not installed")

ONE = Mechanism(noise=4.0)
DELTA = 1e-5


def release(number: int, **changes) -> Release:
    values: dict = {
        "run": "",
        "phase": "joint",
        "round": number,
        "mechanism": ONE,
        "sha256": f"{number}",
    }
    return Release(**{**values, **changes})


def account(folder) -> PrivacyAccount:
    return PrivacyAccount(base=folder, site="a")


def spent(folder, run: str = ""):
    return account(folder).spent(run, "site", DELTA, ())


def test_releases_are_composed_over_restarts(tmp_path):
    assert spent(tmp_path).epsilon == 0
    for number in range(3):
        account(tmp_path).add(release(number))  # each time as after a restart
    found = spent(tmp_path)
    assert found.rounds == 3
    assert found.epsilon == found.total == epsilon([ONE] * 3, DELTA)


def test_the_same_bytes_count_once_and_other_bytes_of_the_round_again(tmp_path):
    for sha256 in ("x", "x", "y"):
        account(tmp_path).add(release(0, sha256=sha256))
    assert spent(tmp_path).epsilon == epsilon([ONE] * 2, DELTA)
    assert spent(tmp_path).rounds == 1


def test_other_runs_and_planning_count_in_the_total(tmp_path):
    account(tmp_path).add(release(0))
    account(tmp_path).add(release(0, run="baselines/fedavg"))
    account(tmp_path).add(release(0, phase=PLANNING))
    assert spent(tmp_path).epsilon == epsilon([ONE], DELTA)
    assert spent(tmp_path).total == epsilon([ONE] * 3, DELTA)
    assert spent(tmp_path, "baselines/fedavg").rounds == 1


def test_a_release_without_noise_or_a_gap_leaves_no_figure(tmp_path):
    account(tmp_path).add(release(0))
    assert account(tmp_path).spent("", "site", DELTA, ("model_leaves",)).epsilon is None
    account(tmp_path).add(release(1, mechanism=Mechanism(noise=0.0)))
    found = spent(tmp_path)
    assert (found.epsilon, found.total, found.gaps) == (None, None, ("no_noise",))


def test_a_release_that_would_exceed_the_limit_is_refused_before_it_is_made(tmp_path):
    limit = epsilon([ONE] * 2, DELTA)
    for number in range(2):
        account(tmp_path).check(ONE, DELTA, limit, ())
        account(tmp_path).add(release(number))
    with pytest.raises(RefusalError, match="more than") as found:
        account(tmp_path).check(ONE, DELTA, limit, ())
    assert found.value.advice == "epsilon_spent"
    assert spent(tmp_path).rounds == 2
    account(tmp_path).check(ONE, DELTA, None, ())
    account(tmp_path).check(ONE, DELTA, math.nextafter(epsilon([ONE] * 3, DELTA), math.inf), ())


def test_under_a_limit_there_must_be_a_figure(tmp_path):
    with pytest.raises(RefusalError, match="no epsilon can be stated"):
        account(tmp_path).check(ONE, DELTA, 5.0, ("patients_not_stated",))


def test_a_damaged_account_is_not_taken_for_an_empty_one(tmp_path):
    account(tmp_path).add(release(0))
    (tmp_path / FILE).write_text("{")
    with pytest.raises(Exception, match="JSON"):
        account(tmp_path).add(release(1))
