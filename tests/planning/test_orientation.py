"""One orientation for all sites; with all volumes alike the plan is the one of stored axes."""

from __future__ import annotations

import dataclasses

import pytest

from fednnunet.errors import PlanError
from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.planning.orientation import AS_STORED, axes_between
from fednnunet.planning.plan import Plan
from tests.planning.cases import make_cases, plan_of_cases

FLAT = (12, 200, 150)


def measured(case: CaseFingerprint, code: str) -> CaseFingerprint:
    """A case whose stored axes are those of `case`, as it is measured if stored as `code`."""
    axes, _ = axes_between(code, "RAS")
    (a, b, c) = axes
    spacing, shape = case.spacing_mm, case.shape_vox
    return dataclasses.replace(
        case,
        spacing_mm=(spacing[a], spacing[b], spacing[c]),
        shape_vox=(shape[a], shape[b], shape[c]),
        orientation=code,
    )


def same_but_for_orientation(plan: Plan, other: Plan) -> bool:
    reasons = [reason for reason in plan.reasons if reason.decision != "orientation"]
    others = [reason for reason in other.reasons if reason.decision != "orientation"]
    assert plan.seen and other.seen
    seen = dataclasses.replace(other.seen, orientations=plan.seen.orientations)
    same = dataclasses.replace(other, orientation=plan.orientation, reasons=plan.reasons, seen=seen)
    return same == plan and reasons == others


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "IRP", "SLA"])
@pytest.mark.parametrize("shape", [(40, 60, 50), FLAT])
def test_with_all_volumes_alike_the_plan_is_that_of_the_stored_axes(code, shape):
    cases = make_cases(5, shape=shape)
    stored = plan_of_cases(cases)
    alike = plan_of_cases([measured(case, code) for case in cases])
    assert stored.orientation == AS_STORED
    assert alike.orientation == code
    assert same_but_for_orientation(alike, stored)


def test_the_most_frequent_orientation_is_planned_whatever_the_others_are():
    cases = make_cases(7, shape=FLAT)
    codes = ["PIR", "PIR", "RAS", "RAS", "RAS", "LPS", "LPS"]
    mixed = [
        dataclasses.replace(case, orientation=code) for case, code in zip(cases, codes, strict=True)
    ]
    plan = plan_of_cases(mixed)
    alike = plan_of_cases([dataclasses.replace(case, orientation="RAS") for case in cases])
    assert plan.orientation == "RAS"
    assert same_but_for_orientation(plan, alike)
    why = next(reason.because for reason in plan.reasons if reason.decision == "orientation")
    assert "RAS in 3" in why and "permuted and flipped" in why
    assert plan_of_cases(mixed[::-1]) == plan


def test_a_plan_of_no_orientation_is_refused():
    with pytest.raises(PlanError, match="no orientation"):
        dataclasses.replace(plan_of_cases(make_cases(3)), orientation="XYZ")
