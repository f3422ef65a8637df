from __future__ import annotations

from fednnunet.planning.explain import why
from fednnunet.planning.planner import make_plan
from tests.planning.cases import exchanges, make_cases

CASES = make_cases(9)
FINGERPRINT, SHAPES = exchanges(CASES)
PLAN = make_plan(FINGERPRINT, SHAPES)


def test_every_decision_stands_with_its_numbers() -> None:
    text = why(PLAN)
    for reason in PLAN.reasons:
        assert reason.decision in text and reason.because in text
    full = PLAN.configuration("3d_fullres")
    assert "x".join(map(str, full.patch_vox)) in text
    assert f"the median of each axis over {len(CASES)} cases" in text
