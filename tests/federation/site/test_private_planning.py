"""Noisy sums for planning are counted once, before they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fednnunet.dataset import Case
from fednnunet.errors import RefusalError
from fednnunet.federation.privacy.accountant import Mechanism
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.site.measurements import Answer, MeasurementStore
from fednnunet.federation.site.policy import PrivacyLimits, SitePolicy
from fednnunet.federation.site.privacy_account import PLANNING, PrivacyAccount
from fednnunet.federation.site.private_planning import count_planning, patient_weights
from fednnunet.federation.training_spec import Training
from tests.planning.cases import TASK, make_cases

CASES = make_cases(20)
ANSWER = Answer(vector=np.ones(3), noise=2.0)


def releases(folder):
    return PrivacyAccount(base=folder, site="a").releases


def count(answer: Answer, folder, training: Training | None = None, **policy: float) -> None:
    limits = SitePolicy(privacy=PrivacyLimits(**{"max_epsilon": 10.0, **policy}))
    count_planning(answer, folder, training or Training(), limits, site="a")


def test_an_answer_is_counted_once_however_often_it_is_given(tmp_path):
    for _ in range(2):
        count(ANSWER, tmp_path)
    count(Answer(vector=np.zeros(3), noise=2.0), tmp_path)
    count(Answer(vector=np.zeros(4)), tmp_path)
    assert [release.mechanism for release in releases(tmp_path)] == [Mechanism(noise=2.0)] * 2
    assert {release.phase for release in releases(tmp_path)} == {PLANNING}


def test_an_answer_beyond_the_policys_epsilon_is_refused(tmp_path):
    pytest.importorskip("dp_accounting", reason="the extra dp is not installed")
    training = Training(privacy=Privacy(delta=1e-5))
    with pytest.raises(RefusalError, match="would be"):
        count(ANSWER, tmp_path, training, max_epsilon=0.5)
    assert releases(tmp_path) == ()
    count(ANSWER, tmp_path, training, max_epsilon=5.0)


def test_cases_of_one_patient_share_its_weight():
    cases = [Case(name=n, images=(Path("x"),), label=None, group=n[0]) for n in ("a1", "b1", "a2")]
    assert patient_weights(cases) == (0.5, 1.0, 0.5)


def test_the_store_repeats_noisy_answers_byte_for_byte(tmp_path):
    store = MeasurementStore(folder=tmp_path / "m", min_cases=5, min_bin_count=5, noise=0.5)
    weights = (1.0,) * len(CASES)
    once, again = (store.fingerprint(TASK, CASES, weights) for _ in range(2))
    assert once.vector.tobytes() == again.vector.tobytes()
    assert once.noise == again.noise == 0.5
    one, other = (store.shapes((1.0, 1.0, 1.0)) for _ in range(2))
    assert one.vector.tobytes() == other.vector.tobytes()
    assert one.noise == other.noise == 0.5
