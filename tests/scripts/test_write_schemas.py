from __future__ import annotations

import json
import runpy
from pathlib import Path

from fednnunet.planning.plan import read_plan

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = runpy.run_path(str(ROOT / "scripts" / "write_schemas.py"))["contents"]()


def test_schemas_planners_and_sample_plan_are_in_step_with_the_code() -> None:
    for name, content in CONTENTS.items():
        shipped = json.loads((ROOT / "plans" / name).read_text())
        assert shipped == json.loads(json.dumps(content)), f"{name}: run scripts/write_schemas.py"


def test_the_sample_plan_can_be_read() -> None:
    plan = read_plan(ROOT / "plans" / "sagittal_spine.plan.json")
    assert plan.transpose == (2, 0, 1) and plan.reasons
