"""The one plan that a person at the site has approved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet import records
from fednnunet.errors import RefusalError
from fednnunet.federation.site.approval import (
    FILE,
    approve,
    approve_training,
    check_approved,
    check_training_approved,
    plan_digest,
)
from fednnunet.federation.training_spec import Training
from fednnunet.planning.plan import read_plan
from tests.training.fakes import small_plan

PLAN, _ = small_plan()
OTHER, _ = small_plan(features=(4, 16))


def test_only_the_plan_that_was_approved_last_is_accepted(tmp_path):
    with pytest.raises(RefusalError, match="nobody at the site has approved") as caught:
        check_approved(tmp_path, PLAN, rounds=3)
    assert caught.value.advice == "approve_plan"
    approve(tmp_path, PLAN, rounds=3)
    check_approved(tmp_path, PLAN, rounds=3)
    with pytest.raises(RefusalError):
        check_approved(tmp_path, OTHER, rounds=3)
    approve(tmp_path, OTHER, rounds=3)
    check_approved(tmp_path, OTHER, rounds=3)
    with pytest.raises(RefusalError):
        check_approved(tmp_path, PLAN, rounds=3)


def test_a_plan_has_the_same_digest_after_its_file(tmp_path):
    whole = replace(PLAN, intensity=tuple(replace(each, mean=1) for each in PLAN.intensity))
    records.write(whole, tmp_path / "plan.json")
    assert plan_digest(read_plan(tmp_path / "plan.json")) == plan_digest(whole)
    assert plan_digest(whole) != plan_digest(PLAN)


def test_approving_twice_leaves_the_file_alone(tmp_path):
    approve(tmp_path, PLAN, rounds=3)
    before = (tmp_path / FILE).stat()
    approve(tmp_path, PLAN, rounds=3)
    assert (tmp_path / FILE).stat().st_mtime_ns == before.st_mtime_ns


def test_more_rounds_need_a_new_approval(tmp_path):
    approve(tmp_path, PLAN, rounds=3)
    check_approved(tmp_path, PLAN, rounds=2)
    with pytest.raises(RefusalError, match=r"3 rounds were approved .* has 4") as caught:
        check_approved(tmp_path, PLAN, rounds=4)
    assert caught.value.advice == "approve_rounds"
    approve(tmp_path, PLAN, rounds=4)
    check_approved(tmp_path, PLAN, rounds=4)


def test_another_start_needs_a_new_approval(tmp_path):
    approve(tmp_path, PLAN, rounds=3)
    with pytest.raises(RefusalError, match="a start from these weights") as caught:
        check_approved(tmp_path, PLAN, rounds=3, start="ab")
    assert caught.value.mend and caught.value.advice == "approve_plan"
    training = Training(rounds=1, public_rounds=0, start="0" * 64)
    approve_training(tmp_path, PLAN, training)
    check_training_approved(tmp_path, PLAN, training)
    with pytest.raises(RefusalError, match="a start from these weights"):
        check_approved(tmp_path, PLAN, rounds=1)
